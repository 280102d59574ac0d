package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
)

// run is one run of the chaos test. Its fields are set before anything works on it.
type run struct {
	t       *testing.T
	cluster *cluster.Cluster
	started time.Time
	seed    uint64
	streams []*stream

	ackedBytes atomic.Int64 // of the payloads of the client library's producers
	rate       float64      // MB/s acknowledged to them while there was load; set once
}

// now is the time since the run began, from the monotonic clock.
func (r *run) now() time.Duration { return time.Since(r.started) }

// loadEnded notes how much was acknowledged while the load lasted, from the beginning of the run to now.
func (r *run) loadEnded() { r.rate = float64(r.ackedBytes.Load()) / 1e6 / r.now().Seconds() }

// note writes a line of the run's story, shown when the test fails.
func (r *run) note(format string, args ...any) {
	r.t.Logf("%8.3fs %s", r.now().Seconds(), fmt.Sprintf(format, args...))
}

// random returns a generator of its own for one purpose of the run.
func (r *run) random(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, purpose)) }

// stream is one stream under load, and what is known about it.
type stream struct {
	name     string
	shards   uint32 // at the beginning
	replicas int
	keys     []uint32 // numbers of the keys in use; they reach every shard that there is at the beginning

	sessions atomic.Uint32 // producer numbers given out
	open     atomic.Pointer[[]*levadav1.Shard]

	mu         sync.Mutex
	lastSent   map[uint32]time.Duration // by shard: the latest sending time of an acknowledged record
	writes     []history.Write
	readers    []history.Reader
	tails      []history.Tail
	violations []history.Violation
}

// keysPerShard is the least number of keys that a shard has.
const keysPerShard = 3

func newStream(name string, shards uint32, replicas int) *stream {
	s := &stream{name: name, shards: shards, replicas: replicas, lastSent: map[uint32]time.Duration{}}
	ranges := hashkey.SplitEven(int(shards))
	for poorest := 0; poorest < keysPerShard; {
		s.keys = append(s.keys, uint32(len(s.keys)))
		poorest = len(s.keys)
		for _, r := range ranges {
			poorest = min(poorest, len(s.keysIn(r)))
		}
	}
	return s
}

// keysIn returns the keys in use that a range has.
func (s *stream) keysIn(r hashkey.Range) (in []uint32) {
	for _, key := range s.keys {
		if r.Contains(hashkey.FromPartitionKey([]byte(history.KeyText(key)))) {
			in = append(in, key)
		}
	}
	return in
}

// rangeOf returns the keys that a shard owns.
func rangeOf(sh *levadav1.Shard) hashkey.Range {
	start, err1 := hashkey.Parse(sh.GetHashStart())
	end, err2 := hashkey.Parse(sh.GetHashEnd())
	if err1 != nil || err2 != nil {
		panic(fmt.Sprintf("shard %d has no range: %v, %v", sh.GetNumber(), err1, err2)) // the API's own numbers
	}
	return hashkey.Range{Start: start, End: end}
}

// anyOpen draws a shard that owned keys a moment ago and some of the keys in use, nil if none is known.
func (s *stream) anyOpen(rng *rand.Rand) (*levadav1.Shard, []uint32) {
	open := s.open.Load()
	if open == nil || len(*open) == 0 {
		return nil, nil
	}
	sh := (*open)[rng.IntN(len(*open))]
	return sh, s.keysIn(rangeOf(sh))
}

// create creates the stream in the cluster. It keeps everything that is
// written: retention is not what this test is about.
func (s *stream) create(ctx context.Context, c *cluster.Cluster) error {
	return c.CreateStream(ctx, s.name, &levadav1.StreamSettings{
		Shards: s.shards, Replicas: uint32(s.replicas), RetentionMs: (24 * time.Hour).Milliseconds(),
	})
}

// acked notes that a record sent at the given time is stored in a shard.
func (s *stream) acked(shard uint32, sent time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastSent[shard] = max(s.lastSent[shard], sent)
}

// wroteAfter reports whether a shard has acknowledged a record that was sent at a time or later.
func (s *stream) wroteAfter(shard uint32, at time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastSent[shard] >= at
}

// record adds what a producer session did.
func (s *stream) record(writes []history.Write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, writes...)
}

// violationsMax bounds the violations that a stream keeps of those seen during the run.
const violationsMax = 20

// violated adds a violation that was seen at once.
func (s *stream) violated(invariant, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.violations) == violationsMax {
		return
	}
	s.violations = append(s.violations, history.Violation{Invariant: invariant, Detail: "stream " + s.name + ": " + fmt.Sprintf(format, args...)})
}

// owns reports whether a shard owned keys a moment ago.
func (s *stream) owns(shard uint32) bool {
	open := s.open.Load()
	return open != nil && slices.ContainsFunc(*open, func(sh *levadav1.Shard) bool { return sh.GetNumber() == shard })
}

// ledBy returns the shards that a node leads, by stream; nil if nobody says.
func (r *run) ledBy(ctx context.Context, node *cluster.Node) map[string][]uint32 {
	state, err := r.cluster.State(ctx)
	if err != nil {
		return nil
	}
	led := map[string][]uint32{}
	for _, s := range r.streams {
		shards, err := r.shardsOf(ctx, s)
		if err != nil {
			return nil
		}
		for _, shard := range shards {
			if shard.GetState() == "open" && len(s.keysIn(rangeOf(shard))) > 0 && r.cluster.ByID(state, shard.GetLeaderNode()) == node {
				led[s.name] = append(led[s.name], shard.GetNumber())
			}
		}
	}
	return led
}

// shardsOf returns a stream's partition map as the first node that answers sees it.
func (r *run) shardsOf(ctx context.Context, s *stream) ([]*levadav1.Shard, error) {
	err := fmt.Errorf("no node is running")
	for _, node := range r.cluster.Nodes {
		if !node.Running() {
			continue
		}
		shards, e := node.Shards(ctx, s.name)
		if e == nil {
			return shards, nil
		}
		err = e
	}
	return nil, err
}

// healthyNow reports whether all nodes run and the cluster says that it is healthy.
func (r *run) healthyNow(ctx context.Context) bool {
	for _, node := range r.cluster.Nodes {
		if !node.Running() {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	return r.cluster.AwaitHealthy(ctx) == nil
}

// awaitWrites waits until each shard in led has acknowledged a record that was
// sent after the given time, or ctx ends.
func (r *run) awaitWrites(ctx context.Context, led map[string][]uint32, after time.Duration) {
	_ = cluster.Await(ctx, func(context.Context) error { // CheckStalls judges what was not reached
		for _, s := range r.streams {
			for _, shard := range led[s.name] {
				if s.owns(shard) && !s.wroteAfter(shard, after) {
					return fmt.Errorf("stream %s shard %d takes no writes", s.name, shard)
				}
			}
		}
		return nil
	})
}

// awaitCaughtUp waits until every replica that the partition map names answers for
// itself and has at least what the furthest one had when the wait began.
func (r *run) awaitCaughtUp(ctx context.Context) error {
	goals := map[string]uint64{}
	return cluster.Await(ctx, func(ctx context.Context) error {
		state, err := r.cluster.State(ctx)
		if err != nil {
			return err
		}
		for _, s := range r.streams {
			shards, err := r.shardsOf(ctx, s)
			if err != nil {
				return err
			}
			for _, shard := range shards {
				tails, err := r.tails(ctx, state, s, shard)
				if err != nil {
					return err
				}
				goal, known := goals[shard.GetId()+s.name]
				for _, tail := range tails {
					if !known {
						goal = max(goal, tail)
					}
				}
				goals[shard.GetId()+s.name] = goal
				for node, tail := range tails {
					if tail < goal {
						return fmt.Errorf("stream %s shard %d on %s is at %d of %d", s.name, shard.GetNumber(), node, tail, goal)
					}
				}
			}
		}
		return nil
	})
}

// tails asks every replica of a shard for its own tail. It is an error if one
// does not answer or if there are fewer replicas than there should be.
func (r *run) tails(ctx context.Context, state *levadav1.GetClusterResponse, s *stream, shard *levadav1.Shard) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out := map[string]uint64{}
	for _, replica := range shard.GetReplicas() {
		node := r.cluster.ByID(state, replica.GetNode())
		if node == nil {
			return out, fmt.Errorf("stream %s shard %d is on node %s (%s), which is not there", s.name, shard.GetNumber(), replica.GetNode(), replica.GetNodeName())
		}
		streams, err := node.Streams()
		if err != nil {
			return out, err
		}
		page, err := streams.GetRecords(ctx, &levadav1.GetRecordsRequest{
			Stream: s.name, Shard: shard.GetNumber(), LocalOnly: true,
			From: &levadav1.Position{At: &levadav1.Position_Latest{Latest: true}},
		})
		if err != nil {
			return out, fmt.Errorf("stream %s shard %d on %s: %w", s.name, shard.GetNumber(), node.Name, err)
		}
		out[node.Name] = page.GetTailOrdinal()
	}
	if len(out) != s.replicas {
		return out, fmt.Errorf("stream %s shard %d has %d replicas instead of %d", s.name, shard.GetNumber(), len(out), s.replicas)
	}
	return out, nil
}
