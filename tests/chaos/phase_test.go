package chaos

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/tests/internal/cluster"
)

// marks are the places in a reshard at which a node dies: the one that was asked for it, the meta leader that
// drives it, the leader of a parent, the leader of a child.
var marks = []string{
	"reshard-begun", "reshard-preparing", "reshard-sealing", "reshard-sealed", "reshard-adopted", "reshard-finished",
	"seal-before", "seal-after", "adopt-before", "adopt-after",
}

// TestReshardOutlivesACrashAtEachPhase lets a node die as if by a loss of power at each step of a split and of a merge, under
// load. The reshard goes on without it, and nothing is lost, doubled or out of order.
func TestReshardOutlivesACrashAtEachPhase(t *testing.T) {
	if testing.Short() {
		t.Skip("kills twenty nodes; runs without -short")
	}
	r := begin(t, 1, cluster.Options{Name: "phases", Race: *flagRace, Failpoints: true}, newStream("events", 2, 3))
	count := &storm{}
	r.besideLoad(count, func(ctx context.Context) error {
		for i, mark := range append(slices.Clone(marks), marks...) {
			if err := r.dieAt(ctx, mark, i < len(marks), count); err != nil {
				return fmt.Errorf("%s: %w", mark, err)
			}
		}
		return nil
	})
}

// dieAt begins a split or a merge that a node dies in, and waits until it is done and the cluster is healthy again.
func (r *run) dieAt(ctx context.Context, mark string, split bool, count *storm) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := r.cluster.ArmFailpoint(mark); err != nil {
		return err
	}
	r.note("%s, split %v", mark, split)
	op := client.Reshard{ID: fmt.Sprintf("%s-%v", mark, split), Reason: "a node dies at " + mark, Wait: true}
	if _, err := r.splitOrMerge(ctx, r.streams[0], split, op); err != nil {
		return err
	}
	err := cluster.Await(ctx, func(context.Context) error { // the last of the marks come after its end
		if !r.cluster.FailpointHit() {
			return fmt.Errorf("no node died")
		}
		return nil
	})
	if err != nil {
		return err
	}
	count.done++
	if err := r.cluster.StartDown(); err != nil {
		return err
	}
	return r.cluster.AwaitHealthy(ctx)
}

// splitOrMerge halves the shard with the most keys of a stream or joins its two neighbours with the fewest, and waits for
// the end. Whoever is asked may go away meanwhile: then another node is, with the same id.
func (r *run) splitOrMerge(ctx context.Context, s *stream, split bool, op client.Reshard) (*levadav1.Reshard, error) {
	c := r.dial(ctx)
	if c == nil {
		return nil, fmt.Errorf("no node answers")
	}
	defer c.Close()
	shards, err := r.shardsOf(ctx, s)
	if err != nil {
		return nil, err
	}
	one, other := widest(shards, split)
	var done *levadav1.Reshard
	err = cluster.Await(ctx, func(ctx context.Context) (err error) {
		if split {
			done, err = c.SplitShard(ctx, s.name, one, nil, 2, op)
		} else {
			done, err = c.MergeShards(ctx, s.name, one, other, op)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if done.GetPhase() != "done" {
		return nil, fmt.Errorf("the reshard ended as %v", done)
	}
	return done, nil
}

// widest returns the open shard with the most keys, or, for a merge, the two neighbours with the fewest.
func widest(shards []*levadav1.Shard, split bool) (one, other uint32) {
	var open []*levadav1.Shard
	for _, sh := range shards {
		if sh.GetState() == "open" {
			open = append(open, sh)
		}
	}
	slices.SortFunc(open, func(a, b *levadav1.Shard) int { return rangeOf(a).Start.Compare(rangeOf(b).Start) })
	width := func(r hashkey.Range) float64 { return float64(r.End.Hi - r.Start.Hi) }
	best := -1.0
	for i, sh := range open {
		switch w := width(rangeOf(sh)); {
		case split && w > best:
			best, one = w, sh.GetNumber()
		case !split && i > 0:
			if sum := w + width(rangeOf(open[i-1])); best < 0 || sum < best {
				best, one, other = sum, open[i-1].GetNumber(), sh.GetNumber()
			}
		}
	}
	return one, other
}
