package chaos

import (
	"context"
	"fmt"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
	"github.com/levada-stream/levada/wal/record"
)

// entryOf judges one record as read: its payload must be ours and under its own key.
func entryOf(seq seqno.Number, r record.Record) history.Entry {
	v, err := history.Decode(r.Data)
	if err != nil || string(r.Key) != history.KeyText(v.Key) {
		v = history.Value{}
	}
	return history.Entry{Seq: seq, Value: v}
}

// follow reads one shard live through one node until ctx ends, going on where it
// was whenever the node was away, and records what it was given.
func (r *run) follow(ctx context.Context, s *stream, shard uint32, node *cluster.Node, local bool) {
	reader := history.Reader{Name: fmt.Sprintf("a follower on %s (local %v)", node.Name, local), Shard: shard}
	next := uint64(0)
	for ctx.Err() == nil {
		req := &levadav1.ReadRequest{Stream: s.name, Shard: shard, From: cluster.FromOrdinal(next), Follow: true, LocalOnly: local}
		// Whatever ended the call, a node that was killed or lost its replica, the answer is to come back.
		_, _ = node.Read(ctx, req, func(seq seqno.Number, rec record.Record) error {
			reader.Entries = append(reader.Entries, entryOf(seq, rec))
			next = seq.Ordinal() + 1
			r.saw(&reader, next)
			return nil
		})
		wait(ctx, 100*time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, reader)
}

// consume reads a whole stream live through the client library until ctx ends. The
// library goes on by itself wherever a node was away, so that an error or a
// gap is a broken promise: nothing is trimmed in this test.
func (r *run) consume(ctx context.Context, s *stream) {
	c := r.dial(ctx)
	if c == nil {
		return
	}
	defer c.Close()
	reader := c.ReadStream(ctx, s.name, client.ReadOptions{Follow: true})
	defer reader.Close()
	byShard := map[uint32]*history.Reader{}
	type line struct{ producer, key uint32 }
	last := map[line]uint64{}
	for ctx.Err() == nil {
		records, err := reader.NextBatch(ctx)
		if err != nil && ctx.Err() == nil {
			s.violated("I8", "a reader of the client library ended with %v", err)
			break
		}
		for _, rec := range records {
			e := entryOf(rec.Sequence, record.Record{Key: []byte(rec.PartitionKey), Data: rec.Data})
			one := byShard[rec.Shard]
			if one == nil {
				one = &history.Reader{Name: "a reader of the client library", Shard: rec.Shard}
				byShard[rec.Shard] = one
			}
			one.Entries = append(one.Entries, e)
			r.saw(one, rec.Sequence.Ordinal()+1)
			// Over all generations of shards the order of a key is that in which it was written.
			l := line{e.Value.Producer, e.Value.Key}
			if e.Value.Counter < last[l] {
				s.violated("I8", "the client library read %s of shard %d after counter %d", e.Value, rec.Shard, last[l])
			}
			last[l] = max(last[l], e.Value.Counter)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range byShard {
		s.readers = append(s.readers, *one)
	}
}

// dial connects the client library, nodes in any order; nil when ctx ended first.
func (r *run) dial(ctx context.Context) *client.Client {
	for ctx.Err() == nil {
		if c, err := client.Dial(ctx, r.cluster.Endpoints()); err == nil {
			return c
		}
	}
	return nil
}

// copyAll reads everything that every replica of the stream holds.
func (r *run) copyAll(ctx context.Context, s *stream) (all []history.Shard, copies []history.Replica, ends []history.ShardEnd, err error) {
	state, err := r.cluster.State(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	shards, err := r.shardsOf(ctx, s)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, shard := range shards {
		all = append(all, history.Shard{
			Number: shard.GetNumber(), Keys: rangeOf(shard), Parents: shard.GetParents(),
			Closed: shard.GetState() == "closed", End: shard.GetEndOrdinal(), EndTime: shard.GetEndTimeMs(),
		})
		end := history.ShardEnd{Shard: shard.GetNumber(), Tails: map[string]uint64{}}
		if leader := r.cluster.ByID(state, shard.GetLeaderNode()); leader != nil {
			end.Leader = leader.Name
		}
		for _, replica := range shard.GetReplicas() {
			node := r.cluster.ByID(state, replica.GetNode())
			if node == nil {
				continue // the checker counts the replicas
			}
			one := history.Replica{Node: node.Name, Shard: shard.GetNumber()}
			req := &levadav1.ReadRequest{
				Stream: s.name, Shard: shard.GetNumber(), LocalOnly: true,
				From: &levadav1.Position{At: &levadav1.Position_TrimHorizon{TrimHorizon: true}},
			}
			bounds, err := node.Read(ctx, req, func(seq seqno.Number, rec record.Record) error {
				one.Entries = append(one.Entries, entryOf(seq, rec))
				return nil
			})
			if err != nil {
				return nil, nil, nil, fmt.Errorf("read stream %s shard %d from %s alone: %w", s.name, shard.GetNumber(), node.Name, err)
			}
			one.First = bounds.First
			end.Tails[node.Name] = bounds.Tail
			copies = append(copies, one)
		}
		ends = append(ends, end)
	}
	return all, copies, ends, nil
}
