package partition

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

func TestAppendPlacesRecords(t *testing.T) {
	s := NewState(Rules{})
	o := s.Apply(appendCommand(1000, makeBatch(t, 1, 1, 3), dataBatch(t, "k", "x"), makeBatch(t, 1, 4, 2)))
	want := []AppendResult{
		{Ranges: []ResultRange{{Count: 3, First: 0, Time: 1000}}},
		{Ranges: []ResultRange{{Count: 1, First: 3, Time: 1000}}},
		{Ranges: []ResultRange{{Count: 2, First: 4, Time: 1000}}},
	}
	if d := cmp.Diff(want, o.Results); d != "" {
		t.Fatal(d)
	}
	if o.First != 0 || o.Count != 6 || o.Time != 1000 || s.Next() != 6 {
		t.Fatalf("block %d+%d at %d, next %d", o.First, o.Count, o.Time, s.Next())
	}
	if d := cmp.Diff([]string{"p1-1", "p1-2", "p1-3", "x", "p1-4", "p1-5"}, recordData(t, o.Payload...)); d != "" {
		t.Fatal(d)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	s := NewState(Rules{})
	var got []int64
	for _, leaderTime := range []int64{500, 400, 600, 0} {
		o := s.Apply(appendCommand(leaderTime, dataBatch(t, "k", "x")))
		got = append(got, o.Results[0].Ranges[0].Time)
	}
	if d := cmp.Diff([]int64{500, 500, 600, 600}, got); d != "" {
		t.Fatal(d)
	}
}

// TestDuplicateAcknowledgedOnce is the one that must fail if de-duplication is dropped.
func TestDuplicateAcknowledgedOnce(t *testing.T) {
	s := NewState(Rules{})
	b := makeBatch(t, 1, 1, 3)
	first := s.Apply(appendCommand(10, b))
	s.Apply(appendCommand(20, dataBatch(t, "k", "between")))
	again := s.Apply(appendCommand(30, b, b)) // two retries in one entry
	if again.Count != 0 || len(again.Payload) != 0 || s.Next() != 4 {
		t.Fatalf("a retry was stored: %d records, next %d", again.Count, s.Next())
	}
	for i, r := range again.Results {
		want := []place{{0, 10, true}, {1, 10, true}, {2, 10, true}}
		if d := cmp.Diff(want, places(r)); d != "" {
			t.Errorf("retry %d is not answered with the original positions: %s", i, d)
		}
	}
	if first.Results[0].Ranges[0].Duplicate || again.Duplicates != 6 {
		t.Errorf("original marked duplicate, or %d duplicates counted, want 6", again.Duplicates)
	}
	within := s.Apply(appendCommand(30, makeBatch(t, 2, 1, 2), makeBatch(t, 2, 1, 2)))
	if within.Count != 2 || !within.Results[1].Ranges[0].Duplicate {
		t.Errorf("the same batch twice in one entry stored %d records", within.Count)
	}
}

func TestStraddlingBatchStoresItsTail(t *testing.T) {
	s := NewState(Rules{})
	s.Apply(appendCommand(10, makeBatch(t, 1, 1, 2)))
	s.Apply(appendCommand(20, makeBatch(t, 1, 3, 1)))
	o := s.Apply(appendCommand(30, makeBatch(t, 1, 2, 4)))
	want := []place{{1, 10, true}, {2, 20, true}, {3, 30, false}, {4, 30, false}}
	if d := cmp.Diff(want, places(o.Results[0])); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff([]string{"p1-4", "p1-5"}, recordData(t, o.Payload...)); d != "" {
		t.Fatal(d)
	}
	stored, _, err := record.Parse(o.Payload[0])
	if err != nil || stored.FirstSequence() != 4 || stored.Producer() != producerID(1) {
		t.Fatalf("stored batch starts at %d: %v", stored.FirstSequence(), err)
	}
}

func TestRefusals(t *testing.T) {
	gap := makeBatch(t, 1, 5, 1)
	for _, c := range []struct {
		name  string
		setup []Command
		batch record.Batch
		want  fault.Kind
	}{
		{"unknown producer", nil, gap, fault.StaleProducer},
		{"gap", []Command{appendCommand(1, makeBatch(t, 1, 1, 3))}, gap, fault.StaleProducer},
		{"closed", []Command{{Kind: CommandSeal, Time: 1}}, dataBatch(t, "k", "x"), fault.ShardClosed},
		{"closed, next of producer", []Command{appendCommand(1, makeBatch(t, 1, 1, 4)), {Kind: CommandSeal}}, gap, fault.ShardClosed},
		{"closed, behind a refused one", []Command{appendCommand(1, makeBatch(t, 1, 1, 3)), {Kind: CommandSeal}}, gap, fault.ShardClosed},
		{"closed, straddling", []Command{appendCommand(1, makeBatch(t, 1, 1, 5)), {Kind: CommandSeal}}, makeBatch(t, 1, 5, 2), fault.ShardClosed},
		{"sequence overflow", nil, makeBatch(t, 1, ^uint64(0), 1), fault.Invalid},
		{"sequence 0", nil, makeBatch(t, 1, 0, 1), fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewState(Rules{})
			for _, cmd := range c.setup {
				s.Apply(cmd)
			}
			before := EncodeSnapshot(Identity{}, Position{Next: s.Next()}, s)
			o := s.Apply(appendCommand(0, c.batch))
			r := o.Results[0]
			if r.Err == nil || r.Err.Kind != c.want || len(r.Ranges) != 0 || o.Count != 0 {
				t.Fatalf("result %+v, stored %d; want a refusal of kind %s", r, o.Count, c.want)
			}
			if o.Rejected != uint64(c.batch.Count()) {
				t.Errorf("%d rejected records counted", o.Rejected)
			}
			if d := cmp.Diff(before, EncodeSnapshot(Identity{}, Position{Next: s.Next()}, s)); d != "" {
				t.Errorf("a refusal changed the state: %s", d)
			}
		})
	}
}

func TestRetryIsAnsweredAfterSeal(t *testing.T) {
	s := NewState(Rules{})
	b := makeBatch(t, 1, 1, 2)
	s.Apply(appendCommand(10, b))
	s.Apply(Command{Kind: CommandSeal, Time: 20})
	o := s.Apply(appendCommand(30, b))
	if d := cmp.Diff([]place{{0, 10, true}, {1, 10, true}}, places(o.Results[0])); d != "" || !s.Closed() {
		t.Fatalf("closed %v: %s", s.Closed(), d)
	}
}

func TestTrim(t *testing.T) {
	s := NewState(Rules{})
	s.Apply(appendCommand(1, makeBatch(t, 1, 1, 10)))
	for _, c := range []struct {
		to, want uint64
		moved    bool
	}{{4, 4, true}, {3, 4, false}, {4, 4, false}, {1 << 60, 10, true}} {
		o := s.Apply(Command{Kind: CommandTrim, Trim: c.to})
		if s.Trim() != c.want || o.Trimmed != c.moved {
			t.Errorf("trim to %d: at %d, moved %v; want %d, %v", c.to, s.Trim(), o.Trimmed, c.want, c.moved)
		}
	}
}

func TestIdleProducerLeaves(t *testing.T) {
	s := NewState(Rules{ProducerWindow: time.Second})
	s.Apply(appendCommand(0, makeBatch(t, 1, 1, 1)))
	s.Apply(appendCommand(0, makeBatch(t, 2, 1, 1)))
	s.Apply(appendCommand(900, makeBatch(t, 1, 1, 1))) // a duplicate keeps the session alive
	s.Apply(Command{Kind: CommandTick, Time: 1000})
	if s.Producers() != 2 {
		t.Fatalf("%d producers at the window's end, want 2", s.Producers())
	}
	s.Apply(Command{Kind: CommandTick, Time: 1001})
	if s.Producers() != 1 {
		t.Fatalf("%d producers past the window, want 1", s.Producers())
	}
	o := s.Apply(appendCommand(1001, makeBatch(t, 2, 2, 1), makeBatch(t, 1, 2, 1)))
	if o.Results[0].Err == nil || o.Results[1].Err != nil {
		t.Fatalf("expired and live producer: %+v", o.Results)
	}
}

// TestClockLeapForgetsNobody: a leader elected with a clock far ahead must still
// know the producers that its predecessor did not answer.
func TestClockLeapForgetsNobody(t *testing.T) {
	s := NewState(Rules{ProducerWindow: time.Second})
	first := makeBatch(t, 1, 1, 1)
	s.Apply(appendCommand(1000, first))
	s.Apply(appendCommand(900_000, makeBatch(t, 2, 1, 1)))
	o := s.Apply(appendCommand(900_001, first))
	if r := o.Results[0]; r.Err != nil || !r.Ranges[0].Duplicate {
		t.Fatalf("the retry after a leap of the clock: %+v, want a duplicate", r)
	}
	for now := int64(900_002); now <= 903_000; now += 400 {
		s.Apply(Command{Kind: CommandTick, Time: now})
	}
	if s.Producers() != 0 {
		t.Fatalf("%d producers left after silence, want 0", s.Producers())
	}
}

func TestProducersAreBounded(t *testing.T) {
	s := NewState(Rules{ProducersMax: 2})
	for p := byte(1); p <= 3; p++ {
		s.Apply(appendCommand(0, makeBatch(t, p, 1, 1)))
	}
	o := s.Apply(appendCommand(0, makeBatch(t, 1, 2, 1), makeBatch(t, 2, 2, 1), makeBatch(t, 3, 2, 1)))
	if s.Producers() != 2 || o.Results[0].Err == nil || o.Results[1].Err != nil || o.Results[2].Err != nil {
		t.Fatalf("%d producers; the first should have left: %+v", s.Producers(), o.Results)
	}
}

func TestForgottenPositionIsStillADuplicate(t *testing.T) {
	s := NewState(Rules{})
	for i := range uint64(rememberedSpans + 2) {
		s.Apply(appendCommand(int64(i), makeBatch(t, 1, 2*i+1, 2)))
	}
	o := s.Apply(appendCommand(999, makeBatch(t, 1, 3, 4)))
	want := []place{{UnknownOrdinal, 0, true}, {UnknownOrdinal, 0, true}, {4, 2, true}, {5, 2, true}}
	if d := cmp.Diff(want, places(o.Results[0])); d != "" || o.Count != 0 {
		t.Fatalf("stored %d: %s", o.Count, d)
	}
}

// model is a plain description of what a shard does, record by record.
type model struct {
	records []string
	time    int64
	window  int64
	closed  bool
	sent    map[byte][]place // by producer, all its records in sequence
	seen    map[byte]int64
}

// apply returns the expected places of one batch, nil for a refusal.
func (m *model) apply(producer byte, first uint64, data []string) []place {
	var out []place
	fresh := func() place {
		p := place{Ordinal: uint64(len(m.records)), Time: m.time}
		return p
	}
	if producer == 0 {
		if m.closed {
			return nil
		}
		for _, d := range data {
			out = append(out, fresh())
			m.records = append(m.records, d)
		}
		return out
	}
	sent := m.sent[producer]
	last := first + uint64(len(data)) - 1
	if first > uint64(len(sent))+1 || (m.closed && last > uint64(len(sent))) {
		return nil
	}
	for i, d := range data {
		seq := first + uint64(i)
		if seq <= uint64(len(sent)) {
			p := sent[seq-1]
			p.Duplicate = true
			out = append(out, p)
			continue
		}
		p := fresh()
		m.records = append(m.records, d)
		sent = append(sent, p)
		out = append(out, p)
	}
	m.sent[producer], m.seen[producer] = sent, m.time
	return out
}

func (m *model) advance(to int64) {
	m.time = max(m.time, to)
	if m.closed { // what it leaves stays
		return
	}
	for p, seen := range m.seen {
		if m.time-seen > m.window {
			delete(m.seen, p)
			delete(m.sent, p)
		}
	}
}

// TestStateAgreesWithModel drives State and the model with appends, retries,
// gaps, straddling batches, expiry, seals and restarts from snapshots.
func TestStateAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const window = 50
		s := NewState(Rules{ProducerWindow: window * time.Millisecond})
		m := &model{window: window, sent: map[byte][]place{}, seen: map[byte]int64{}}
		var stored []string
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			now := m.time + rapid.Int64Range(-5, 20).Draw(rt, "step")
			cmd := Command{Time: max(now, 0)}
			m.advance(cmd.Time)
			var want [][]place
			switch kind := rapid.IntRange(0, 19).Draw(rt, "kind"); {
			case kind == 0 && rapid.IntRange(0, 3).Draw(rt, "seal") == 0:
				cmd.Kind, m.closed = CommandSeal, true
			case kind == 1:
				cmd.Kind = CommandTick
			case kind == 2:
				cmd.Kind, cmd.Trim = CommandTrim, rapid.Uint64Range(0, 100).Draw(rt, "trim")
			default:
				cmd.Kind = CommandAppend
				for range rapid.IntRange(1, 3).Draw(rt, "batches") {
					p := rapid.Byte().Draw(rt, "producer") % 4
					n := rapid.IntRange(1, 4).Draw(rt, "records")
					var first uint64
					if p != 0 {
						first = max(1, uint64(len(m.sent[p]))+1+uint64(rapid.IntRange(0, 8).Draw(rt, "offset"))-min(6, uint64(len(m.sent[p]))))
					}
					b := makeBatch(t, p, first, n)
					cmd.Batches = append(cmd.Batches, b)
					want = append(want, m.apply(p, first, recordData(t, b)))
				}
			}
			decoded, err := DecodeCommand(cmd.Encode())
			if err != nil {
				rt.Fatal(err)
			}
			o := s.Apply(decoded)
			stored = append(stored, recordData(t, o.Payload...)...)
			for i, r := range o.Results {
				if (r.Err != nil) != (want[i] == nil) {
					rt.Fatalf("batch %d: refusal %v, model %v", i, r.Err, want[i])
				}
				if d := cmp.Diff(want[i], places(r), cmpopts.EquateEmpty()); d != "" {
					rt.Fatalf("batch %d: %s", i, d)
				}
			}
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				s = reload(rt, s)
			}
		}
		if d := cmp.Diff(m.records, stored); d != "" {
			rt.Fatalf("stored records: %s", d)
		}
		if s.Next() != uint64(len(m.records)) || s.Time() != m.time || s.Closed() != m.closed || s.Producers() != len(m.sent) {
			rt.Fatalf("state %d@%d closed=%v producers=%d, model %d@%d closed=%v producers=%d",
				s.Next(), s.Time(), s.Closed(), s.Producers(), len(m.records), m.time, m.closed, len(m.sent))
		}
	})
}

type failer interface{ Fatal(...any) }

// reload takes a state through its snapshot.
func reload(t failer, s *State) *State {
	_, _, back, err := DecodeSnapshot(EncodeSnapshot(Identity{}, Position{Next: s.Next()}, s))
	if err != nil {
		t.Fatal(err)
	}
	return back
}
