package kinesis

import (
	"context"
	"encoding/json"
	"fmt"
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
	// shardsDefault is how many shards a stream has whose creator does not say it.
	shardsDefault = 4
	retentionMin  = 24 * time.Hour
)

// createStream creates a stream. It is made in one step: there is all of it, or nothing to be found by whoever tries again.
func createStream(ctx context.Context, s *Server, c *call, in *createStreamInput) (*nothing, error) {
	onDemand := in.StreamModeDetails != nil && *in.StreamModeDetails.StreamMode == modeOnDemand
	shards := uint32(shardsDefault)
	switch {
	case onDemand && in.ShardCount != nil:
		return nil, fail(codeValidation, "ShardCount cannot be given for a stream in ON_DEMAND mode.")
	case !onDemand && in.WarmThroughputMiBps != nil:
		return nil, fail(codeValidation, "WarmThroughputMiBps can be given for a stream in ON_DEMAND mode only.")
	case !onDemand && in.RecordDistributionStrategy != nil && *in.RecordDistributionStrategy == distributionAuto:
		return nil, fail(codeInvalidArgument, "The RecordDistributionStrategy AUTO is for streams in ON_DEMAND mode only.")
	case in.ShardCount != nil:
		shards = uint32(min(*in.ShardCount, 1<<31))
	case in.WarmThroughputMiBps != nil:
		shards = warmShards(*in.WarmThroughputMiBps)
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	// That there is a stream of the name is told before what would be wrong with a new one.
	if _, err := s.cluster.DescribeStream(ctx, c.stream); err == nil {
		return nil, s.exists(c.stream)
	} else if !client.IsNotFound(err) {
		return nil, err
	}
	doc, err := json.Marshal(in.document())
	if err != nil {
		return nil, fmt.Errorf("encode document %s: %w", docStream, err)
	}
	wanted := client.NewStream{
		Settings:  &levadav1.StreamSettings{Shards: shards, RetentionMs: retentionMin.Milliseconds(), MaxRecordBytes: recordBytesOf(in.MaxRecordSizeInKiB)},
		Documents: []client.Document{{Name: docStream, Value: doc}},
	}
	if onDemand {
		wanted.Scaling = onDemandPolicy(nil, valueOf(in.WarmThroughputMiBps))
	}
	defer s.streams.forget(c.stream)
	if err := s.cluster.CreateNewStream(ctx, c.stream, wanted); client.IsConflict(err) {
		return nil, s.exists(c.stream)
	} else if err != nil {
		return nil, err
	}
	return nil, nil
}

// document is what the API keeps of the new stream beside the stream itself.
func (in *createStreamInput) document() streamDoc {
	doc := streamDoc{Tags: in.Tags, WarmMiBps: valueOf(in.WarmThroughputMiBps)}
	if in.RecordDistributionStrategy != nil {
		doc.Distribution = *in.RecordDistributionStrategy
	}
	return doc
}

// valueOf is what a number is that may be left out.
func valueOf(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
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
