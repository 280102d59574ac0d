package kinesis

import (
	"context"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

type createStreamInput struct {
	StreamName                 *string            `is:"required;len=1:128;match=streamName"`
	ShardCount                 *int64             `is:"range=1:"`
	StreamModeDetails          *streamModeDetails `is:""`
	Tags                       map[string]string  `is:"len=0:200;key=1:128;item=0:256"`
	WarmThroughputMiBps        *int64             `is:"range=0:"`
	MaxRecordSizeInKiB         *int64             `is:"range=1024:10240"`
	RecordDistributionStrategy *string            `is:"enum=distribution"`
}

func (in *createStreamInput) locate(*Server) (string, error) { return *in.StreamName, nil }

type streamModeDetails struct {
	StreamMode *string `is:"required;enum=streamMode"`
}

const (
	// onDemandShards is how many shards an on-demand stream begins with.
	onDemandShards = 4
	// warmMiBpsMax is the most that a stream can be made ready for.
	warmMiBpsMax = 10_240
	retentionMin = 24 * time.Hour
)

// createStream creates a stream.
func createStream(ctx context.Context, s *Server, c *call, in *createStreamInput) (*nothing, error) {
	onDemand := in.StreamModeDetails != nil && *in.StreamModeDetails.StreamMode == modeOnDemand
	shards := uint32(onDemandShards)
	switch {
	case onDemand && in.ShardCount != nil:
		return nil, fail(codeValidation, "ShardCount cannot be given for a stream in ON_DEMAND mode.")
	case !onDemand && in.WarmThroughputMiBps != nil:
		return nil, fail(codeValidation, "WarmThroughputMiBps can be given for a stream in ON_DEMAND mode only.")
	case !onDemand && in.RecordDistributionStrategy != nil && *in.RecordDistributionStrategy == distributionAuto:
		return nil, fail(codeInvalidArgument, "The RecordDistributionStrategy AUTO is for streams in ON_DEMAND mode only.")
	case in.ShardCount != nil:
		shards = uint32(min(*in.ShardCount, 1<<31))
	case in.WarmThroughputMiBps != nil: // a shard for each MiB/s, as updateStreamWarmThroughput has it
		shards = uint32(min(max(*in.WarmThroughputMiBps, onDemandShards), warmMiBpsMax))
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	// A stream of that name with the same settings would be found, where this API says that it exists.
	if _, err := s.cluster.DescribeStream(ctx, c.stream); err == nil {
		return nil, s.exists(c.stream)
	} else if !client.IsNotFound(err) {
		return nil, err
	}
	defer s.streams.forget(c.stream)
	settings := &levadav1.StreamSettings{Shards: shards, RetentionMs: retentionMin.Milliseconds(), MaxRecordBytes: recordBytesOf(in.MaxRecordSizeInKiB)}
	_, existed, err := s.cluster.CreateStream(ctx, c.stream, settings, false)
	switch {
	case existed, client.IsConflict(err):
		return nil, s.exists(c.stream)
	case err != nil:
		return nil, err
	}
	return nil, s.furnish(ctx, c.stream, in, onDemand)
}

// exists is the error for a name in use.
func (s *Server) exists(name string) *apiError {
	return fail(codeResourceInUse, "Stream %s under account %s already exists.", name, s.opts.Account)
}

// recordBytesOf is how many bytes a record may have with its key, which the API does not count.
func recordBytesOf(kib *int64) uint32 {
	data := int64(1 << 20)
	if kib != nil {
		data = *kib << 10
	}
	return uint32(min(data, recordBytesMax))
}

// furnish gives a new stream what CreateStream said beside its shards.
func (s *Server) furnish(ctx context.Context, stream string, in *createStreamInput, onDemand bool) error {
	if onDemand {
		if _, err := s.cluster.SetScaling(ctx, stream, onDemandPolicy(), "created in ON_DEMAND mode"); err != nil {
			return s.streamError(stream, err)
		}
	}
	if len(in.Tags) == 0 && in.WarmThroughputMiBps == nil && in.RecordDistributionStrategy == nil {
		return nil
	}
	_, err := changeDoc(ctx, s, stream, docStream, func(doc *streamDoc, _ bool) error {
		doc.Tags = in.Tags
		if in.WarmThroughputMiBps != nil {
			doc.WarmMiBps = *in.WarmThroughputMiBps
		}
		if in.RecordDistributionStrategy != nil {
			doc.Distribution = *in.RecordDistributionStrategy
		}
		return nil
	})
	return err
}

// onDemandPolicy is the policy of streams that have no number of shards of their own.
func onDemandPolicy() *levadav1.Scaling {
	return &levadav1.Scaling{Mode: "on", OnDemand: true, ShardsMin: onDemandShards}
}
