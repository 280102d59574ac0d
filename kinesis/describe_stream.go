package kinesis

import (
	"context"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/kinesis/codec"
)

type describeStreamInput struct {
	streamRef
	Limit                 *int64  `is:"range=1:10000"`
	ExclusiveStartShardId *string `is:"len=1:128;match=shardId"`
}

// The shapes of streams in answers.
type (
	describeStreamOutput struct{ StreamDescription streamDescription }
	streamDescription    struct {
		EncryptionType          string
		EnhancedMonitoring      []enhancedMetrics
		HasMoreShards           bool
		RetentionPeriodHours    int64
		Shards                  []shardShape
		StreamARN               string
		StreamCreationTimestamp codec.Time
		StreamModeDetails       modeShape
		StreamName              string
		StreamStatus            string
	}
	enhancedMetrics struct{ ShardLevelMetrics []string }
	modeShape       struct{ StreamMode string }
)

// describedShardsMax is the most shards that a description has.
const describedShardsMax = 100

// describeStream describes a stream with some of its shards.
func describeStream(ctx context.Context, s *Server, c *call, in *describeStreamInput) (*describeStreamOutput, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	status, err := s.status(ctx, k)
	if err != nil {
		return nil, err
	}
	out := streamDescription{
		EncryptionType: encryptionNone, EnhancedMonitoring: k.monitoring(), RetentionPeriodHours: k.retentionHours(), Shards: []shardShape{},
		StreamARN: s.streamARN(c.stream), StreamCreationTimestamp: codec.Time(k.stream.GetCreatedMs()),
		StreamModeDetails: modeShape{k.mode()}, StreamName: c.stream, StreamStatus: status,
	}
	if status == statusCreating {
		return &describeStreamOutput{out}, nil
	}
	shards, err := s.shardsAfter(ctx, c.stream, in.ExclusiveStartShardId)
	if err != nil {
		return nil, err
	}
	for _, sh := range shards {
		if len(out.Shards) == pageSize(in.Limit, describedShardsMax) {
			out.HasMoreShards = true
			break
		}
		out.Shards = append(out.Shards, shardShapeOf(sh))
	}
	return &describeStreamOutput{out}, nil
}

// shardsAfter returns the shards of a stream that own keys or did, from the one after an id on.
func (s *Server) shardsAfter(ctx context.Context, stream string, id *string) ([]*levadav1.Shard, error) {
	from := int64(-1)
	if id != nil {
		number, ok := parseShardID(*id)
		if !ok {
			return nil, s.noShard(stream, *id)
		}
		from = int64(number)
	}
	all, err := s.cluster.ListShards(ctx, stream)
	if err != nil {
		return nil, s.streamError(stream, err)
	}
	var out []*levadav1.Shard
	for _, sh := range all {
		if int64(sh.GetNumber()) > from && sh.GetState() != shardPending {
			out = append(out, sh)
		}
	}
	return out, nil
}

// The statuses of a stream.
const (
	statusCreating = "CREATING"
	statusActive   = "ACTIVE"
	statusUpdating = "UPDATING"
)

// status tells how a stream is: being made until each shard has had a leader, being updated while shards are split or merged. Reads and writes
// go on all the time.
func (s *Server) status(ctx context.Context, k *known) (string, error) {
	if k.stream.GetState() == "creating" {
		return statusCreating, nil
	}
	if g := k.stream.GetGoal(); g != nil && g.GetEndedMs() == 0 {
		return statusUpdating, nil
	}
	active, err := s.cluster.ListReshards(ctx, k.stream.GetName(), true, 1)
	switch {
	case err != nil:
		return "", s.streamError(k.stream.GetName(), err)
	case len(active) > 0:
		return statusUpdating, nil
	}
	return statusActive, nil
}

func (k *known) retentionHours() int64 {
	return k.stream.GetSettings().GetRetentionMs() / time.Hour.Milliseconds()
}

// monitoring is the list of shard-level metrics as descriptions have it: a list of one list.
func (k *known) monitoring() []enhancedMetrics {
	return []enhancedMetrics{{ShardLevelMetrics: append([]string{}, k.doc.Metrics...)}}
}
