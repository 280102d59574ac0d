package partition

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// callModel is a plain description of what a shard does with calls, number by number.
type callModel struct {
	next   uint64
	time   int64
	window int64
	closed bool
	placed map[int]map[int]place // by call and number
	seen   map[int]int64
}

func (m *callModel) advance(to int64) {
	m.time = max(m.time, to)
	for n, seen := range m.seen {
		if !m.closed && m.time-seen > m.window {
			delete(m.seen, n)
			delete(m.placed, n)
		}
	}
}

// apply returns the expected places of the records [from, to) of a call, nil for a refusal.
func (m *callModel) apply(n, from, to int) []place {
	var out []place
	next := m.next
	for i := from; i < to; i++ {
		p, known := m.placed[n][i]
		if p.Duplicate = known; !known {
			p = place{next, m.time, false}
			next++
		}
		out = append(out, p)
	}
	if m.closed && next > m.next {
		return nil
	}
	if m.next = next; m.closed {
		return out
	}
	if m.placed[n] == nil {
		m.placed[n] = map[int]place{}
	}
	for i, p := range out {
		p.Duplicate = false
		m.placed[n][from+i] = p
	}
	m.seen[n] = m.time
	return out
}

// TestCallsAgreeWithModel drives a state that only has its log, one that is restored from its snapshots between, and the model, with calls in any parts,
// repetitions, expiry and a seal: they agree on all results, and the states to the byte.
func TestCallsAgreeWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const window = 50
		rules := Rules{ProducerWindow: window * time.Millisecond}
		logged, restored := NewState(rules), NewState(rules)
		m := &callModel{window: window, placed: map[int]map[int]place{}, seen: map[int]int64{}}
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			cmd := Command{Kind: CommandTick, Time: max(0, m.time+rapid.Int64Range(-5, 20).Draw(rt, "step"))}
			m.advance(cmd.Time)
			var want [][]place
			switch kind := rapid.IntRange(0, 19).Draw(rt, "kind"); {
			case kind == 0 && rapid.IntRange(0, 3).Draw(rt, "seal") == 0:
				cmd.Kind, m.closed = CommandSeal, true
			case kind > 1:
				cmd.Kind = CommandAppend
				for range rapid.IntRange(1, 3).Draw(rt, "batches") {
					n, from, count := rapid.IntRange(1, 4).Draw(rt, "call"), rapid.IntRange(1, 9).Draw(rt, "from"), rapid.IntRange(1, 6).Draw(rt, "records")
					cmd.Batches = append(cmd.Batches, call(t, n, from, from+count))
					want = append(want, m.apply(n, from, from+count))
				}
			}
			for _, s := range []*State{logged, restored} {
				decoded, err := DecodeCommand(cmd.Encode())
				if err != nil {
					rt.Fatal(err)
				}
				for i, r := range s.Apply(decoded).Results {
					if d := cmp.Diff(want[i], places(r), cmpopts.EquateEmpty()); d != "" || (r.Err != nil) != (want[i] == nil) {
						rt.Fatalf("batch %d: %v %s", i, r.Err, d)
					}
				}
			}
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				restored = reload(rt, restored)
			}
		}
		at := Position{Next: m.next}
		if a, b := EncodeSnapshot(Identity{}, at, logged), EncodeSnapshot(Identity{}, at, restored); !bytes.Equal(a, b) {
			rt.Fatalf("the snapshots differ:\n%x\n%x", a, b)
		}
		if len(logged.repeatables.byID) != len(m.placed) || logged.Next() != m.next {
			rt.Fatalf("%d calls, next %d; want %d, %d", len(logged.repeatables.byID), logged.Next(), len(m.placed), m.next)
		}
	})
}

// full returns a state that remembers as many calls as it may, the first of which has that number. Each was seen a millisecond after the one before.
func full(t testing.TB, first int) *State {
	t.Helper()
	s := NewState(Rules{})
	for i := range repeatableMax {
		s.Apply(calls(t, int64(i), call(t, first+i, 1, 2)))
	}
	if s.Next() != repeatableMax {
		t.Fatalf("%d calls", s.Next())
	}
	return s
}

// TestMergeOfFullTables is the one that must fail if a merge forgets calls that nobody else made room for.
func TestMergeOfFullTables(t *testing.T) {
	low := seal(t, full(t, 0), 1, halves[0], repeatableMax)
	high := seal(t, full(t, repeatableMax), 2, halves[1], repeatableMax)
	if kept, forgotten := Fewest([]Inheritance{low, high}); forgotten != 0 || len(kept[0].repeatables) != repeatableMax || len(kept[1].repeatables) != repeatableMax {
		t.Errorf("%d forgotten", forgotten)
	}
	merged := reload(t, adopt(t, hashkey.Full, repeatableMax, low, high))
	now := merged.Time()
	o := merged.Apply(calls(t, now, call(t, 0, 1, 2), call(t, repeatableMax, 1, 2), call(t, 2*repeatableMax-1, 1, 2), call(t, 2*repeatableMax, 1, 2)))
	if o.Duplicates != 3 || o.Count != 0 || o.Results[3].Err == nil || o.Results[3].Err.Kind != fault.Throttled {
		t.Errorf("%d duplicates, %d stored: %+v", o.Duplicates, o.Count, o.Results)
	}

	// Only a merge of merged ones forgets, the longest unseen first, and says how many.
	other := adopt(t, hashkey.Full, now, seal(t, full(t, 2*repeatableMax), 3, hashkey.Full, repeatableMax))
	parents := []Inheritance{seal(t, merged, 4, halves[0], now), seal(t, other, 5, halves[1], now)}
	fewest, forgotten := Fewest(parents)
	if forgotten != repeatableMax {
		t.Errorf("%d forgotten, want %d", forgotten, repeatableMax)
	}
	all, some := adopt(t, hashkey.Full, now+1, parents...), adopt(t, hashkey.Full, now+1, fewest...)
	if a, b := EncodeSnapshot(Identity{}, Position{}, all), EncodeSnapshot(Identity{}, Position{}, some); !bytes.Equal(a, b) {
		t.Error("what is left out beforehand is not what would have left")
	}
	if all.repeatables.runs != repeatableInheritedMax || all.repeatables.byID[callID(0)] == nil || all.repeatables.byID[callID(1)] != nil {
		t.Errorf("%d runs are left", all.repeatables.runs)
	}
}

// TestARefusedRepetitionIsASignOfLife: else what there is of a call that somebody tries to complete all the time would be forgotten, and stored again.
func TestARefusedRepetitionIsASignOfLife(t *testing.T) {
	s := full(t, 0)
	window := s.producers.windowMillis
	for now := s.Time(); now < window; now += window / 4 {
		if o := s.Apply(calls(t, now, call(t, 0, 1, 3))); o.Results[0].Err == nil {
			t.Fatalf("there is room after %d ms", now)
		}
	}
	s.Apply(Command{Kind: CommandTick, Time: s.Time() + window/2}) // all the others leave
	if s.repeatables.runs != 1 {
		t.Fatalf("%d runs stay", s.repeatables.runs)
	}
	o := s.Apply(calls(t, s.Time(), call(t, 0, 1, 3)))
	if d := cmp.Diff([]place{{0, 0, true}, {repeatableMax, s.Time(), false}}, places(o.Results[0])); d != "" {
		t.Error(d)
	}
}

// TestAScatteredCallIsCutInOnePass: applying a batch must not take a time that grows with the square of what a caller chose.
func TestAScatteredCallIsCutInOnePass(t *testing.T) {
	s := NewState(Rules{})
	const runs = repeatableMax/2 - 1
	for i := range runs {
		s.Apply(calls(t, 1, call(t, 1, 2+2*i, 3+2*i)))
	}
	b := call(t, 1, 1, 2*runs+2)
	o := s.Apply(calls(t, 2, b))
	if o.Results[0].Err != nil || o.Count != runs+1 || o.Duplicates != runs || s.repeatables.runs != 2*runs+1 {
		t.Fatalf("%d stored, %d duplicates, %d runs: %v", o.Count, o.Duplicates, s.repeatables.runs, o.Results[0].Err)
	}
	if again := s.Apply(calls(t, 3, b)); again.Duplicates != 2*runs+1 {
		t.Errorf("%d duplicates", again.Duplicates)
	}
}

// TestTheNodeBoundsCalls: all its open shards together remember no more than the node has memory for, and idle ones let theirs go.
func TestTheNodeBoundsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := NewBudget(3)
		edit := func(o *Options) { o.RepeatableRuns, o.Rules.ProducerWindow = runs, time.Minute }
		a, b := newShard(t, fixtureOptions{edit: edit}), newShard(t, fixtureOptions{edit: edit})
		defer a.close()
		if a.replica.TickDue(time.Now().Add(time.Hour)) {
			t.Error("a shard without calls wants to know the time")
		}
		a.mustAppend(call(t, 1, 1, 2), call(t, 2, 1, 2))
		b.mustAppend(call(t, 3, 1, 2))
		for _, s := range []*shardFixture{a, b} {
			_, err := s.replica.Append(t.Context(), []record.Batch{call(t, 1, 1, 2)})
			if f := fault.As(err); f == nil || f.Kind != fault.Throttled || f.RetryAfter == 0 || f.Limit != 3 {
				t.Errorf("beyond the limit: %v", err)
			}
			s.mustAppend(dataBatch(t, "k", "x")) // what is no call is not held up
		}
		// Nobody writes any more; the node tells the time.
		for range 10 {
			<-time.After(20 * time.Second)
			if a.replica.TickDue(time.Now()) {
				if err := a.replica.Tick(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if runs.Used() != 1 || a.replica.TickDue(time.Now()) {
			t.Errorf("%d runs are held", runs.Used())
		}
		a.mustAppend(call(t, 1, 1, 2))
		b.close()
		if runs.Used() != 1 {
			t.Errorf("%d runs are held after a replica has ended", runs.Used())
		}
		if _, err := a.replica.Seal(); err != nil || runs.Used() != 0 {
			t.Errorf("%d runs are held after a seal, %v", runs.Used(), err)
		}
	})
}
