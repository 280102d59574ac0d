package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/tests/internal/cluster"
)

const (
	// repairRounds is how many nodes lose everything; each has its turn.
	repairRounds = 3
	// drainRounds is how many times a node goes away in good order.
	drainRounds = 8
)

// TestReshardDuringRepair takes a node's data away, under load, and splits and merges shards while the cluster gives
// the replicas that are lost new places and copies them there.
func TestReshardDuringRepair(t *testing.T) {
	if testing.Short() {
		t.Skip("wipes three nodes under load; runs without -short")
	}
	r, count := begin(t, 2, cluster.Options{Name: "repair", Race: *flagRace}, newStream("events", 8, 3)), &storm{}
	r.besideLoad(count, func(ctx context.Context) error {
		for i := range repairRounds {
			if err := r.repairRound(ctx, i, count); err != nil {
				return fmt.Errorf("round %d: %w", i, err)
			}
		}
		return nil
	})
}

// repairRound wipes a node and reshards until all lost replicas are replaced.
func (r *run) repairRound(ctx context.Context, round int, count *storm) error {
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := r.awaitCaughtUp(limited); err != nil {
		return err
	}
	node := r.cluster.Nodes[round%len(r.cluster.Nodes)]
	lost, err := r.idOf(limited, node)
	if err != nil {
		return err
	}
	r.note("wipe of %s", node.Name)
	for _, do := range []func() error{node.Kill, node.Wipe, node.Start} {
		if err := do(); err != nil {
			return err
		}
	}
	met := 0
	for ; r.repairing(limited, lost); met++ {
		if limited.Err() != nil {
			return fmt.Errorf("the repair did not end, with %d reshards meanwhile", met)
		}
		op := client.Reshard{ID: fmt.Sprintf("repair-%d-%d", round, met), Reason: "during repair", Wait: true}
		if _, err := r.splitOrMerge(limited, r.streams[0], met%2 == 0, op); err != nil {
			return fmt.Errorf("%s: %w", op.ID, err)
		}
		count.done++
	}
	if met < 2 {
		return fmt.Errorf("the repair was over after %d reshards: a split and a merge were to meet it", met)
	}
	r.note("%d reshards began before all replicas were replaced", met)
	return r.cluster.AwaitHealthy(limited)
}

// idOf returns the id under which a node is known to the cluster.
func (r *run) idOf(ctx context.Context, node *cluster.Node) (string, error) {
	state, err := r.cluster.State(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range state.GetNodes() {
		if n.GetName() == node.Name && n.GetState() == "alive" {
			return n.GetId(), nil
		}
	}
	return "", fmt.Errorf("%s is not known as alive", node.Name)
}

// repairing reports whether a replica is still on a node that is lost, or is being copied to.
func (r *run) repairing(ctx context.Context, lost string) bool {
	for _, s := range r.streams {
		shards, err := r.shardsOf(ctx, s)
		if err != nil {
			return true
		}
		for _, sh := range shards {
			for _, replica := range sh.GetReplicas() {
				if replica.GetNode() == lost || !replica.GetVoter() {
					return true
				}
			}
		}
	}
	return false
}

// TestReshardDuringDrain lets nodes go away in good order, under load, at moments around the beginning of a split or a merge: they give what they lead,
// parents, children and the meta group, to others while it is under way.
func TestReshardDuringDrain(t *testing.T) {
	if testing.Short() {
		t.Skip("stops eight nodes under load; runs without -short")
	}
	r, count := begin(t, 3, cluster.Options{Name: "drain", Race: *flagRace}, newStream("events", 4, 3)), &storm{}
	r.besideLoad(count, func(ctx context.Context) error {
		met := map[bool]int{}
		for i := range drainRounds {
			split := i%2 == 0
			overlap, err := r.drainRound(ctx, i, split)
			if err != nil {
				return fmt.Errorf("round %d: %w", i, err)
			}
			count.done++
			if overlap {
				met[split]++
			}
		}
		r.note("%d splits and %d merges were under way while a node went away", met[true], met[false])
		if met[true] == 0 || met[false] == 0 {
			return fmt.Errorf("%d splits and %d merges met a node that went away: each is to meet one", met[true], met[false])
		}
		return nil
	})
}

// drainRound stops a node while a split or a merge is on its way, and reports whether some of it happened while the node went.
func (r *run) drainRound(ctx context.Context, round int, split bool) (overlap bool, err error) {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f := []fault{killBusiest, killMeta}[round/2%2] // whom it hits, not how
	node := (&nemesis{run: r}).victim(limited, f, round)
	if node == nil {
		return false, fmt.Errorf("no node runs")
	}
	type outcome struct {
		op  *levadav1.Reshard
		err error
	}
	ended := make(chan outcome, 1)
	go func() {
		op, err := r.splitOrMerge(limited, r.streams[0], split, client.Reshard{ID: fmt.Sprintf("drain-%d", round), Reason: "during a drain", Wait: true})
		ended <- outcome{op, err}
	}()
	wait(limited, time.Duration(round)*10*time.Millisecond)
	r.note("%s goes", node.Name)
	from := time.Now()
	code, err := node.Stop(stopMax)
	to := time.Now()
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d", node.Name, code)
	}
	o := <-ended
	if err != nil || o.err != nil {
		return false, fmt.Errorf("stop: %v, reshard: %v", err, o.err)
	}
	r.note("%s was gone after %v", node.Name, to.Sub(from).Round(time.Millisecond))
	if err := node.Start(); err != nil {
		return false, err
	}
	overlap = o.op.GetStartedMs() <= to.UnixMilli() && o.op.GetEndedMs() >= from.UnixMilli()
	return overlap, r.cluster.AwaitHealthy(limited)
}

// besideLoad lets trouble happen under load, and judges.
func (r *run) besideLoad(count *storm, trouble func(ctx context.Context) error) {
	before, err := r.resources(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.started = time.Now()
	load, endLoad := context.WithTimeout(r.t.Context(), 8*time.Minute)
	defer endLoad()
	r.underLoad(load, func() {
		defer endLoad()
		if err := trouble(load); err != nil {
			r.t.Error(err)
		}
		r.loadEnded()
		if err := r.cluster.StartDown(); err != nil {
			r.t.Error(err)
		}
	})
	r.judge(before, &nemesis{run: r}, count)
}
