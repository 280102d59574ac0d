package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
)

// watchEvery is how often the partition maps are looked at.
const watchEvery = 200 * time.Millisecond

// watch keeps the streams' open shards current until ctx ends, lets every shard be followed from when it first
// shows, and checks that at each look the open shards own each key once.
func (r *run) watch(ctx context.Context, followers *sync.WaitGroup) {
	seen := map[string]bool{}
	for ctx.Err() == nil {
		for _, s := range r.streams {
			shards, err := r.shardsOf(ctx, s)
			if err != nil {
				continue // nobody answers now
			}
			var open []*levadav1.Shard
			var ranges []hashkey.Range
			for _, sh := range shards {
				if sh.GetState() == "open" {
					open, ranges = append(open, sh), append(ranges, rangeOf(sh))
				}
				if name := s.name + sh.GetId(); !seen[name] {
					seen[name] = true
					number, nodes := sh.GetNumber(), r.cluster.Nodes
					for i := range *flagFollow { // in turn from a fixed replica alone and through any
						node := nodes[(int(number)+i)%len(nodes)]
						followers.Go(func() { r.follow(ctx, s, number, node, i%2 == 0) })
					}
				}
			}
			if problem := history.Untiled(ranges); problem != "" {
				s.violated("I10", "the open shards do not tile the key space: %s", problem)
			}
			s.open.Store(&open)
		}
		wait(ctx, watchEvery)
	}
}

// storm splits and merges shards at random until ctx ends, while everything else goes on.
type storm struct {
	run *run

	mu                     sync.Mutex
	done, refused, unknown int // reshards, as far as who asked for them was told
}

// stormShardsMax is how many open shards more than at its beginning a stream may have.
const stormShardsMax = 4

// work is one of several.
func (s *storm) work(ctx context.Context, worker int) {
	rng := s.run.random(1000 + uint64(worker))
	c := s.run.dial(ctx)
	if c == nil {
		return
	}
	defer c.Close()
	for i := 0; ctx.Err() == nil; i++ {
		wait(ctx, time.Duration(rng.Int64N(2*int64(*flagReshard))))
		st := s.run.streams[rng.IntN(len(s.run.streams))]
		sh, _ := st.anyOpen(rng)
		if sh == nil || ctx.Err() != nil {
			continue
		}
		err := s.reshard(ctx, c, rng, st, sh, client.Reshard{ID: fmt.Sprintf("storm-%d-%d-%d", s.run.seed, worker, i), Reason: "the storm", Wait: rng.IntN(2) == 0})
		s.count(ctx, st, sh, err)
	}
}

// count notes how a request was answered.
func (s *storm) count(ctx context.Context, st *stream, sh *levadav1.Shard, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.done++
	case client.IsUnavailable(err), client.IsThrottled(err):
		s.unknown++
	case client.IsConflict(err), client.IsNotFound(err), client.KindOf(err) == client.LimitReached:
		s.refused++ // another reshard came first
	case ctx.Err() == nil:
		st.violated("I15", "a reshard of shard %d was answered with %v", sh.GetNumber(), err)
	}
}

// reshard asks for one split, merge or number of shards.
func (s *storm) reshard(ctx context.Context, c *client.Client, rng *rand.Rand, st *stream, sh *levadav1.Shard, r client.Reshard) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	open := *st.open.Load()
	s.run.note("reshard %s of stream %s at shard %d of %d open", r.ID, st.name, sh.GetNumber(), len(open))
	if rng.IntN(10) == 0 {
		_, err := c.SetShardCount(ctx, st.name, uint32(1+rng.IntN(int(st.shards)+stormShardsMax)), r)
		return err
	}
	if len(open) == 1 || len(open) < int(st.shards)+stormShardsMax && rng.IntN(2) == 0 {
		parts := rangeOf(sh).SplitEven(2 + rng.IntN(2))
		if parts == nil {
			return nil
		}
		var bounds []string
		for _, p := range parts[1:] {
			bounds = append(bounds, p.Start.String())
		}
		_, err := c.SplitShard(ctx, st.name, sh.GetNumber(), bounds, 0, r)
		return err
	}
	for _, other := range open {
		if keys := rangeOf(sh); keys.End != hashkey.Max && rangeOf(other).Start == keys.End.Next() {
			_, err := c.MergeShards(ctx, st.name, sh.GetNumber(), other.GetNumber(), r)
			return err
		}
	}
	return nil
}

// awaitResharded waits until no reshard is under way and no goal is left to reach.
func (r *run) awaitResharded(ctx context.Context) error {
	return cluster.Await(ctx, func(ctx context.Context) error {
		for _, s := range r.streams {
			shards, err := r.shardsOf(ctx, s)
			if err != nil {
				return err
			}
			for _, sh := range shards {
				if sh.GetState() == "pending" {
					return fmt.Errorf("stream %s shard %d is pending", s.name, sh.GetNumber())
				}
			}
			goal, err := r.goalOf(ctx, s)
			if err != nil {
				return err
			}
			if goal != nil && goal.GetEndedMs() == 0 {
				return fmt.Errorf("stream %s is on its way to %d shards", s.name, goal.GetShards())
			}
		}
		return nil
	})
}

// goalOf returns the number of shards that a stream is to have, nil if none was ever set.
func (r *run) goalOf(ctx context.Context, s *stream) (*levadav1.ShardGoal, error) {
	admin, err := r.cluster.AnyAdmin()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := admin.DescribeStream(ctx, &levadav1.DescribeStreamRequest{Name: s.name})
	return out.GetStream().GetGoal(), err
}

// pauses says how long writers waited for the reshards: for each, the slowest record of the shards that it replaced
// among those sent from just before their seal to its end, beside the slowest of other shards meanwhile.
func (r *run) pauses(ctx context.Context, all []*history.Stream) string {
	admin, err := r.cluster.AnyAdmin()
	if err != nil {
		return "pauses unknown: " + err.Error()
	}
	var slowest, others, handOvers []time.Duration
	begun := r.started.UnixMilli()
	for _, h := range all {
		ranges := map[uint32]hashkey.Range{}
		for _, sh := range h.Shards {
			ranges[sh.Number] = sh.Keys
		}
		writes := slices.Clone(h.Writes)
		slices.SortFunc(writes, func(a, b history.Write) int { return cmp.Compare(a.Sent, b.Sent) })
		for before := uint64(0); ; {
			page, err := admin.ListReshards(ctx, &levadav1.ListReshardsRequest{Stream: h.Name, Limit: 1000, Before: before})
			if err != nil {
				return "pauses unknown: " + err.Error()
			}
			for _, op := range page.GetReshards() {
				before = op.GetNumber()
				if op.GetPhase() != "done" {
					continue
				}
				from, to := time.Duration(op.GetSealingMs()-begun)*time.Millisecond, time.Duration(op.GetEndedMs()-begun)*time.Millisecond
				handOvers = append(handOvers, to-from)
				own, other := slowestOf(writes, from-20*time.Millisecond, to, func(k hashkey.Key) bool {
					return slices.ContainsFunc(op.GetParents(), func(p uint32) bool { return ranges[p].Contains(k) })
				})
				slowest, others = append(slowest, own), append(others, other)
			}
			if !page.GetMore() || len(page.GetReshards()) == 0 {
				break
			}
		}
	}
	return fmt.Sprintf("%d hand-overs, of %s; the slowest record of their shards in each: %s; of other shards meanwhile: %s",
		len(handOvers), spread(handOvers), spread(slowest), spread(others))
}

// slowestOf returns how long the slowest acknowledged record took that was sent in a stretch of time, of the keys that own says and of the others.
func slowestOf(writes []history.Write, from, to time.Duration, own func(hashkey.Key) bool) (slowest, other time.Duration) {
	i, _ := slices.BinarySearchFunc(writes, from, func(w history.Write, t time.Duration) int { return cmp.Compare(w.Sent, t) })
	for ; i < len(writes) && writes[i].Sent <= to; i++ {
		w := writes[i]
		if w.Outcome != history.Acked {
			continue
		}
		if own(hashkey.FromPartitionKey([]byte(history.KeyText(w.Value.Key)))) {
			slowest = max(slowest, w.Done-w.Sent)
		} else {
			other = max(other, w.Done-w.Sent)
		}
	}
	return slowest, other
}

// spread sums up durations.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %v p90 %v p99 %v max %v", at(0.5), at(0.9), at(0.99), at(1))
}
