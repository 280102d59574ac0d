package kinesis

import (
	"context"

	"github.com/levada-stream/levada/kinesis/codec"
)

type describeStreamSummaryInput struct{ streamRef }

type (
	describeStreamSummaryOutput struct{ StreamDescriptionSummary streamSummaryDescription }
	streamSummaryDescription    struct {
		ChannelCount               int64
		ConsumerCount              int64
		EncryptionType             string
		EnhancedMonitoring         []enhancedMetrics
		MaxRecordSizeInKiB         int64
		OpenShardCount             int64
		RecordDistributionStrategy *string
		RetentionPeriodHours       int64
		StreamARN                  string
		StreamCreationTimestamp    codec.Time
		StreamModeDetails          modeShape
		StreamName                 string
		StreamStatus               string
		WarmThroughput             *warmThroughput
	}
	warmThroughput struct {
		CurrentMiBps int64
		TargetMiBps  int64
	}
)

// describeStreamSummary describes a stream without its shards. It has no StreamId: a client that learns one goes elsewhere with it.
func describeStreamSummary(ctx context.Context, s *Server, c *call, _ *describeStreamSummaryInput) (*describeStreamSummaryOutput, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	status, err := s.status(ctx, k)
	if err != nil {
		return nil, err
	}
	consumers, err := s.consumersOf(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	channels, err := s.channelsOf(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	out := streamSummaryDescription{
		ChannelCount: int64(len(channels)), ConsumerCount: int64(len(consumers)), EncryptionType: encryptionNone, EnhancedMonitoring: k.monitoring(),
		MaxRecordSizeInKiB: k.recordKiB(), OpenShardCount: int64(k.stream.GetOpenShards()), RetentionPeriodHours: k.retentionHours(),
		StreamARN: s.streamARN(c.stream), StreamCreationTimestamp: codec.Time(k.stream.GetCreatedMs()),
		StreamModeDetails: modeShape{k.mode()}, StreamName: c.stream, StreamStatus: status,
	}
	if k.onDemand() {
		distribution := k.distribution()
		out.RecordDistributionStrategy = &distribution
		if k.doc.WarmMiBps > 0 {
			out.WarmThroughput = &warmThroughput{k.doc.WarmMiBps, k.doc.WarmMiBps}
		}
	}
	return &describeStreamSummaryOutput{out}, nil
}

func (k *known) recordKiB() int64 { return int64(k.stream.GetSettings().GetMaxRecordBytes()) >> 10 }
