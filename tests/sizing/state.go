package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/levada-stream/levada/meta"
)

// stateSize is the cluster whose control state is measured.
type stateSize struct {
	nodes, shards, shardsPerStream int
}

// reportsPerCommand is how many groups a node reports at once, as in package node.
const reportsPerCommand = 1000

// stateRow is one line of the table.
type stateRow struct {
	what, figure string
}

// stateBuild applies commands as the log of the meta group would.
type stateBuild struct {
	store *meta.Store
	index uint64
	hints meta.Hints
	ids   []meta.NodeID
}

// errRefused reports a command that the state machine did not take.
var errRefused = errors.New("refused")

// apply encodes and applies, and returns the encoded size.
func (b *stateBuild) apply(c meta.Command) (int, error) {
	data, err := meta.Encode(c)
	if err != nil {
		return 0, err
	}
	b.index++
	result, _, err := b.store.Apply(data, b.index)
	if err != nil {
		return 0, err
	}
	if refusal, ok := result.(error); ok {
		return 0, fmt.Errorf("%w: %w", errRefused, refusal)
	}
	return len(data), nil
}

// newStateBuild registers the nodes of a cluster over three zones.
func newStateBuild(nodes int) (*stateBuild, error) {
	b := &stateBuild{store: meta.NewStore(), hints: meta.Hints{}}
	if _, err := b.apply(meta.InitCluster{ClusterID: "0d9fb1b1-1d5c-4a43-8d6b-9f3d1f5b7a11", Name: "sizing"}); err != nil {
		return nil, err
	}
	for i := range nodes {
		id := fmt.Sprintf("%08x-5f0c-4c5e-8f43-4b6e9d0e0b8c", uint32(i)*0x9e3779b1)
		c := meta.RegisterNode{
			ID: id, Name: fmt.Sprintf("node%d", i), Incarnation: 1, Zone: fmt.Sprintf("zone%d", i%3), Roles: []string{"control", "ingest", "retrieval", "storage"},
			Addresses: meta.Addresses{Raft: fmt.Sprintf("10.0.%d.%d:7401", i/250, i%250)}, DiskClass: "ssd", ReplicasMax: meta.NodeReplicasMax,
		}
		if _, err := b.apply(c); err != nil {
			return nil, err
		}
		b.hints[id], b.ids = meta.Hint{Alive: true}, append(b.ids, id)
	}
	return b, nil
}

// create makes a stream as a node does, and lets the leaders of its shards report.
func (b *stateBuild) create(name string, shards int) (place, apply time.Duration, size int, err error) {
	settings := meta.Settings{Shards: shards}.WithDefaults()
	start := cpuNow()
	placement, err := meta.Place(b.store.State(), b.hints, settings)
	if err != nil {
		return 0, 0, 0, err
	}
	place = cpuNow() - start
	start = cpuNow()
	size, err = b.apply(meta.CreateStream{Name: name, Settings: settings, Placement: placement, StreamsMax: meta.StreamsMax, Time: 1})
	return place, cpuNow() - start, size, err
}

// report lets the given shards report the given leader, or their preferred one if it is "".
func (b *stateBuild) report(shards []*meta.Shard, term uint64, leader func(*meta.Shard) meta.NodeID) (longest time.Duration, size int, err error) {
	for part := range slices.Chunk(shards, reportsPerCommand) {
		c := meta.ReplicaStatus{Time: int64(term)}
		for _, sh := range part {
			st := meta.GroupStatus{Group: sh.Group, Node: leader(sh), Term: term, DesiredVersion: sh.DesiredVersion, Reason: "its heartbeats stayed away"}
			for _, id := range sh.Desired {
				st.Members = append(st.Members, meta.Member{Node: id, Voter: true})
			}
			c.Statuses = append(c.Statuses, st)
		}
		start := cpuNow()
		bytes, err := b.apply(c)
		if err != nil {
			return 0, 0, err
		}
		size = max(size, bytes)
		longest = max(longest, cpuNow()-start)
	}
	return longest, size, nil
}

func allShards(s *meta.State) []*meta.Shard {
	var all []*meta.Shard
	for st := range s.Streams() {
		for sh := range st.Shards() {
			all = append(all, sh)
		}
	}
	return all
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one freed of finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpuNow is the CPU time of this process. A machine that is busy with other things
// makes it longer by less than it does the time that passes.
func cpuNow() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // never of one's own process
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// median is of the CPU times of an odd number of runs, collection of their garbage included.
func median(runs int, f func() error) (time.Duration, error) {
	var all []time.Duration
	for range runs {
		start := cpuNow()
		if err := f(); err != nil {
			return 0, err
		}
		all = append(all, cpuNow()-start)
	}
	slices.Sort(all)
	return all[runs/2], nil
}

// measureState builds the control state of a cluster by its real code and prints what it costs.
func measureState(out io.Writer, size stateSize) error {
	before := liveHeap()
	b, err := newStateBuild(size.nodes)
	if err != nil {
		return err
	}
	preferred := func(sh *meta.Shard) meta.NodeID { return sh.Desired[0] }
	for made := 0; made < size.shards; made += size.shardsPerStream {
		if _, _, _, err := b.create(fmt.Sprintf("stream-%06d", made), min(size.shardsPerStream, size.shards-made)); err != nil {
			return err
		}
	}
	if _, _, err := b.report(allShards(b.store.State()), 1, preferred); err != nil {
		return err
	}
	held := liveHeap() - before
	rows := []stateRow{
		{"memory of the state", fmt.Sprintf("%s, %d bytes a shard", megabytes(held), held/uint64(size.shards))},
	}
	for _, part := range []func(*stateBuild, stateSize) ([]stateRow, error){snapshotRows, decisionRows, createRows, failoverRows} {
		more, err := part(b, size)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	fmt.Fprintf(out, "Control state of %d shards with 3 replicas in streams of %d on %d nodes\n\n", size.shards, size.shardsPerStream, size.nodes)
	fmt.Fprintln(out, "| what | figure; times are CPU |\n|---|---|")
	for _, r := range rows {
		fmt.Fprintf(out, "| %s | %s |\n", r.what, r.figure)
	}
	runtime.KeepAlive(b)
	return nil
}

func megabytes(bytes uint64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

func took(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

// snapshotRows measures what a node does every ten seconds while the state changes, and once at its start.
func snapshotRows(b *stateBuild, _ stateSize) ([]stateRow, error) {
	var data []byte
	var m1, m2 runtime.MemStats
	runtime.ReadMemStats(&m1)
	encode, err := median(3, func() (err error) {
		data, err = b.store.State().Encode()
		return err
	})
	if err != nil {
		return nil, err
	}
	runtime.ReadMemStats(&m2)
	decode, err := median(3, func() error {
		_, err := meta.DecodeState(data)
		return err
	})
	return []stateRow{
		{"snapshot", megabytes(uint64(len(data)))},
		{"encode the snapshot", fmt.Sprintf("%s, allocates %s", took(encode), megabytes((m2.TotalAlloc-m1.TotalAlloc)/3))},
		{"decode the snapshot", took(decode)},
	}, err
}

// decisionRows measures what nodes decide again and again.
func decisionRows(b *stateBuild, _ stateSize) ([]stateRow, error) {
	s := b.store.State()
	var local []uint64
	for _, p := range meta.Plan(s, b.ids[0], nil) {
		local = append(local, p.Group)
	}
	plan, err := median(5, func() error { meta.Plan(s, b.ids[0], local); return nil })
	if err != nil {
		return nil, err
	}
	repair, err := median(5, func() error { meta.Repair(s, b.hints, 1); return nil })
	if err != nil {
		return nil, err
	}
	hints := meta.Hints{}
	for id, h := range b.hints {
		hints[id] = h
	}
	hints[b.ids[0]] = meta.Hint{DeadSince: 1}
	moves := 0
	lost, err := median(5, func() error { moves = len(meta.Repair(s, hints, 1<<40)); return nil })
	if err != nil {
		return nil, err
	}
	page, err := median(5, func() error {
		n := 0
		for st := range s.StreamsByName("") {
			for range st.OpenShards() {
				n++
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	whole, err := median(5, func() error {
		for _, sh := range allShards(s) {
			s.Whole(sh)
		}
		return nil
	})
	return []stateRow{
		{"plan of one node, which has its replicas", fmt.Sprintf("%s for %d replicas", took(plan), len(local))},
		{"repair, nothing lost", took(repair)},
		{"repair, a node lost", fmt.Sprintf("%s, %d moves", took(lost), moves)},
		{"list all streams", took(page)},
		{"look through all shards (cluster status)", took(whole)},
	}, err
}

// createRows measures one more stream, and its end.
func createRows(b *stateBuild, size stateSize) ([]stateRow, error) {
	place, apply, bytes, err := b.create("one-more", size.shardsPerStream)
	if err != nil {
		return nil, err
	}
	_, single, _, err := b.create("a-small-one", 1)
	if err != nil {
		return nil, err
	}
	var rows []stateRow
	start := cpuNow()
	if _, err := b.apply(meta.DeleteStream{Name: "one-more", TombstonesMax: meta.TombstonesKept, Time: 2}); err != nil {
		return nil, err
	}
	gone := cpuNow() - start
	rows = append(rows,
		stateRow{fmt.Sprintf("place %d shards", size.shardsPerStream), took(place)},
		stateRow{fmt.Sprintf("apply the creation of %d shards", size.shardsPerStream), fmt.Sprintf("%s, a command of %d bytes", took(apply), bytes)},
		stateRow{"apply the creation of one shard", took(single)},
		stateRow{fmt.Sprintf("apply the deletion of %d shards", size.shardsPerStream), took(gone)},
	)
	return rows, nil
}

// failoverRows measures the reports after a node is lost.
func failoverRows(b *stateBuild, _ stateSize) ([]stateRow, error) {
	var led []*meta.Shard
	for _, sh := range allShards(b.store.State()) {
		if sh.Leader == b.ids[0] {
			led = append(led, sh)
		}
	}
	longest, bytes, err := b.report(led, 2, func(sh *meta.Shard) meta.NodeID { return sh.Desired[1] })
	if err != nil {
		return nil, err
	}
	one, _, err := b.report(led[:1], 3, func(sh *meta.Shard) meta.NodeID { return sh.Desired[1] })
	return []stateRow{
		{fmt.Sprintf("apply a report of %d new leaders", min(len(led), reportsPerCommand)), fmt.Sprintf("%s, a command of %d bytes", took(longest), bytes)},
		{"apply a report of one new leader", took(one)},
	}, err
}
