package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
)

// nemesis applies steps to the cluster of a run until the load ends.
type nemesis struct {
	run *run
	rng *rand.Rand

	// Owned by the goroutine that calls work, read after it returned.
	counts  [faultCount]int
	quiet   int
	skipped int // faults whose preconditions did not hold
	faults  []history.Fault
	errs    []error // what went wrong with the test's own means
}

// work applies steps until ctx ends. It leaves nodes down and paused; heal undoes that.
func (n *nemesis) work(ctx context.Context) {
	for ctx.Err() == nil && len(n.errs) == 0 {
		s := draw(n.rng)
		n.endFault()
		switch {
		case len(s.faults) == 0:
			n.quiet++
			n.run.note("quiet for %v", s.settle.Round(time.Millisecond))
		case len(s.faults) == 2:
			n.pair(ctx, s)
		case s.faults[0] == killAll:
			n.everything(ctx, s)
		case s.faults[0] == wipeRandom:
			n.wipe(ctx, s)
		default:
			n.single(ctx, s)
		}
		wait(ctx, s.settle+*flagCalm)
	}
	n.endFault()
}

// endFault ends the time in which the last fault is the only one.
func (n *nemesis) endFault() {
	if k := len(n.faults) - 1; k >= 0 && n.faults[k].Until == 0 {
		n.faults[k].Until = n.run.now()
	}
}

func (n *nemesis) check(err error) {
	if err != nil {
		n.errs = append(n.errs, err)
	}
}

// victim returns the node that a fault hits, among those that run.
func (n *nemesis) victim(ctx context.Context, f fault, pick int) *cluster.Node {
	var up []*cluster.Node
	for _, node := range n.run.cluster.Nodes {
		if node.Running() {
			up = append(up, node)
		}
	}
	if len(up) == 0 {
		return nil
	}
	state, err := n.run.cluster.State(ctx)
	if err != nil {
		return up[pick%len(up)] // nobody answers: any node will do
	}
	id := ""
	switch f {
	case killMeta, pauseMeta, isolateMeta:
		id = state.GetMetaLeader()
	case killBusiest, pauseBusiest, isolateBusiest, muteBusiest, deafBusiest, cutPair:
		most := uint32(0)
		for _, node := range state.GetNodes() {
			if node.GetLeaders() > most {
				most, id = node.GetLeaders(), node.GetId()
			}
		}
	}
	if node := n.run.cluster.ByID(state, id); node != nil && node.Running() {
		return node
	}
	return up[pick%len(up)]
}

// hit applies a fault of one node.
func (n *nemesis) hit(f fault, node *cluster.Node) {
	n.counts[f]++
	n.run.note("%v: %s", f, node.Name)
	switch {
	case f.pauses():
		n.check(node.Pause())
	case f.cuts():
		n.cut(f, node)
	case f == stopRandom:
		_, err := node.Stop(stopMax)
		n.check(err)
	default:
		n.check(node.Kill())
	}
}

// cut cuts links of a node.
func (n *nemesis) cut(f fault, node *cluster.Node) {
	network, nodes := n.run.cluster.Network, n.run.cluster.Nodes
	if f == isolateBusiest || f == isolateMeta {
		network.Isolate(node)
		return
	}
	for i, other := range nodes {
		switch {
		case f == cutPair && nodes[(i+len(nodes)-1)%len(nodes)] == node && other != node: // its neighbour only
			network.Cut(node, other)
			network.Cut(other, node)
		case f == muteBusiest && other != node:
			network.Cut(node, other)
		case f == deafBusiest && other != node:
			network.Cut(other, node)
		}
	}
}

// stopMax bounds an orderly stop: the configured shutdown_timeout and some room.
const stopMax = 20 * time.Second

// undo brings the node of a fault back.
func (n *nemesis) undo(f fault, node *cluster.Node) {
	n.run.note("back: %s", node.Name)
	switch {
	case f.pauses():
		n.check(node.Resume())
	case f.cuts():
		n.run.cluster.Network.Mend()
	default:
		n.check(node.Start())
	}
}

// single applies one fault to a cluster that, if it is healthy, must take
// writes again soon although the node stays away.
func (n *nemesis) single(ctx context.Context, s step) {
	f := s.faults[0]
	node := n.victim(ctx, f, s.victims[0])
	if node == nil {
		n.check(n.run.cluster.StartDown())
		return
	}
	led, healthy := n.run.ledBy(ctx, node), n.run.healthyNow(ctx)
	at := n.run.now()
	n.hit(f, node)
	judged := healthy && led != nil && len(n.run.cluster.Nodes) >= 3
	if judged {
		n.faults = append(n.faults, history.Fault{What: fmt.Sprintf("%v (%s)", f, node.Name), At: at, Shards: led})
	}
	if f.lasts() {
		wait(ctx, s.pause)
		n.undo(f, node)
	}
	if judged {
		limited, cancel := context.WithTimeout(ctx, *flagStall)
		n.run.awaitWrites(limited, led, at)
		cancel()
	}
	if !f.lasts() {
		wait(ctx, s.hold)
		n.undo(f, node)
	}
}

// pair applies two faults at once: together they may take the majority away.
func (n *nemesis) pair(ctx context.Context, s step) {
	var nodes [2]*cluster.Node
	for i, f := range s.faults {
		node := n.victim(ctx, f, s.victims[i])
		if node == nil || node == nodes[0] {
			n.skipped++
			continue
		}
		n.hit(f, node)
		nodes[i] = node
		wait(ctx, s.gap)
	}
	wait(ctx, s.hold)
	for i, node := range nodes {
		if node != nil {
			n.undo(s.faults[i], node)
			wait(ctx, s.gap)
		}
	}
}

// everything is the power cut of the whole building.
func (n *nemesis) everything(ctx context.Context, s step) {
	n.counts[killAll]++
	n.run.note("%v", killAll)
	n.check(n.run.cluster.KillAll())
	wait(ctx, s.hold/2)
	n.run.note("back: all nodes")
	n.check(n.run.cluster.StartDown())
}

// wipeReadyMax bounds the wait for the conditions of a wipe.
const wipeReadyMax = 10 * time.Second

// wipe takes one copy of everything away: only while each shard has all of its
// replicas, so that an earlier replacement has caught up.
func (n *nemesis) wipe(ctx context.Context, s step) {
	limited, cancel := context.WithTimeout(ctx, wipeReadyMax)
	defer cancel()
	err := n.run.cluster.AwaitHealthy(limited)
	if err == nil {
		err = n.run.awaitCaughtUp(limited)
	}
	if err != nil || len(n.run.cluster.Nodes) < 3 {
		n.skipped++
		n.run.note("no wipe now: %v", err)
		return
	}
	node := n.run.cluster.Nodes[s.victims[0]%len(n.run.cluster.Nodes)]
	n.counts[wipeRandom]++
	n.run.note("%v: %s", wipeRandom, node.Name)
	n.check(node.Kill())
	n.check(node.Wipe())
	wait(ctx, s.hold)
	n.undo(wipeRandom, node)
}

// heal brings every node back.
func (n *nemesis) heal() {
	n.run.cluster.Network.Mend()
	for _, node := range n.run.cluster.Nodes {
		n.check(node.Resume())
	}
	n.check(n.run.cluster.StartDown())
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
