package kinesis

import (
	"context"

	"github.com/levada-stream/levada/client"
)

type mergeShardsInput struct {
	streamRef
	ShardToMerge         *string `is:"required;len=1:128;match=shardId"`
	AdjacentShardToMerge *string `is:"required;len=1:128;match=shardId"`
}

// mergeShards begins to replace two neighbours by one shard. The stream is UPDATING until that is done.
func mergeShards(ctx context.Context, s *Server, c *call, in *mergeShardsInput) (*nothing, error) {
	one, err := s.openShard(ctx, c.stream, *in.ShardToMerge)
	if err != nil {
		return nil, err
	}
	other, err := s.openShard(ctx, c.stream, *in.AdjacentShardToMerge)
	if err != nil {
		return nil, err
	}
	if !follows(one.GetHashEnd(), other.GetHashStart()) && !follows(other.GetHashEnd(), one.GetHashStart()) {
		return nil, fail(codeInvalidArgument, "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging.",
			shardID(one.GetNumber()), shardID(other.GetNumber()), c.stream, s.opts.Account)
	}
	_, err = s.cluster.MergeShards(ctx, c.stream, one.GetNumber(), other.GetNumber(), client.Reshard{ID: c.id, Reason: "MergeShards"})
	return nil, s.reshardError(c.stream, err)
}

// follows reports whether a range that starts at one hash key follows one that ends at the other.
func follows(end, start string) bool {
	e, err1 := client.ParseHashKey(end)
	k, err2 := client.ParseHashKey(start)
	var zero client.HashKey
	return err1 == nil && err2 == nil && k != zero && k.Prev() == e
}
