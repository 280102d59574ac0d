package kinesis

import (
	"context"
	"slices"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

// The shapes of shards in answers.
type (
	hashKeyRange struct {
		StartingHashKey string
		EndingHashKey   string
	}
	sequenceNumberRange struct {
		StartingSequenceNumber string
		EndingSequenceNumber   *string
	}
	shardShape struct {
		ShardId               string
		ParentShardId         *string
		AdjacentParentShardId *string
		HashKeyRange          hashKeyRange
		SequenceNumberRange   sequenceNumberRange
	}
	childShard struct {
		ShardId      string
		ParentShards []string
		HashKeyRange hashKeyRange
	}
)

// The states of a shard in the cluster's own API.
const (
	shardPending = "pending"
	shardClosed  = "closed"
	shardOpen    = "open"
)

// shardShapeOf describes a shard that has owned keys.
func shardShapeOf(sh *levadav1.Shard) shardShape {
	out := shardShape{
		ShardId: shardID(sh.GetNumber()), HashKeyRange: hashKeyRange{sh.GetHashStart(), sh.GetHashEnd()},
		// The first number that a record of the shard can have: no record has it, all are above.
		SequenceNumberRange: sequenceNumberRange{StartingSequenceNumber: client.NewSequence(sh.GetOpenedMs(), 0, sh.GetNumber()).String()},
	}
	for i, p := range sh.GetParents() {
		id := shardID(p)
		switch i {
		case 0:
			out.ParentShardId = &id
		case 1:
			out.AdjacentParentShardId = &id
		}
	}
	if sh.GetState() == shardClosed {
		last := client.NewSequence(sh.GetEndTimeMs(), sh.GetEndOrdinal(), sh.GetNumber()).String()
		out.SequenceNumberRange.EndingSequenceNumber = &last
	}
	return out
}

// children describes the shards that took over from one that has ended. All its readers learn them, also those of a merge's other parent.
func (s *Server) children(ctx context.Context, stream string, numbers []uint32) ([]childShard, error) {
	all, err := s.cluster.ListShards(ctx, stream)
	if err != nil {
		return nil, s.streamError(stream, err)
	}
	out := []childShard{}
	for _, sh := range all {
		if !slices.Contains(numbers, sh.GetNumber()) {
			continue
		}
		child := childShard{ShardId: shardID(sh.GetNumber()), HashKeyRange: hashKeyRange{sh.GetHashStart(), sh.GetHashEnd()}}
		for _, p := range sh.GetParents() {
			child.ParentShards = append(child.ParentShards, shardID(p))
		}
		out = append(out, child)
	}
	if len(out) < len(numbers) { // an end without its children would be taken for that of the whole line
		return nil, unavailable("The shards that take over in stream %s are not known here yet.", stream)
	}
	return out, nil
}

// shard returns the shard of a stream that a request names. One that is to take over is there for readers: those of its parents hear of it
// before it owns its keys.
func (s *Server) shard(ctx context.Context, stream, id string) (*levadav1.Shard, error) {
	all, err := s.cluster.ListShards(ctx, stream)
	if err != nil {
		return nil, s.streamError(stream, err)
	}
	if number, ok := parseShardID(id); ok {
		for _, sh := range all {
			if sh.GetNumber() == number {
				return sh, nil
			}
		}
	}
	return nil, s.noShard(stream, id)
}

// readError words why a shard could not be read. For consumers one that is not there has ended: that is said only if the list of shards says so too,
// and not because a node has not heard yet of a new one.
func (s *Server) readError(ctx context.Context, stream string, number uint32, err error) error {
	if !client.IsNotFound(err) {
		return s.streamError(stream, err)
	}
	if _, gone := s.shard(ctx, stream, shardID(number)); gone != nil {
		return gone
	}
	return unavailable("Shard %s in stream %s cannot be read now: %v", shardID(number), stream, err)
}
