package meta

import (
	"runtime"
	"testing"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what lies in a sync.Pool goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// 10,000 shards on 30 nodes with UUIDs: how many bytes, and how long. Only
// generous bounds on bytes fail; times are for the reader.
func TestScale(t *testing.T) {
	b := newBench(t)
	b.must(InitCluster{ClusterID: "0d9fb1b1-1d5c-4a43-8d6b-9f3d1f5b7a11", Name: "big"})
	for i := range 30 {
		c := register(i)
		c.ID += "-5f0c6c5e-0f43-4b6e-9d0e-0b8c5a"
		b.must(c)
	}
	timed := func(what string, f func()) {
		t.Helper()
		start := time.Now()
		f()
		t.Logf("%-44s %v", what, time.Since(start).Round(time.Microsecond))
	}
	apply := func(c Command) (size int) {
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		b.index++
		if _, _, err := b.store.Apply(data, b.index); err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	set := settings(ShardsMax, 3)
	var placement [][]NodeID
	var err error
	timed("Place, 10,000 shards", func() { placement, err = Place(b.state(), allAlive(b.state()), set) })
	if err != nil {
		t.Fatal(err)
	}
	before, size := heap(), 0
	timed("CreateStream, decoded and applied", func() { size = apply(CreateStream{Name: "big", Settings: set, Placement: placement}) })
	leaders := ReportLeaders{Time: 1}
	for i, r := range placement {
		leaders.Leaders = append(leaders.Leaders, LeaderReport{uint64(i + 1), r[0], 1, ""})
	}
	timed("ReportLeaders, all 10,000", func() { apply(leaders) })
	perShard := (heap() - before) / ShardsMax
	t.Logf("CreateStream command %d bytes, memory %d bytes a shard", size, perShard)
	if size > 400_000 || perShard > 2000 {
		t.Errorf("too many bytes")
	}
	runtime.KeepAlive(b)
	perChange := changeLeaders(t, b, placement)
	t.Logf("one change of leader allocates %d bytes", perChange)
	if perChange > 64<<10 {
		t.Error("a small change copies too much")
	}
	scaleReads(t, b.store, timed)
}

// changeLeaders changes the leader of one shard after the other and returns the bytes that each change allocates.
func changeLeaders(t *testing.T, b *bench, placement [][]NodeID) uint64 {
	const changes = 1000
	var err error
	data := make([][]byte, changes)
	for i := range data {
		if data[i], err = Encode(ReportLeaders{Leaders: []LeaderReport{{uint64(i + 1), placement[i][1], 2, ""}}}); err != nil {
			t.Fatal(err)
		}
	}
	var m1, m2 runtime.MemStats
	runtime.ReadMemStats(&m1)
	start := time.Now()
	for i := range data {
		b.index++
		if _, _, err := b.store.Apply(data[i], b.index); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%-44s %v", "ReportLeaders, one each, 1,000 times", time.Since(start).Round(time.Microsecond))
	runtime.ReadMemStats(&m2)
	return (m2.TotalAlloc - m1.TotalAlloc) / changes
}

func scaleReads(t *testing.T, store *Store, timed func(string, func())) {
	var snapshot []byte
	var err error
	timed("Snapshot", func() { snapshot, err = store.Snapshot() })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("snapshot %d bytes", len(snapshot))
	if len(snapshot) > 6<<20 {
		t.Error("the snapshot has too many bytes")
	}
	timed("Restore", func() { err = NewStore().Restore(snapshot) })
	if err != nil {
		t.Fatal(err)
	}
	s := store.State()
	timed("Plan for one node", func() { Plan(s, s.Nodes()[0].ID, nil) })
	hints := allAlive(s)
	timed("Repair, nothing lost", func() { Repair(s, hints, 1) })
	if allocs := testing.AllocsPerRun(3, func() { Repair(s, hints, 1) }); allocs > ShardsMax/10 {
		t.Errorf("Repair allocates %v times where nothing is lost: it looks at every shard", allocs)
	}
	timed("ShardForHash, 1,000,000 times", func() {
		for i := range uint64(1_000_000) {
			if _, ok := s.ShardForHash(1, hashkey.Key{Hi: i * 0x9e3779b97f4a7c15}); !ok {
				t.Fatal("no shard")
			}
		}
	})
	timed("ShardByGroup, 1,000,000 times", func() {
		for i := range uint64(1_000_000) {
			if _, ok := s.ShardByGroup(i%ShardsMax + 1); !ok {
				t.Fatal("no shard")
			}
		}
	})
}

// BenchmarkDecisions is what the nodes of a cluster with 10,000 shards decide every second.
func BenchmarkDecisions(b *testing.B) {
	c := newBench(b)
	c.must(InitCluster{ClusterID: "c", Name: "big"})
	for i := range 30 {
		c.must(register(i))
	}
	c.create("big", ShardsMax, 3)
	s := c.state()
	hints := allAlive(s)
	for _, d := range []struct {
		name string
		f    func()
	}{
		{"plan", func() { Plan(s, nodeID(0), nil) }},
		{"repair", func() { Repair(s, hints, 1) }},
		{"place", func() {
			if _, err := Place(s, hints, settings(1, 3)); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run("decision="+d.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.f()
			}
		})
	}
}
