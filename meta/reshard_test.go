package meta

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

var mapSteps = flag.Int("map.steps", 20_000, "random operations that TestMapModel does on a partition map")

// begin proposes a reshard with a placement on the nodes that are there.
func (b *bench) begin(c BeginReshard) any {
	b.t.Helper()
	st, _ := b.state().StreamByID(c.StreamID)
	replicas := settings(len(c.Bounds)+1, st.Settings.Replicas)
	c.Placement, _ = Place(b.state(), allAlive(b.state()), replicas)
	result, _ := b.apply(c)
	return result
}

// lead gives shards their first leaders.
func (b *bench) lead(st uint64, numbers ...uint32) {
	b.t.Helper()
	for _, n := range numbers {
		sh, _ := b.state().Shard(st, n)
		b.must(ReportLeaders{Leaders: []LeaderReport{{Group: sh.Group, Node: sh.Initial[0], Term: 1}}, Time: 50})
	}
}

// reshard takes a reshard from its beginning to its end.
func (b *bench) reshard(c BeginReshard, end ShardEnd) *Reshard {
	b.t.Helper()
	result, ok := b.begin(c).(ReshardResult)
	if !ok {
		b.t.Fatalf("begin: %+v", result)
	}
	r, _ := b.state().Reshard(result.Number)
	b.lead(c.StreamID, r.Children...)
	b.must(SealReshard{Number: r.Number, Time: c.Time + 1})
	ends := make([]ShardEnd, len(r.Parents))
	for i := range ends {
		ends[i] = end
	}
	b.must(FinishReshard{Number: r.Number, Ends: ends, Time: c.Time + 2})
	r, _ = b.state().Reshard(r.Number)
	return r
}

// active returns a cluster with a stream of so many shards that all have a leader.
func active(t tester, shards int) (*bench, uint64) {
	b := cluster(t, 3)
	st := b.create("s", shards, 3)
	for i := range shards {
		b.lead(st.ID, uint32(i))
	}
	return b, st.ID
}

func rangesOf(st *Stream) []string {
	var out []string
	for sh := range st.OpenShards() {
		out = append(out, fmt.Sprintf("%d %s", sh.Number, sh.Range))
	}
	return out
}

func key(n uint64) hashkey.Key { return hashkey.Key{Lo: n} }

func TestSplitAndMerge(t *testing.T) {
	b, id := active(t, 2)
	half := hashkey.SplitEven(2)
	r := b.reshard(BeginReshard{ID: "a", StreamID: id, Parents: []uint32{0}, Bounds: []hashkey.Key{key(100)}, Reason: "by hand", Time: 1000}, ShardEnd{Ordinal: 7, Time: 999})
	if r.Phase != ReshardDone || r.Started != 1000 || r.Sealing != 1001 || r.Ended != 1002 || !r.Split() {
		t.Fatalf("the reshard is %+v", r)
	}
	st, _ := b.state().StreamByID(id)
	want := []string{"2 [0, 99]", fmt.Sprintf("3 [100, %s]", half[0].End), fmt.Sprintf("1 %s", half[1])}
	if d := cmp.Diff(want, rangesOf(st)); d != "" {
		t.Fatal(d)
	}
	parent, child := st.Shard(0), st.Shard(3)
	if parent.State != ShardClosed || parent.Closed != 1002 || parent.End != (ShardEnd{7, 999}) || !slices.Equal(parent.Children, []uint32{2, 3}) {
		t.Errorf("the parent is %+v", parent)
	}
	if child.State != ShardOpen || child.Opened != 1002 || !slices.Equal(child.Parents, []uint32{0}) {
		t.Errorf("the child is %+v", child)
	}
	b.reshard(BeginReshard{ID: "b", StreamID: id, Parents: []uint32{3, 1}, Time: 2000}, ShardEnd{})
	st, _ = b.state().StreamByID(id)
	if d := cmp.Diff([]string{"2 [0, 99]", fmt.Sprintf("4 [100, %s]", hashkey.Max)}, rangesOf(st)); d != "" {
		t.Fatal(d)
	}
	if sh, _ := b.state().ShardForHash(id, key(99)); sh.Number != 2 {
		t.Errorf("key 99 goes to shard %d", sh.Number)
	}
	// What nobody can read any more goes, and its group with it.
	group := st.Shard(0).Group
	b.must(DropShards{StreamID: id, Shards: []uint32{0, 1, 0}, Time: 3000})
	b.must(DropShards{StreamID: id, Shards: []uint32{0}, Time: 3001}) // again
	st, _ = b.state().StreamByID(id)
	if st.Shard(0) != nil || !st.Gone(0) || !st.Gone(1) || st.Gone(2) || st.Gone(5) || !b.state().GroupDeleted(group) || b.state().GroupDeleted(group+100) {
		t.Error("a shard that was dropped is not gone")
	}
	for _, p := range Plan(b.state(), nodeID(0), []uint64{group}) {
		if (p.Group == group) != (p.Action == ActionDelete) {
			t.Errorf("group %d is to %s", p.Group, p.Action)
		}
	}
}

func TestReshardRefusals(t *testing.T) {
	b, id := active(t, 4)
	b.create("young", 1, 3)
	young, _ := b.state().StreamByName("young")
	quarter := hashkey.SplitEven(4)
	b.begin(BeginReshard{ID: "busy", StreamID: id, Parents: []uint32{3}, Bounds: []hashkey.Key{quarter[3].Start.Next()}, Time: 5})
	st, _ := b.state().StreamByID(id)
	pending := st.ShardCount() - 1
	split := func(edit func(*BeginReshard)) Command {
		c := BeginReshard{ID: "x", StreamID: id, Parents: []uint32{0}, Bounds: []hashkey.Key{key(1)}, Time: 6}
		c.Placement, _ = Place(b.state(), allAlive(b.state()), settings(2, 3))
		edit(&c)
		return c
	}
	merge := func(parents ...uint32) Command {
		return split(func(c *BeginReshard) { c.Parents, c.Bounds, c.Placement = parents, nil, c.Placement[:1] })
	}
	refuses(t, b, []refusal{
		{name: "no id", c: split(func(c *BeginReshard) { c.ID = "" }), kind: fault.Invalid, field: "id"},
		{name: "no stream", c: split(func(c *BeginReshard) { c.StreamID = 99 }), kind: fault.NotFound},
		{name: "a stream that is being created", c: split(func(c *BeginReshard) { c.StreamID = young.ID }), kind: fault.Conflict},
		{name: "no shard", c: split(func(c *BeginReshard) { c.Parents[0] = 77 }), kind: fault.NotFound},
		{name: "no parent", c: split(func(c *BeginReshard) { c.Parents = nil }), kind: fault.Invalid, field: "parents", limit: 2},
		{name: "a pending shard", c: split(func(c *BeginReshard) { c.Parents[0] = uint32(pending) }), kind: fault.Conflict},
		{name: "a busy shard", c: split(func(c *BeginReshard) { c.Parents[0] = 3 }), kind: fault.Conflict},
		{name: "a split without a bound", c: split(func(c *BeginReshard) { c.Bounds = nil }), kind: fault.Invalid, field: "bounds"},
		{name: "at the first key", c: split(func(c *BeginReshard) { c.Bounds[0] = key(0) }), kind: fault.Invalid, field: "bounds"},
		{name: "beyond the last key", c: split(func(c *BeginReshard) { c.Bounds[0] = quarter[1].Start }), kind: fault.Invalid, field: "bounds"},
		{name: "bounds that descend", c: split(func(c *BeginReshard) { c.Bounds = []hashkey.Key{key(9), key(8)} }), kind: fault.Invalid, field: "bounds"},
		{name: "a placement of too few", c: split(func(c *BeginReshard) { c.Placement = c.Placement[:1] }), kind: fault.Invalid, field: "placement"},
		{name: "too many shards", c: split(func(c *BeginReshard) { c.ShardsMax = 5 }), kind: fault.LimitReached, field: "shards", limit: 5},
		{name: "no neighbours", c: merge(0, 2), kind: fault.Invalid, field: "parents"},
		{name: "neighbours the wrong way", c: merge(1, 0), kind: fault.Invalid, field: "parents"},
		{name: "with itself", c: merge(1, 1), kind: fault.Invalid, field: "parents"},
		{name: "three", c: merge(0, 1, 2), kind: fault.Invalid, field: "parents", limit: 2},
		{name: "the same id for another", c: split(func(c *BeginReshard) { c.ID = "busy" }), kind: fault.Conflict},
		{name: "for a goal there is not", c: split(func(c *BeginReshard) { c.Goal = "g" }), kind: fault.Conflict},
		{name: "seal without leaders", c: SealReshard{Number: 1}, kind: fault.Conflict},
		{name: "finish before the seal", c: FinishReshard{Number: 1, Ends: []ShardEnd{{}}}, kind: fault.Conflict},
		{name: "drop an open shard", c: DropShards{StreamID: id, Shards: []uint32{0}}, kind: fault.Conflict},
		{name: "drop a shard there never was", c: DropShards{StreamID: id, Shards: []uint32{77}}, kind: fault.NotFound},
		{name: "no reshard", c: AbortReshard{Number: 9}, kind: fault.NotFound},
	})
	b.lead(id, uint32(pending-1), uint32(pending))
	b.must(SealReshard{Number: 1, Time: 7})
	refuses(t, b, []refusal{
		{name: "abort after the seal", c: AbortReshard{Number: 1}, kind: fault.Conflict},
		{name: "too few ends", c: FinishReshard{Number: 1}, kind: fault.Invalid, field: "ends"},
	})
}

// TestNarrowestShard: a range of one key cannot be split, one of two can, at 2^128-1 too.
func TestNarrowestShard(t *testing.T) {
	b, id := active(t, 1)
	b.reshard(BeginReshard{ID: "a", StreamID: id, Parents: []uint32{0}, Bounds: []hashkey.Key{key(1), key(2), hashkey.Max.Prev(), hashkey.Max}, Time: 1}, ShardEnd{})
	st, _ := b.state().StreamByID(id)
	want := []string{"1 [0, 0]", "2 [1, 1]", fmt.Sprintf("3 [2, %s]", hashkey.Max.Prev().Prev()), fmt.Sprintf("4 [%[1]s, %[1]s]", hashkey.Max.Prev()), fmt.Sprintf("5 [%[1]s, %[1]s]", hashkey.Max)}
	if d := cmp.Diff(want, rangesOf(st)); d != "" {
		t.Fatal(d)
	}
	for _, c := range []struct {
		shard uint32
		at    hashkey.Key
	}{{1, key(0)}, {1, key(1)}, {5, hashkey.Max}, {2, key(1)}} {
		f, ok := b.begin(BeginReshard{ID: "n", StreamID: id, Parents: []uint32{c.shard}, Bounds: []hashkey.Key{c.at}, Time: 2}).(*fault.Error)
		if !ok || f.Kind != fault.Invalid || f.Field != "bounds" {
			t.Errorf("shard %d was split at %s: %v", c.shard, c.at, f)
		}
	}
	for _, k := range []hashkey.Key{key(0), key(1), key(2), hashkey.Max.Prev(), hashkey.Max} {
		if sh, ok := b.state().ShardForHash(id, k); !ok || !sh.Range.Contains(k) {
			t.Errorf("key %s goes to %+v", k, sh)
		}
	}
}

func TestReshardIsIdempotent(t *testing.T) {
	b, id := active(t, 1)
	c := BeginReshard{ID: "a", StreamID: id, Parents: []uint32{0}, Bounds: []hashkey.Key{key(5)}, Time: 1}
	again := func() ReshardResult {
		t.Helper()
		r, ok := b.begin(c).(ReshardResult)
		if !ok {
			t.Fatalf("begun again: %+v", r)
		}
		return r
	}
	if first, second := again(), again(); !first.Changed || second.Changed || first.Number != second.Number {
		t.Fatalf("begun twice: %+v, %+v", first, second)
	}
	b.must(AbortReshard{Number: 1, Reason: "changed my mind", Time: 2})
	b.must(AbortReshard{Number: 1, Time: 3})
	if r, _ := b.state().Reshard(1); r.Phase != ReshardAborted || r.Failure != "changed my mind" || r.Ended != 2 {
		t.Fatalf("aborted: %+v", r)
	}
	if r := again(); r.Changed {
		t.Fatal("an aborted reshard was begun again under its id")
	}
	c.ID = "b"
	done := b.reshard(c, ShardEnd{})
	b.must(SealReshard{Number: done.Number})
	b.must(FinishReshard{Number: done.Number, Ends: []ShardEnd{{9, 9}}})
	if sh, _ := b.state().Shard(id, 0); sh.End != (ShardEnd{}) {
		t.Fatal("a second end replaced the first")
	}
	if r := again(); r.Changed || r.Number != done.Number {
		t.Fatalf("begun again after its end: %+v", r)
	}
}

// TestGoals takes streams from one number of shards to another and counts the moves.
func TestGoals(t *testing.T) {
	for _, c := range []struct{ from, to, splits, merges, rounds int }{
		{4, 16, 4, 0, 1}, {16, 3, 2, 15, 3}, {1, 10, 1, 0, 1}, {10, 1, 0, 9, 4}, {4, 5, 4, 3, 2}, {3, 3, 0, 0, 0}, {2, 3, 2, 1, 2},
	} {
		t.Run(fmt.Sprintf("%d to %d", c.from, c.to), func(t *testing.T) {
			b, id := active(t, c.from)
			b.must(SetGoal{ID: "g", StreamID: id, Shards: c.to, Time: 10})
			b.must(SetGoal{ID: "g", StreamID: id, Shards: c.to, Time: 11})
			splits, merges, rounds := 0, 0, 0
			for ; ; rounds++ {
				st, _ := b.state().StreamByID(id)
				moves := b.state().Moves(st)
				if len(moves) == 0 {
					break
				}
				for _, m := range moves {
					if len(m.Bounds) > 0 {
						splits++
					} else {
						merges++
					}
					b.reshard(BeginReshard{ID: fmt.Sprintf("g/%d", splits+merges), StreamID: id, Parents: m.Parents, Bounds: m.Bounds, Goal: "g", Time: 12}, ShardEnd{})
				}
			}
			st, _ := b.state().StreamByID(id)
			var got []hashkey.Range
			for sh := range st.OpenShards() {
				got = append(got, sh.Range)
			}
			if d := cmp.Diff(hashkey.SplitEven(c.to), got); d != "" || st.Goal().Ended == 0 {
				t.Fatalf("goal %+v: %s", st.Goal(), d)
			}
			if splits != c.splits || merges != c.merges || rounds != c.rounds {
				t.Errorf("%d splits, %d merges, %d rounds; want %d, %d, %d", splits, merges, rounds, c.splits, c.merges, c.rounds)
			}
		})
	}
}

// TestGoalAtTheLimit: on the way there may be more shards than the stream may have; a split by hand may not make them.
func TestGoalAtTheLimit(t *testing.T) {
	b, id := active(t, 8)
	b.must(SetGoal{ID: "g", StreamID: id, Shards: 7, ShardsMax: 8, Time: 10})
	for n := 0; ; n++ {
		st, _ := b.state().StreamByID(id)
		moves := b.state().Moves(st)
		if len(moves) == 0 {
			break
		}
		for i, m := range moves {
			b.reshard(BeginReshard{ID: fmt.Sprintf("g/%d/%d", n, i), StreamID: id, Parents: m.Parents, Bounds: m.Bounds, Goal: "g", ShardsMax: 8, Time: 12}, ShardEnd{})
			if open := len(slices.Collect(st.OpenShards())); open > 15 {
				t.Fatalf("%d shards on the way from 8 to 7", open)
			}
		}
	}
	st, _ := b.state().StreamByID(id)
	if g := st.Goal(); g.Ended == 0 || len(st.open) != 7 {
		t.Fatalf("%d shards, the goal is %+v", len(st.open), g)
	}
}

// TestGoalsAreRemembered: one that was reached does not begin anew when it is asked for again, though there was another since.
func TestGoalsAreRemembered(t *testing.T) {
	b, id := active(t, 2)
	b.must(SetGoal{ID: "first", StreamID: id, Shards: 2, Time: 10})
	for i := range GoalsKept {
		b.must(SetGoal{ID: fmt.Sprint("other ", i), StreamID: id, Shards: 2, Time: 11})
	}
	b.must(SetGoal{ID: "last", StreamID: id, Shards: 4, Time: 12})
	if r := b.must(SetGoal{ID: "other 3", StreamID: id, Shards: 2, Time: 13}).(StreamResult); r.Changed {
		t.Error("a goal that was reached was set again")
	}
	b.must(CancelGoal{StreamID: id, ID: "other 3", Time: 13}) // has ended
	refuses(t, b, []refusal{
		{name: "a number that it did not have", c: SetGoal{ID: "other 3", StreamID: id, Shards: 3}, kind: fault.Conflict},
		{name: "the oldest is forgotten", c: SetGoal{ID: "first", StreamID: id, Shards: 2}, kind: fault.Conflict},
	})
}

// TestGoneShardsTakeNoRoom: two streams that are resharded in turn for long leave nothing behind but ranges that join.
func TestGoneShardsTakeNoRoom(t *testing.T) {
	b := cluster(t, 3)
	var ids []uint64
	for _, name := range []string{"a", "b"} {
		st := b.create(name, 2, 1)
		b.lead(st.ID, 0, 1)
		ids = append(ids, st.ID)
	}
	for i := range 200 {
		for _, id := range ids {
			st, _ := b.state().StreamByID(id)
			first := st.open[0].number
			b.reshard(BeginReshard{ID: fmt.Sprint(id, "/", i), StreamID: id, Parents: []uint32{first}, Bounds: []hashkey.Key{key(1)}, Time: 20}, ShardEnd{})
			st, _ = b.state().StreamByID(id)
			pair := []uint32{st.open[0].number, st.open[1].number}
			b.reshard(BeginReshard{ID: fmt.Sprint(id, "/", i, "m"), StreamID: id, Parents: pair, Time: 21}, ShardEnd{})
			b.must(DropShards{StreamID: id, Shards: append(pair, first), Time: 22})
		}
	}
	s := b.state()
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	if n, f := len(s.spans), len(s.forgotten); n > 8 || f > 8 {
		t.Errorf("%d spans and %d ranges of forgotten groups after 800 reshards of two streams", n, f)
	}
	for group := uint64(1); group < s.nextGroup; group++ {
		if _, live := s.ShardByGroup(group); live == s.GroupDeleted(group) {
			t.Errorf("group %d is live: %v", group, live)
		}
	}
}

func TestGoalRefusals(t *testing.T) {
	b, id := active(t, 2)
	b.must(SetGoal{ID: "g", StreamID: id, Shards: 4, Time: 10})
	other := BeginReshard{ID: "x", StreamID: id, Parents: []uint32{0}, Bounds: []hashkey.Key{key(1)}, Time: 6}
	other.Placement, _ = Place(b.state(), allAlive(b.state()), settings(2, 3))
	refuses(t, b, []refusal{
		{name: "another goal meanwhile", c: SetGoal{ID: "h", StreamID: id, Shards: 8}, kind: fault.Conflict},
		{name: "the same id for another number", c: SetGoal{ID: "g", StreamID: id, Shards: 8}, kind: fault.Conflict},
		{name: "no shards", c: SetGoal{ID: "h", StreamID: id}, kind: fault.Invalid, field: "shards", limit: ShardsMax},
		{name: "more than allowed", c: SetGoal{ID: "h", StreamID: id, Shards: 5, ShardsMax: 4}, kind: fault.Invalid, field: "shards", limit: 4},
		{name: "a split by hand meanwhile", c: other, kind: fault.Conflict},
		{name: "cancel another", c: CancelGoal{StreamID: id, ID: "h"}, kind: fault.NotFound},
	})
	b.must(CancelGoal{StreamID: id, ID: "g", Time: 11})
	b.must(CancelGoal{StreamID: id, ID: "g", Time: 12})
	st, _ := b.state().StreamByID(id)
	if g := st.Goal(); g.Ended != 11 || g.Failure != "cancelled" || len(b.state().Moves(st)) > 0 {
		t.Fatalf("the goal is %+v", g)
	}
	b.must(other)
}

func TestDeletedStreamEndsItsReshards(t *testing.T) {
	b, id := active(t, 1)
	b.begin(BeginReshard{ID: "a", StreamID: id, Parents: []uint32{0}, Bounds: []hashkey.Key{key(5)}, Time: 1})
	st, _ := b.state().StreamByID(id)
	group := st.Shard(1).Group
	b.must(DeleteStream{Name: "s", Time: 2})
	if r, _ := b.state().Reshard(1); r.Phase != ReshardAborted || !b.state().GroupDeleted(group) || !b.state().GroupDeleted(1) {
		t.Fatalf("the reshard is %+v", r)
	}
	if err := b.state().check(); err != nil {
		t.Fatal(err)
	}
}

// mapModel remembers every shard that ever owned keys, to tell what any version of the map must have said.
type mapModel struct {
	t        *testing.T
	b        *bench
	id       uint64
	rng      *rand.Rand
	now      int64
	seen     map[uint32]*Shard // as it was last
	sequence int
}

// TestMapModel does random splits, merges, goals, aborts, drops and leader changes, each phase interleaved with
// others, and checks after each that the map tiles the key space, and at random moments of the past that it did then.
func TestMapModel(t *testing.T) {
	b, id := active(t, 3)
	b.unchecked = true
	m := &mapModel{t: t, b: b, id: id, rng: rand.New(rand.NewPCG(1, 2)), now: 1000, seen: map[uint32]*Shard{}}
	for step := range *mapSteps {
		m.now += int64(m.rng.IntN(3))
		m.step()
		m.observe()
		if step%97 == 0 {
			m.past()
			if err := b.state().check(); err != nil {
				t.Fatal(err)
			}
		}
		if step%9973 == 0 {
			m.reload()
		}
	}
	done := map[ReshardPhase]int{}
	for r := range b.state().Reshards() {
		done[r.Phase]++
	}
	t.Logf("%d reshards begun, the last %d: %v; shard numbers up to %d, %d in the map", b.state().nextReshard-1, b.state().reshards.len(), done, len(m.seen), m.stream().ShardCount())
	if b.state().nextReshard < uint64(*mapSteps/20) {
		t.Error("the walk began hardly any reshards")
	}
}

func (m *mapModel) stream() *Stream {
	st, _ := m.b.state().StreamByID(m.id)
	return st
}

func (m *mapModel) step() {
	st := m.stream()
	active := slices.Collect(m.b.state().ActiveReshards())
	open := slices.Collect(st.OpenShards())
	m.sequence++
	id := fmt.Sprint("op", m.sequence)
	switch k := m.rng.IntN(20); {
	case k < 5 && len(active) > 0:
		m.advance(active[m.rng.IntN(len(active))])
	case k < 8 && len(active) > 0:
		for _, r := range active {
			m.advance(r)
		}
	case k == 8 && len(active) > 0:
		m.b.apply(AbortReshard{Number: active[m.rng.IntN(len(active))].Number, Time: m.now})
	case k == 9:
		var closed []uint32
		for sh := range st.Shards() {
			if sh.State == ShardClosed && (m.rng.IntN(2) == 0 || st.ShardCount() > 100) {
				closed = append(closed, sh.Number)
			}
		}
		m.b.apply(DropShards{StreamID: m.id, Shards: closed, Time: m.now})
	case k == 10:
		m.b.apply(SetGoal{ID: id, StreamID: m.id, Shards: 1 + m.rng.IntN(24), Time: m.now})
	case k == 11 && st.Goal() != nil && m.rng.IntN(3) == 0:
		m.b.apply(CancelGoal{StreamID: m.id, ID: st.Goal().ID, Time: m.now})
	case k < 14:
		for i, move := range m.b.state().Moves(st) {
			m.b.begin(BeginReshard{ID: fmt.Sprint(id, "/", i), StreamID: m.id, Parents: move.Parents, Bounds: move.Bounds, Goal: st.Goal().ID, Time: m.now})
		}
	case k < 17 && len(open) < 40:
		sh := open[m.rng.IntN(len(open))]
		var bounds []hashkey.Key
		for range 1 + m.rng.IntN(3) {
			bounds = append(bounds, m.keyIn(sh.Range))
		}
		slices.SortFunc(bounds, hashkey.Key.Compare)
		m.b.begin(BeginReshard{ID: id, StreamID: m.id, Parents: []uint32{sh.Number}, Bounds: bounds, Time: m.now})
	case len(open) > 1:
		i := m.rng.IntN(len(open) - 1)
		m.b.begin(BeginReshard{ID: id, StreamID: m.id, Parents: []uint32{open[i].Number, open[i+1].Number}, Time: m.now})
	}
}

// keyIn draws a key in or just beside a range, often at one of its ends.
func (m *mapModel) keyIn(r hashkey.Range) hashkey.Key {
	switch m.rng.IntN(6) {
	case 0:
		return r.Start
	case 1:
		return r.Start.Next()
	case 2:
		return r.End
	case 3:
		return r.End.Next()
	}
	for range 100 {
		k := hashkey.Key{Hi: m.rng.Uint64(), Lo: m.rng.Uint64()}
		if r.Contains(k) {
			return k
		}
	}
	return r.Start.Next()
}

// advance takes a reshard one phase on.
func (m *mapModel) advance(r *Reshard) {
	st := m.stream()
	if r.Phase == ReshardSealing {
		ends := make([]ShardEnd, len(r.Parents))
		for i := range ends {
			ends[i] = ShardEnd{Ordinal: m.rng.Uint64N(1000), Time: m.now}
		}
		m.b.must(FinishReshard{Number: r.Number, Ends: ends, Time: m.now - int64(m.rng.IntN(3))})
		return
	}
	for _, n := range r.Children {
		if st.Shard(n).Term == 0 {
			m.b.lead(m.id, n)
			return
		}
	}
	m.b.must(SealReshard{Number: r.Number, Time: m.now})
}

// observe checks what holds at once, and remembers.
func (m *mapModel) observe() {
	st := m.stream()
	if err := st.checkTiling(); err != nil {
		m.t.Fatal(err)
	}
	for sh := range st.Shards() {
		if sh.State == ShardPending {
			continue
		}
		if was := m.seen[sh.Number]; was != nil && (was.Range != sh.Range || was.Opened != sh.Opened || was.State == ShardClosed && sh.State != ShardClosed) {
			m.t.Fatalf("shard %d was %+v and is %+v", sh.Number, was, sh)
		}
		m.seen[sh.Number] = sh
		for _, c := range sh.Children {
			if child := st.Shard(c); child != nil && !slices.Contains(child.Parents, sh.Number) {
				m.t.Fatalf("shard %d has child %d, which has parents %v", sh.Number, c, child.Parents)
			}
			if c <= sh.Number {
				m.t.Fatalf("shard %d has child %d: lineage goes up only", sh.Number, c)
			}
		}
	}
}

// past checks the map at moments of the past: the shards that owned keys then tile the key space.
func (m *mapModel) past() {
	for range 3 {
		at := 1 + m.rng.Int64N(m.now)
		var then []hashkey.Range
		for _, sh := range m.seen {
			if sh.Opened <= at && (sh.Closed == 0 || at < sh.Closed) && at >= 100 {
				then = append(then, sh.Range)
			}
		}
		if at < 100 { // before the stream
			continue
		}
		slices.SortFunc(then, func(a, b hashkey.Range) int { return a.Start.Compare(b.Start) })
		var next hashkey.Key
		for i, r := range then {
			if r.Start != next || (r.End == hashkey.Max) != (i == len(then)-1) {
				m.t.Fatalf("at %d the map had %v", at, then)
			}
			next = r.End.Next()
		}
		if len(then) == 0 {
			m.t.Fatalf("at %d the map was empty", at)
		}
	}
}

// reload takes the state through its snapshot.
func (m *mapModel) reload() {
	data, err := m.b.state().Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	s, err := DecodeState(data)
	if err != nil {
		m.t.Fatal(err)
	}
	if again, err := s.Encode(); err != nil || string(again) != string(data) {
		m.t.Fatalf("a snapshot that was read encodes otherwise (error %v):\n%s", err, cmp.Diff(string(data), string(again)))
	}
}
