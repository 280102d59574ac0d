package chaos

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
)

var (
	flagSeed    = flag.Uint64("chaos.seed", 0, "seed of the run; 0 takes one from the clock")
	flagSeconds = flag.Int("chaos.seconds", 20, "how long the load and the faults last")
	flagNodes   = flag.Int("chaos.nodes", 3, "number of nodes")
	flagShards  = flag.Int("chaos.shards", 8, "shards of the largest stream")
	flagRate    = flag.Int("chaos.rate", 400, "records a second of each producer of the client library")
	flagReshard = flag.Duration("chaos.reshard", 2*time.Second, "time between two reshards, on average; 0 for none")
	flagStorms  = flag.Int("chaos.storms", 1, "how many ask for reshards at the same time")
	flagBytes   = flag.Int("chaos.bytes", 0, "bytes that each record of these has in addition")
	flagFollow  = flag.Int("chaos.followers", 2, "how many followers each shard has")
	flagFlight  = flag.Int64("chaos.inflight", 4<<20, "bytes that a producer of the client library holds at most")
	flagCalm    = flag.Duration("chaos.calm", 0, "time without faults after each step of the nemesis, in addition")
	flagFaults  = flag.Bool("chaos.faults", true, "let nodes fail; without it there is load, and reshards, only")
	flagRace    = flag.Bool("chaos.race", false, "build the nodes with the race detector")
	flagStall   = flag.Duration("chaos.stall", 10*time.Second, "longest time without writes after a fault of one node (I14)")
	flagHeal    = flag.Duration("chaos.heal", 90*time.Second, "longest time to heal after the last fault (I15)")
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

// TestChaos runs load and faults for a while, heals the cluster, and judges.
func TestChaos(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	replay := fmt.Sprintf("go test ./tests/chaos -run 'TestChaos$' -count=1 -chaos.seed=%d -chaos.seconds=%d -chaos.nodes=%d -chaos.shards=%d -chaos.rate=%d -chaos.bytes=%d -chaos.reshard=%v -chaos.storms=%d -chaos.followers=%d -chaos.inflight=%d -chaos.calm=%v -chaos.faults=%v",
		seed, *flagSeconds, *flagNodes, *flagShards, *flagRate, *flagBytes, *flagReshard, *flagStorms, *flagFollow, *flagFlight, *flagCalm, *flagFaults)
	t.Logf("replay: %s", replay)
	defer func() {
		if t.Failed() {
			t.Logf("replay: %s", replay)
		}
	}()
	replicas := min(3, *flagNodes)
	r := begin(t, seed, cluster.Options{Nodes: *flagNodes, Name: "chaos", Race: *flagRace, Proxied: true},
		newStream("events", uint32(*flagShards), replicas), newStream("ledger", 1, replicas), newStream("orders", 3, replicas))
	before, err := r.resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.started = time.Now()
	nemesis, storm := r.attack()
	r.judge(before, nemesis, storm)
}

// begin starts a cluster with streams and returns a run that has not started.
func begin(t *testing.T, seed uint64, o cluster.Options, streams ...*stream) *run {
	t.Helper()
	r := &run{t: t, seed: seed, started: time.Now(), streams: streams}
	r.cluster = cluster.Start(t, o)
	r.note("healthy")
	ctx, cancel := context.WithTimeout(t.Context(), cluster.StartMax)
	defer cancel()
	for _, s := range r.streams {
		if err := s.create(ctx, r.cluster); err != nil {
			t.Fatalf("create stream %s: %v", s.name, err)
		}
	}
	r.note("streams created")
	if err := r.cluster.AwaitHealthy(ctx); err != nil {
		t.Fatalf("not healthy with its streams: %v", err)
	}
	r.note("healthy with streams")
	return r
}

// attack puts load on the cluster and lets the nemesis and the storm work.
func (r *run) attack() (*nemesis, *storm) {
	n, resharding := &nemesis{run: r, rng: r.random(1)}, &storm{run: r}
	load, endLoad := context.WithTimeout(r.t.Context(), time.Duration(*flagSeconds)*time.Second)
	defer endLoad()
	r.underLoad(load, func() {
		var storms sync.WaitGroup
		for i := range *flagStorms {
			if *flagReshard > 0 {
				storms.Go(func() { resharding.work(load, i) })
			}
		}
		if *flagFaults {
			n.work(load)
		}
		<-load.Done()
		r.loadEnded()
		r.note("heal")
		n.heal()
		storms.Wait()
	})
	return n, resharding
}

// underLoad writes and reads until load ends, while work does what it does and leaves all nodes up, and
// returns once the load has drained and every follower has seen everything.
func (r *run) underLoad(load context.Context, work func()) {
	following, endFollowing := context.WithCancel(r.t.Context())
	defer endFollowing()
	var producers, followers sync.WaitGroup
	followers.Go(func() { r.watch(following, &followers) })
	for i, s := range r.streams {
		purpose := uint64(100 * (i + 1))
		raw := &rawProducer{run: r, stream: s, rng: r.random(purpose)}
		repeater := &rawProducer{run: r, stream: s, rng: r.random(purpose + 1)}
		producers.Go(func() { raw.work(load) })
		producers.Go(func() { repeater.repeat(load) })
		for k := range uint64(producersPerStream) {
			p := &clientProducer{run: r, stream: s, rng: r.random(purpose + 10 + k)}
			producers.Go(func() { p.work(load) })
		}
		followers.Go(func() { r.consume(following, s) })
		for k := range uint64(askersPerStream) {
			followers.Go(func() { r.askTails(following, s, r.random(purpose+50+k)) })
		}
	}
	work()
	healed := r.now()
	limited, cancel := context.WithTimeout(r.t.Context(), *flagHeal)
	defer cancel()
	if err := r.cluster.AwaitHealthy(limited); err != nil {
		r.t.Errorf("I15: not healthy %v after the last fault: %v", *flagHeal, err)
	}
	producers.Wait() // each is bounded by drainMax
	if err := r.awaitResharded(limited); err != nil {
		r.t.Errorf("I15: reshards still under way %v after the last fault: %v", *flagHeal, err)
	}
	if err := r.awaitLevel(limited); err != nil {
		r.t.Errorf("I15: replicas not level %v after the last fault: %v", *flagHeal, err)
	}
	r.note("healed and level after %v", (r.now() - healed).Round(time.Millisecond))
	wait(r.t.Context(), followersLag)
	endFollowing()
	followers.Wait()
}

const (
	// producersPerStream is how many producers of the client library each stream has.
	producersPerStream = 3
	// followersLag is the time given to followers to see the last records. What they
	// have not seen by then is not held against anybody.
	followersLag = time.Second
)

// awaitLevel waits until all replicas of every shard have the same tail.
func (r *run) awaitLevel(ctx context.Context) error {
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
				low, high := ^uint64(0), uint64(0)
				for _, tail := range tails {
					low, high = min(low, tail), max(high, tail)
				}
				if low != high {
					return fmt.Errorf("stream %s shard %d: tails %v", s.name, shard.GetNumber(), tails)
				}
			}
		}
		return nil
	})
}

// judge reads everything from every replica and reports each broken promise.
func (r *run) judge(before map[string]history.Resources, n *nemesis, resharding *storm) {
	for _, err := range n.errs {
		r.t.Errorf("the nemesis failed: %v", err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), *flagHeal)
	defer cancel()
	var all []*history.Stream
	var violations []history.Violation
	total, judged := totals{}, history.Judged{}
	closed := 0
	for _, s := range r.streams {
		shards, copies, ends, err := r.copyAll(ctx, s)
		if err != nil {
			r.t.Errorf("I1: %v", err)
			continue
		}
		closed += countClosed(shards)
		h := &history.Stream{
			Name: s.name, Shards: shards, Replicas: s.replicas,
			Writes: s.writes, Copies: copies, Readers: s.readers, Tails: s.tails, Ends: ends,
		}
		all = append(all, h)
		total.add(h)
		violations = append(violations, s.violations...)
		violations = append(violations, history.Check(h)...)
		operations, unordered := history.CheckLinear(h)
		judged.Add(operations)
		violations = append(violations, unordered...)
	}
	recoveries, stalls := history.CheckStalls(all, n.faults, *flagStall)
	violations = append(violations, stalls...)
	more := 0
	for _, h := range all {
		more += len(h.Shards)
	}
	for _, s := range r.streams {
		more -= int(s.shards)
	}
	violations = append(violations, r.leaks(ctx, before, more)...)
	for _, v := range violations {
		r.t.Error(v)
	}
	if total.acked == 0 {
		r.t.Error("nothing was acknowledged: the run shows nothing")
	}
	if judged.Tails == 0 {
		r.t.Error("nobody was told where a shard ends: the run shows nothing of it")
	}
	if *flagReshard > 0 && closed == 0 && *flagSeconds >= 20 {
		r.t.Error("no shard was split or merged: the run shows nothing of it")
	}
	fmt.Printf("chaos seed %d: %v, %.1f MB/s under load; %s; %d shards closed by %d reshards, %d refused, %d without answer; %s; %v in a linear order; %d violations\n",
		r.seed, total, r.rate, n.summary(recoveries), closed, resharding.done, resharding.refused, resharding.unknown, r.pauses(ctx, all), judged, len(violations))
}

func countClosed(shards []history.Shard) (n int) {
	for _, sh := range shards {
		if sh.Closed {
			n++
		}
	}
	return n
}

// leaks compares what the nodes hold with the time before the load (I16). What belongs to the
// load's own connections goes away shortly after it. Shards that there were not before, closed ones among
// them, take some as well.
func (r *run) leaks(ctx context.Context, before map[string]history.Resources, moreShards int) (violations []history.Violation) {
	ctx, cancel := context.WithTimeout(ctx, leakMax)
	defer cancel()
	err := cluster.Await(ctx, func(ctx context.Context) error {
		now, err := r.resources(ctx)
		if err != nil {
			return err
		}
		if violations = history.CheckResources(before, now, history.Resources{Goroutines: 100 + 6*moreShards, Descriptors: 50 + 4*moreShards}); len(violations) > 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil && len(violations) == 0 {
		r.t.Errorf("I16: %v", err)
	}
	return violations
}

const leakMax = 20 * time.Second

func (r *run) resources(ctx context.Context) (map[string]history.Resources, error) {
	out := map[string]history.Resources{}
	for _, node := range r.cluster.Nodes {
		goroutines, fds, err := node.Resources(ctx)
		if err != nil {
			return nil, err
		}
		out[node.Name] = history.Resources{Goroutines: goroutines, Descriptors: fds}
	}
	return out, nil
}

// totals counts what was written and read.
type totals struct{ acked, unknown, failed, stored, followed int }

func (t *totals) add(s *history.Stream) {
	for _, w := range s.Writes {
		switch w.Outcome {
		case history.Acked:
			t.acked++
		case history.Failed:
			t.failed++
		default:
			t.unknown++
		}
	}
	for _, c := range s.Copies {
		t.stored += len(c.Entries)
	}
	for _, r := range s.Readers {
		t.followed += len(r.Entries)
	}
}

func (t totals) String() string {
	return fmt.Sprintf("%d records acknowledged, %d unknown, %d refused, %d read from replicas, %d followed",
		t.acked, t.unknown, t.failed, t.stored, t.followed)
}

// summary says what the nemesis did and how long writes took to recover.
func (n *nemesis) summary(recoveries []history.Recovery) string {
	kills := n.counts[killBusiest] + n.counts[killMeta] + n.counts[killRandom]
	pauses, cuts := 0, 0
	for f, count := range n.counts {
		switch {
		case fault(f).pauses():
			pauses += count
		case fault(f).cuts():
			cuts += count
		}
	}
	text := fmt.Sprintf("%d kills, %d kills of all, %d pauses, %d cuts, %d restarts, %d wipes, %d quiet, %d skipped",
		kills, n.counts[killAll], pauses, cuts, n.counts[stopRandom], n.counts[wipeRandom], n.quiet, n.skipped)
	if len(recoveries) == 0 {
		return text
	}
	slices.SortFunc(recoveries, func(a, b history.Recovery) int { return cmp.Compare(a.After, b.After) })
	return text + fmt.Sprintf(", writes back after p50 %v max %v (%d measured)",
		recoveries[len(recoveries)/2].After.Round(time.Millisecond), recoveries[len(recoveries)-1].After.Round(time.Millisecond), len(recoveries))
}
