package kinesis

import (
	"context"

	"github.com/levada-stream/levada/client"
)

type updateShardCountInput struct {
	streamRef
	TargetShardCount *int64  `is:"required;range=1:"`
	ScalingType      *string `is:"required;enum=scalingType"`
}

type updateShardCountOutput struct {
	CurrentShardCount int64
	StreamARN         string
	StreamName        string
	TargetShardCount  int64
}

// updateShardCount begins to bring a stream to a number of shards, any to any. The stream is UPDATING until that is reached.
func updateShardCount(ctx context.Context, s *Server, c *call, in *updateShardCountInput) (*updateShardCountOutput, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if k.onDemand() {
		return nil, fail(codeValidation, "Stream %s under account %s is in ON_DEMAND mode: it has no number of shards of its own.", c.stream, s.opts.Account)
	}
	target := uint32(min(*in.TargetShardCount, 1<<31))
	if _, err := s.cluster.SetShardCount(ctx, c.stream, target, client.Reshard{ID: c.id, Reason: "UpdateShardCount"}); err != nil {
		return nil, s.reshardError(c.stream, err)
	}
	return &updateShardCountOutput{
		CurrentShardCount: int64(k.stream.GetOpenShards()), StreamARN: s.streamARN(c.stream), StreamName: c.stream, TargetShardCount: *in.TargetShardCount,
	}, nil
}
