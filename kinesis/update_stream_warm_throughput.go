package kinesis

import (
	"context"

	"github.com/levada-stream/levada/client"
)

type updateStreamWarmThroughputInput struct {
	streamRef
	WarmThroughputMiBps *int64 `is:"required;range=0:10240"`
}

type updateStreamWarmThroughputOutput struct {
	StreamARN      string
	StreamName     string
	WarmThroughput warmThroughput
}

// updateStreamWarmThroughput makes an on-demand stream ready for a rate before it comes: it begins to split shards until there is one for
// each MiB/s, which is what a shard of such a stream is meant to take. Their number follows the load from there.
func updateStreamWarmThroughput(ctx context.Context, s *Server, c *call, in *updateStreamWarmThroughputInput) (*updateStreamWarmThroughputOutput, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if !k.onDemand() {
		return nil, fail(codeValidation, "Stream %s under account %s is not in ON_DEMAND mode.", c.stream, s.opts.Account)
	}
	now := int64(k.stream.GetOpenShards())
	if *in.WarmThroughputMiBps > now {
		if _, err := s.cluster.SetShardCount(ctx, c.stream, uint32(*in.WarmThroughputMiBps), client.Reshard{ID: c.id, Reason: "UpdateStreamWarmThroughput"}); err != nil {
			return nil, s.reshardError(c.stream, err)
		}
	}
	if _, err := changeDoc(ctx, s, c.stream, docStream, func(doc *streamDoc, _ bool) error {
		doc.WarmMiBps = *in.WarmThroughputMiBps
		return nil
	}); err != nil {
		return nil, err
	}
	return &updateStreamWarmThroughputOutput{s.streamARN(c.stream), c.stream, warmThroughput{CurrentMiBps: now, TargetMiBps: *in.WarmThroughputMiBps}}, nil
}
