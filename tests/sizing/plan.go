package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// load is what one node has to carry.
type load struct {
	replicas, leaders float64
	memory            float64 // MB
	cores             float64
	diskMBps          float64
	diskGB            float64 // of what does not hang on the records kept
	descriptors       float64
	nodeConns         float64
	goroutines        float64
	frames            float64 // writes a second that carry heartbeats and their answers
	parts             []part
}

// part is one share of memory or CPU, to show where it goes.
type part struct {
	what          string
	memory, cores float64
}

const (
	// heartbeatsPerSecond: a leader greets a follower every 0.2 to 0.4 s with raft.heartbeat at 1 s.
	heartbeatsPerSecond = 1 / 0.3
	// coalesce is how long, in seconds, the transport holds a heartbeat back, so that those of many groups share a write.
	coalesce = 0.050
	// measuredPeers is how many other nodes the idle figure was measured with.
	measuredPeers = 2
)

var errCluster = errors.New("a cluster needs more nodes than are lost, at least as many as replicas, and no negative figures")

func (c cluster) check() error {
	if c.nodes-c.lost < c.copies || c.copies < 1 || c.shards < 0 || c.lost < 0 || c.mbps < 0 || c.active < 0 || c.active > 1 || c.clients < 0 {
		return errCluster
	}
	return nil
}

// loadOf is the arithmetic: what a node carries if all is spread evenly over those that are left.
func loadOf(c cluster, f figures) load {
	left := float64(c.nodes - c.lost)
	peers := left - 1
	shards := float64(c.shards)
	l := load{replicas: shards * float64(c.copies) / left, leaders: shards / left, nodeConns: peers * float64(f.connsPerPeer)}
	used := l.replicas * c.active
	mbps := c.mbps * float64(c.copies) / left // of records, through each node's journal and logs

	// Each led group greets its followers; what goes to one peer shares frames. A greeting is answered.
	targets := l.leaders * float64(c.copies-1)
	framesTo := func(peers float64) float64 {
		if peers == 0 {
			return 0
		}
		each := targets / peers * heartbeatsPerSecond
		return 2 * peers * each / (1 + each*coalesce) // the first one waits, those that come meanwhile go with it
	}
	l.frames = framesTo(peers)
	beyond := max(0, l.frames-framesTo(min(peers, measuredPeers)))

	traffic := f.trafficMemory
	if c.mbps == 0 {
		traffic = 0
	}
	l.parts = []part{
		{"node without shards", f.baseMemory, f.baseCPU},
		{"idle replicas", l.replicas * f.idleMemory / 1e3, l.replicas / 1e3 * f.idleCPU},
		{"replicas with records", used * f.activeMemory / 1e3, 0},
		{"records", traffic, mbps / 1e3 * f.trafficCPU},
		{"control state", shards * f.shardState / 1e3, shards / 1e5 * f.stateCPU / 1e3}, // one plan a second
		{"control state, while it is written", shards * f.shardSnapshot / 1e3, 0},
		{"connections between nodes", l.nodeConns * f.connMemory / 1e3, 2 * beyond * f.wakeupMicros / 1e6}, // written here, read there
		{"connections of clients", float64(c.clients) * f.clientMemory / 1e3, 0},
	}
	for _, p := range l.parts {
		l.memory += p.memory
		l.cores += p.cores
	}
	l.diskMBps = mbps * f.writeFactor
	l.diskGB = (l.replicas*f.idleDisk + used*f.activeDisk) / 1e6
	l.descriptors = float64(f.baseFiles) + min(used, float64(f.dataFiles)) + l.nodeConns + float64(c.clients)
	l.goroutines = f.baseGoroutines + l.replicas*f.goroutines
	return l
}

// use is how much of one resource is taken.
type use struct {
	what       string
	need, have float64
	unit       string
}

func (u use) share() float64 { return u.need / u.have }

// uses returns the resources of a node, the scarcest first.
func uses(c cluster, l load) []use {
	all := []use{
		{"shard replicas (limits.shard_replicas_max)", l.replicas, float64(c.replicasMax), ""},
		{"memory", l.memory, c.memory, "MB"},
		{"CPU", l.cores, c.cores, "cores"},
		{"disk writes", l.diskMBps, c.diskMBps, "MB/s"},
		{"descriptors", l.descriptors, float64(c.descriptors), ""},
	}
	slices.SortStableFunc(all, func(a, b use) int { return cmp.Compare(b.share(), a.share()) })
	return all
}

// shardsUntil returns how many shards the cluster can have, all else unchanged, before
// the first resource of a node is used up; 0 if it is without any.
func shardsUntil(c cluster, f figures) (shards int, first use) {
	fits := func(n int) bool {
		c.shards = n
		return uses(c, loadOf(c, f))[0].share() <= 1
	}
	if !fits(0) {
		c.shards = 0
		return 0, uses(c, loadOf(c, f))[0]
	}
	low, high := 0, 1
	for fits(high) && high < math.MaxInt32 {
		low, high = high, 2*high
	}
	for high-low > 1 {
		if middle := (low + high) / 2; fits(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	c.shards = high
	return low, uses(c, loadOf(c, f))[0]
}

// printPlan writes what each node needs and what runs out first.
func printPlan(out io.Writer, c cluster, f figures) error {
	if err := c.check(); err != nil {
		return err
	}
	l := loadOf(c, f)
	fmt.Fprintf(out, "%d nodes", c.nodes)
	if c.lost > 0 {
		fmt.Fprintf(out, " of which %d are lost", c.lost)
	}
	fmt.Fprintf(out, ", %d shards with %d replicas, %.0f MB/s of records: each node has %.0f replicas, leads %.0f\n\n", c.shards, c.copies, c.mbps, l.replicas, l.leaders)
	fmt.Fprintln(out, "| a node | needs | has | used |\n|---|---|---|---|")
	for _, u := range uses(c, l) {
		fmt.Fprintf(out, "| %s | %s | %s | %.0f %% |\n", u.what, amount(u.need, u.unit), amount(u.have, u.unit), 100*u.share())
	}
	fmt.Fprintf(out, "\n| of which | memory MB | CPU cores |\n|---|---|---|\n")
	for _, p := range l.parts {
		fmt.Fprintf(out, "| %s | %.0f | %.3f |\n", p.what, p.memory, p.cores)
	}
	fmt.Fprintf(out, "\n%.0f connections with other nodes, %.0f writes a second for heartbeats, %.0f goroutines, %.2f GB on disk beside the records\n", l.nodeConns, l.frames, l.goroutines, l.diskGB)
	shards, first := shardsUntil(c, f)
	fmt.Fprintf(out, "first limit: %s, at %d shards\n", first.what, shards)
	return nil
}

func amount(v float64, unit string) string {
	format := "%.0f"
	if v < 100 {
		format = "%.3g"
	}
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf(format, v) + unit
}
