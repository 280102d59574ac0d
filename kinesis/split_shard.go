package kinesis

import (
	"context"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

type splitShardInput struct {
	streamRef
	ShardToSplit       *string `is:"required;len=1:128;match=shardId"`
	NewStartingHashKey *string `is:"required;match=hashKey"`
}

// splitShard begins to replace a shard by two. The stream is UPDATING until that is done.
func splitShard(ctx context.Context, s *Server, c *call, in *splitShardInput) (*nothing, error) {
	sh, err := s.openShard(ctx, c.stream, *in.ShardToSplit)
	if err != nil {
		return nil, err
	}
	key, err := client.ParseHashKey(*in.NewStartingHashKey)
	start, startErr := client.ParseHashKey(sh.GetHashStart())
	end, endErr := client.ParseHashKey(sh.GetHashEnd())
	if startErr != nil || endErr != nil {
		return nil, internalFailure("The range of shard %s cannot be read.", *in.ShardToSplit)
	}
	if err != nil || key.Compare(start) <= 0 || key.Compare(end) >= 0 {
		return nil, fail(codeInvalidArgument, "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			*in.NewStartingHashKey, shardID(sh.GetNumber()), c.stream, s.opts.Account, sh.GetHashStart(), sh.GetHashEnd())
	}
	_, err = s.cluster.SplitShard(ctx, c.stream, sh.GetNumber(), []string{key.String()}, 0, client.Reshard{ID: c.id, Reason: "SplitShard"})
	return nil, s.reshardError(c.stream, err)
}

// openShard returns a shard that can be split or merged, in a stream whose shards are its owner's business.
func (s *Server) openShard(ctx context.Context, stream, id string) (*levadav1.Shard, error) {
	k, err := s.ask(ctx, stream)
	if err != nil {
		return nil, err
	}
	if k.onDemand() {
		return nil, fail(codeValidation, "Stream %s under account %s is in ON_DEMAND mode: its shards are not split or merged by hand.", stream, s.opts.Account)
	}
	sh, err := s.shard(ctx, stream, id)
	if err != nil {
		return nil, err
	}
	if sh.GetState() != shardOpen {
		return nil, fail(codeInvalidArgument, "Shard %s in stream %s under account %s is closed.", shardID(sh.GetNumber()), stream, s.opts.Account)
	}
	return sh, nil
}

// reshardError words why a reshard was not begun.
func (s *Server) reshardError(stream string, err error) error {
	if client.IsConflict(err) {
		return fail(codeResourceInUse, "Stream %s under account %s is not ACTIVE for this: %s", stream, s.opts.Account, err.Error())
	}
	return s.streamError(stream, err)
}
