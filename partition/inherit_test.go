package partition

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// halves are the two even parts of the key space, and a key that hashes into each.
var (
	halves  = hashkey.SplitEven(2)
	lowKey  = keyIn(halves[0])
	highKey = keyIn(halves[1])
)

func keyIn(r hashkey.Range) string {
	for i := 0; ; i++ {
		if k := fmt.Sprint("key", i); r.Contains(hashkey.FromPartitionKey([]byte(k))) {
			return k
		}
	}
}

// keyed returns a batch of a producer whose records have the keys given.
func keyed(t testing.TB, producer byte, first uint64, keys ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	for i, k := range keys {
		addRecord(t, b, k, fmt.Sprintf("p%d-%d", producer, first+uint64(i)))
	}
	return b.Finish(producerID(producer), first, false)
}

// seal closes a shard and returns what it leaves, as it travels.
func seal(t testing.TB, s *State, shard uint32, keys hashkey.Range, at int64) Inheritance {
	t.Helper()
	s.Apply(Command{Kind: CommandSeal, Time: at})
	h, rest, err := DecodeInheritance(s.inheritance(shard, keys).Append(nil))
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	return h
}

// adopt returns a child with those keys, through the encoding of a command.
func adopt(t testing.TB, keys hashkey.Range, at int64, parents ...Inheritance) *State {
	t.Helper()
	s := NewState(Rules{Child: true})
	c := Command{Kind: CommandAdopt, Time: at}
	for _, h := range parents {
		c.Inheritances = append(c.Inheritances, h.For(keys))
	}
	decoded, err := DecodeCommand(c.Encode())
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(decoded)
	return s
}

// TestSplitKeepsProducers is the one that must fail if a child forgets its parent's producers.
func TestSplitKeepsProducers(t *testing.T) {
	parent := NewState(Rules{})
	sent := keyed(t, 1, 1, lowKey, lowKey, lowKey)
	parent.Apply(appendCommand(100, dataBatch(t, "k", "x"), sent))
	left := seal(t, parent, 7, hashkey.Full, 200)
	for i, keys := range halves {
		child := adopt(t, keys, 150, left) // its leader's clock is behind
		o := child.Apply(appendCommand(160, sent, keyed(t, 1, 4, lowKey)))
		again := []ResultRange{{Count: 3, First: 1, Time: 100, Duplicate: true, Elsewhere: true, Shard: 7}}
		if d := cmp.Diff(again, o.Results[0].Ranges); d != "" {
			t.Errorf("child %d: what the parent stored, sent again: %s", i, d)
		}
		// The child's records come later than all of the parent's.
		fresh := []ResultRange{{Count: 1, First: 0, Time: 201}}
		if d := cmp.Diff(fresh, o.Results[1].Ranges); d != "" {
			t.Errorf("child %d: the next batch: %s", i, d)
		}
		if o.Count != 1 || child.Next() != 1 {
			t.Errorf("child %d stored %d records", i, o.Count)
		}
	}
}

// TestMergeKeepsNumberingsApart is the one that must fail if a merge takes the higher of two parents' sequence numbers.
func TestMergeKeepsNumberingsApart(t *testing.T) {
	low, high := NewState(Rules{}), NewState(Rules{})
	low.Apply(appendCommand(100, keyed(t, 1, 1, lowKey, lowKey)))
	high.Apply(appendCommand(110, keyed(t, 1, 1, highKey, highKey, highKey, highKey, highKey)))
	child := adopt(t, hashkey.Full, 300, seal(t, low, 3, halves[0], 200), seal(t, high, 4, halves[1], 250))
	if child.Time() != 300 || child.Producers() != 2 {
		t.Fatalf("time %d, %d numberings", child.Time(), child.Producers())
	}
	o := child.Apply(appendCommand(310,
		keyed(t, 1, 3, lowKey),           // new, though the other parent has seen 3
		keyed(t, 1, 2, lowKey),           // the last of one parent
		keyed(t, 1, 5, highKey, highKey), // one of the other parent, one new
		keyed(t, 1, 4, lowKey),           // goes on
		keyed(t, 1, 9, highKey),          // a gap in its own numbering
		keyed(t, 1, 5, lowKey, highKey),  // of both: nobody knows which numbering it has
		keyed(t, 2, 1, lowKey, highKey),  // a new producer owns the whole shard
		keyed(t, 2, 3, highKey, lowKey),  // and goes on
	))
	want := [][]place{
		{{Ordinal: 0, Time: 310}},
		{{Ordinal: 1, Time: 100, Duplicate: true}},
		{{Ordinal: 4, Time: 110, Duplicate: true}, {Ordinal: 1, Time: 310}},
		{{Ordinal: 2, Time: 310}},
		nil, nil,
		{{Ordinal: 3, Time: 310}, {Ordinal: 4, Time: 310}},
		{{Ordinal: 5, Time: 310}, {Ordinal: 6, Time: 310}},
	}
	for i, r := range o.Results {
		if d := cmp.Diff(want[i], places(r)); d != "" {
			t.Errorf("batch %d (error %v): %s", i, r.Err, d)
		}
		if (want[i] == nil) != (r.Err != nil && r.Err.Kind == fault.StaleProducer) {
			t.Errorf("batch %d: error %v", i, r.Err)
		}
	}
	if o.Results[1].Ranges[0].Shard != 3 || o.Results[2].Ranges[0].Shard != 4 || o.Results[2].Ranges[1].Elsewhere {
		t.Errorf("where duplicates are: %+v", o.Results[:3])
	}
}

// TestPinnedBatchesAfterAMerge: their keys say nothing, so with two numberings nothing can be told.
func TestPinnedBatchesAfterAMerge(t *testing.T) {
	pinned := func(producer byte, first uint64) record.Batch {
		b := record.NewBuilder(0)
		addRecord(t, b, lowKey, "x")
		return b.Finish(producerID(producer), first, true)
	}
	low, high := NewState(Rules{}), NewState(Rules{})
	low.Apply(appendCommand(100, pinned(1, 1), pinned(2, 1)))
	high.Apply(appendCommand(100, pinned(1, 1), pinned(3, 1)))
	child := adopt(t, hashkey.Full, 300, seal(t, low, 3, halves[0], 200), seal(t, high, 4, halves[1], 200))
	o := child.Apply(appendCommand(310, pinned(1, 1), pinned(1, 2), pinned(2, 1), pinned(3, 1), pinned(3, 2), pinned(4, 1)))
	for i, want := range []string{"stale", "stale", "duplicate of 3", "duplicate of 4", "stored", "stored"} {
		r, got := o.Results[i], "stored"
		switch {
		case r.Err != nil:
			got = "stale"
		case r.Ranges[0].Duplicate:
			got = fmt.Sprint("duplicate of ", r.Ranges[0].Shard)
		}
		if got != want {
			t.Errorf("batch %d: %s, want %s (%v)", i, got, want, r.Err)
		}
	}
}

// TestNothingIsStoredBeforeTheAdoption is the one that must fail if a child opens before its parents are sealed.
func TestNothingIsStoredBeforeTheAdoption(t *testing.T) {
	child := NewState(Rules{Child: true})
	o := child.Apply(appendCommand(100, dataBatch(t, "k", "x"), makeBatch(t, 1, 1, 2)))
	for i, r := range o.Results {
		if r.Err == nil || r.Err.Kind != fault.Throttled || r.Err.RetryAfter <= 0 {
			t.Errorf("batch %d: %+v, want a refusal that says to try again", i, r)
		}
	}
	if child.Next() != 0 || child.Producers() != 0 || !child.Pending() {
		t.Fatalf("a pending shard holds %d records", child.Next())
	}
	parent := NewState(Rules{})
	parent.Apply(appendCommand(100, makeBatch(t, 1, 1, 2)))
	left := seal(t, parent, 1, hashkey.Full, 500)
	adoption := Command{Kind: CommandAdopt, Time: 100, Inheritances: []Inheritance{left.For(hashkey.Full)}}
	child = reload(t, child)
	child.Apply(adoption)
	child.Apply(appendCommand(100, makeBatch(t, 1, 3, 1)))
	before := EncodeSnapshot(Identity{}, Position{Next: child.Next()}, child)
	child.Apply(adoption) // again
	if d := cmp.Diff(before, EncodeSnapshot(Identity{}, Position{Next: child.Next()}, child)); d != "" {
		t.Errorf("a second adoption changed the state: %s", d)
	}
	if child.Pending() || child.Time() != 501 || child.Next() != 1 {
		t.Errorf("pending %v at %d with %d records", child.Pending(), child.Time(), child.Next())
	}
	// In a shard that took over from nobody it does nothing.
	other := NewState(Rules{})
	other.Apply(adoption)
	if other.Time() != 100 || other.Producers() != 0 {
		t.Error("a shard without parents adopted")
	}
}

// TestSealIsAtItsFirst: sealing again answers the same end, though time goes on.
func TestSealIsAtItsFirst(t *testing.T) {
	s := NewState(Rules{})
	s.Apply(appendCommand(10, makeBatch(t, 1, 1, 2)))
	first := seal(t, s, 1, hashkey.Full, 20)
	s.Apply(Command{Kind: CommandTick, Time: 30})
	s = reload(t, s)
	if again := seal(t, s, 1, hashkey.Full, 40); again.Time != 20 || again.End != 2 || first.Time != 20 || s.Time() != 40 {
		t.Fatalf("sealed at %d, again at %d, the state is at %d", first.Time, again.Time, s.Time())
	}
}

// TestTooManyProducersAreInherited: a merge keeps to the limit, and those longest unseen leave.
func TestTooManyProducersAreInherited(t *testing.T) {
	low, high := NewState(Rules{}), NewState(Rules{})
	low.Apply(appendCommand(100, keyed(t, 1, 1, lowKey)))
	high.Apply(appendCommand(90, keyed(t, 2, 1, highKey)))
	high.Apply(appendCommand(110, keyed(t, 3, 1, highKey)))
	s := NewState(Rules{Child: true, ProducersMax: 2})
	s.Apply(Command{Kind: CommandAdopt, Inheritances: []Inheritance{seal(t, low, 0, halves[0], 200).For(hashkey.Full), seal(t, high, 1, halves[1], 200).For(hashkey.Full)}})
	o := s.Apply(appendCommand(300, keyed(t, 1, 1, lowKey), keyed(t, 2, 2, highKey), keyed(t, 3, 1, highKey)))
	if s.Producers() != 2 || o.Results[0].Err != nil || o.Results[1].Err == nil || o.Results[2].Err != nil {
		t.Fatalf("%d producers: %+v", s.Producers(), o.Results)
	}
}

// TestGenerations splits and merges at random, with one producer that numbers its records per shard, sends some again and
// again, and after a reshard goes on where the shard that it wrote to before left off. Each record is stored once, and the times of a key's records ascend.
func TestGenerations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &generations{rt: rt, t: t, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)), stored: map[string]int{}, last: map[string]place{}}
		g.shards = []*generation{{state: NewState(Rules{}), keys: hashkey.Full, next: 1}}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch g.rng.IntN(6) {
			case 0:
				g.split()
			case 1:
				g.merge()
			default:
				g.send()
			}
		}
		if len(g.stored) == 0 && g.sent > 0 {
			rt.Fatal("nothing was stored")
		}
		for data, times := range g.stored {
			if times != 1 {
				rt.Fatalf("%s is stored %d times", data, times)
			}
		}
		if len(g.stored) != g.sent {
			rt.Fatalf("%d records are stored of %d", len(g.stored), g.sent)
		}
	})
}

type generations struct {
	rt     *rapid.T
	t      *testing.T
	rng    *rand.Rand
	shards []*generation // by their keys
	number uint32
	now    int64
	sent   int
	stored map[string]int
	last   map[string]place // of each key's last record: the time, and the ordinal if it is in the same shard
}

// generation is a shard as the producer sees it. After a merge it has two numberings until it uses the shard's own keys.
type generation struct {
	state  *State
	number uint32
	keys   hashkey.Range
	next   uint64 // of the producer, if scopes is empty
	scopes []scopeNext
	past   []record.Batch // sent before, here or to an ancestor, that may be sent again
}

// scopeNext is a numbering: the keys that it is about, and its next number. One that was never used is about all keys that no other is about.
type scopeNext struct {
	keys []hashkey.Range
	next uint64
}

// send appends one batch of new records, and one that is old, in any order.
func (g *generations) send() {
	sh := g.shards[g.rng.IntN(len(g.shards))]
	g.now += int64(g.rng.IntN(5))
	keys, next := []hashkey.Range{sh.keys}, &sh.next
	if n := len(sh.scopes); n > 0 {
		s := &sh.scopes[g.rng.IntN(n)]
		keys, next = s.keys, &s.next
	}
	var of []string
	for i := 0; len(of) < 1+g.rng.IntN(4) && i < 400; i++ {
		if k := fmt.Sprint("k", g.rng.IntN(200)); slices.ContainsFunc(keys, func(r hashkey.Range) bool { return r.Contains(hashkey.FromPartitionKey([]byte(k))) }) {
			of = append(of, k)
		}
	}
	if len(of) == 0 {
		return
	}
	b := record.NewBuilder(0)
	for _, k := range of {
		addRecord(g.t, b, k, fmt.Sprint("r", g.sent))
		g.sent++
	}
	fresh := b.Finish(producerID(1), *next, false)
	*next += uint64(len(of))
	cmd := appendCommand(g.now, fresh)
	if len(sh.past) > 0 && g.rng.IntN(2) == 0 {
		cmd.Batches = append(cmd.Batches, sh.past[g.rng.IntN(len(sh.past))])
	}
	sh.past = append(sh.past, fresh)
	o := sh.state.Apply(cmd)
	for i, r := range o.Results {
		if r.Err != nil || (i > 0) != r.Ranges[0].Duplicate {
			g.rt.Fatalf("batch %d of shard %d %v: error %v, ranges %+v", i, sh.number, cmd.Batches, r.Err, r.Ranges)
		}
	}
	for _, data := range recordData(g.t, o.Payload...) {
		g.stored[data]++
	}
	for i, k := range of {
		at := places(o.Results[0])[i]
		if before, ok := g.last[k]; ok && (at.Time < before.Time || at.Time == before.Time && at.Ordinal <= before.Ordinal) {
			g.rt.Fatalf("key %s: a record at %+v follows one at %+v", k, at, before)
		}
		g.last[k] = at
	}
	if g.rng.IntN(5) == 0 {
		sh.state = reload(g.rt, sh.state)
	}
}

func (g *generations) child(keys hashkey.Range, parents ...*generation) *generation {
	g.number++
	sh := &generation{number: g.number, keys: keys, next: 1}
	var left []Inheritance
	rest := scopeNext{next: 1}
	for _, p := range parents {
		left = append(left, seal(g.t, p.state, p.number, p.keys, g.now))
		scopes := p.scopes
		if len(scopes) == 0 {
			scopes = []scopeNext{{[]hashkey.Range{p.keys}, p.next}}
		}
		for _, s := range scopes {
			var inside []hashkey.Range
			for _, r := range s.keys {
				if cut, ok := intersect(r, keys); ok {
					inside = append(inside, cut)
				}
			}
			switch {
			case len(inside) == 0:
			case s.next == 1:
				rest.keys = append(rest.keys, inside...)
			default:
				sh.scopes = append(sh.scopes, scopeNext{inside, s.next})
			}
		}
		for _, b := range p.past {
			inside := true
			for _, rec := range b.Records() {
				inside = inside && keys.Contains(rec.HashKey())
			}
			if inside {
				sh.past = append(sh.past, b)
			}
		}
	}
	if len(rest.keys) > 0 {
		sh.scopes = append(sh.scopes, rest)
	}
	if len(sh.scopes) == 1 {
		sh.next, sh.scopes = sh.scopes[0].next, nil
	}
	sh.state = adopt(g.t, keys, max(0, g.now-int64(g.rng.IntN(10))), left...)
	return sh
}

func (g *generations) split() {
	i := g.rng.IntN(len(g.shards))
	parent := g.shards[i]
	parts := parent.keys.SplitEven(2 + g.rng.IntN(2))
	var children []*generation
	for _, keys := range parts {
		children = append(children, g.child(keys, parent))
	}
	g.shards = slices.Replace(g.shards, i, i+1, children...)
}

func (g *generations) merge() {
	if len(g.shards) < 2 {
		return
	}
	i := g.rng.IntN(len(g.shards) - 1)
	a, b := g.shards[i], g.shards[i+1]
	g.shards = slices.Replace(g.shards, i, i+2, g.child(hashkey.Range{Start: a.keys.Start, End: b.keys.End}, a, b))
}

func TestInheritanceRules(t *testing.T) {
	parent := NewState(Rules{})
	parent.Apply(appendCommand(100, keyed(t, 1, 1, lowKey), keyed(t, 2, 1, lowKey)))
	left := seal(t, parent, 7, halves[0], 200)
	data := left.Append(nil)
	for i := range data {
		if _, _, err := DecodeInheritance(data[:i]); !errors.Is(err, ErrInheritance) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for name, edit := range map[string]func(b []byte){
		"a time beyond all":         func(b []byte) { b[22] = 0xff },
		"a range that ends first":   func(b []byte) { b[24] = 0xff },
		"an end beyond all":         func(b []byte) { b[15] = 0xff },
		"more producers than bytes": func(b []byte) { b[7] = 0xff },
		"a producer without a name": func(b []byte) { clear(b[inheritanceHeaderSize : inheritanceHeaderSize+16]) },
		"the same producer twice":   func(b []byte) { copy(b[len(b)-76:len(b)-60], b[inheritanceHeaderSize:]) },
		"a record after the end":    func(b []byte) { b[len(b)-76+32+7] = 1 },
	} {
		edited := slices.Clone(data)
		edit(edited)
		if _, _, err := DecodeInheritance(edited); !errors.Is(err, ErrInheritance) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left.For(halves[1]).Producers() != 0 {
		t.Error("producers of other keys are handed on")
	}
}

func FuzzDecodeInheritance(f *testing.F) {
	parent := NewState(Rules{})
	parent.Apply(appendCommand(100, keyed(f, 1, 1, lowKey), keyed(f, 2, 1, lowKey)))
	calling := NewState(Rules{})
	calling.Apply(appendCommand(100, call(f, 1, 4, 7), call(f, 1, 1, 2), call(f, 2, 1, 2)))
	f.Add(seal(f, calling, 8, hashkey.Full, 200).Append(nil))
	left := seal(f, parent, 7, hashkey.Full, 200)
	f.Add(left.Append(nil))
	f.Add(left.For(halves[0]).Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, rest, err := DecodeInheritance(data)
		if err != nil {
			return
		}
		if again := h.Append(nil); string(again) != string(data[:len(data)-len(rest)]) {
			t.Fatalf("decoded %x, encodes as %x", data, again)
		}
		s := NewState(Rules{Child: true})
		s.Apply(Command{Kind: CommandAdopt, Inheritances: []Inheritance{h.For(halves[0])}})
		if _, _, _, err := DecodeSnapshot(EncodeSnapshot(Identity{}, Position{}, s)); err != nil {
			t.Fatalf("an inheritance that is taken makes a snapshot that is not: %v", err)
		}
	})
}

// TestSealedShardLeavesTheSame: what is sent again to a sealed shard, and time that leaps, change nothing of what it leaves.
func TestSealedShardLeavesTheSame(t *testing.T) {
	s := NewState(Rules{ProducerWindow: 10 * time.Second})
	sent := makeBatch(t, 1, 1, 2)
	s.Apply(appendCommand(10_000, sent))
	first := seal(t, s, 1, hashkey.Full, 11_000)
	o := s.Apply(appendCommand(12_000, sent, makeBatch(t, 2, 1, 1)))
	if r := o.Results; r[0].Err != nil || !r[0].Ranges[0].Duplicate || r[1].Err == nil || r[1].Err.Kind != fault.ShardClosed {
		t.Fatalf("a sealed shard answers %+v", r)
	}
	s = reload(t, s)
	for _, at := range []int64{12_000, 40_000, 4_000_000} { // a retry is enough, and a leap, and all windows
		again := seal(t, s, 1, hashkey.Full, at)
		if !bytes.Equal(first.Append(nil), again.Append(nil)) {
			t.Fatalf("sealed again at %d it leaves %+v, before it left %+v", at, again, first)
		}
	}
	child := adopt(t, hashkey.Full, 4_000_001, first)
	if o := child.Apply(appendCommand(4_000_002, sent)); o.Results[0].Err != nil || !o.Results[0].Ranges[0].Duplicate {
		t.Fatalf("the child answers %+v", o.Results[0])
	}
}

// TestInheritedProducersAgeFromTheSeal: neither another leader's clock nor a slow hand-over forgets them.
func TestInheritedProducersAgeFromTheSeal(t *testing.T) {
	low, high := NewState(Rules{}), NewState(Rules{})
	window := int64(15 * time.Minute / time.Millisecond)
	low.Apply(appendCommand(100, keyed(t, 1, 1, lowKey)))
	high.Apply(appendCommand(100+10*window, keyed(t, 2, 1, highKey))) // its clock is far ahead
	left := []Inheritance{seal(t, low, 0, halves[0], 200), seal(t, high, 1, halves[1], 200+10*window)}
	child := adopt(t, hashkey.Full, 300+12*window, left...)
	o := child.Apply(appendCommand(400+12*window, keyed(t, 1, 1, lowKey), keyed(t, 2, 1, highKey)))
	for i, r := range o.Results {
		if r.Err != nil || !r.Ranges[0].Duplicate {
			t.Errorf("what parent %d stored, sent again, is answered %+v", i, r)
		}
	}
	// They do age from there: one half window at a time, as a leap counts no more.
	for i := range int64(3) {
		child.Apply(Command{Kind: CommandTick, Time: 400 + 12*window + (i+1)*window/2})
	}
	if n := child.Producers(); n != 0 {
		t.Errorf("%d producers outlive their window", n)
	}
}

// TestNumberingsOfAProducerLeaveTogether: one that outlived the others would judge their records, and answer new ones as
// duplicates of its own.
func TestNumberingsOfAProducerLeaveTogether(t *testing.T) {
	merged := func(rules Rules) *State {
		low, high := NewState(Rules{}), NewState(Rules{})
		low.Apply(appendCommand(100, keyed(t, 1, 1, lowKey, lowKey)))
		rules.Child = true
		s := NewState(rules)
		s.Apply(Command{Kind: CommandAdopt, Time: 200, Inheritances: []Inheritance{
			seal(t, low, 0, halves[0], 200).For(hashkey.Full), seal(t, high, 1, halves[1], 200).For(hashkey.Full),
		}})
		return s
	}
	t.Run("of age", func(t *testing.T) {
		s := merged(Rules{ProducerWindow: time.Second})
		for i := range uint64(10) { // a numbering without a scope, used all the time
			s.Apply(appendCommand(300+400*int64(i), keyed(t, 1, 1+i, highKey)))
		}
		s = reload(t, s)
		o := s.Apply(appendCommand(4000, keyed(t, 1, 3, lowKey)))
		if r := o.Results[0]; r.Err != nil || r.Ranges[0].Duplicate {
			t.Errorf("the next record of the numbering that was idle is answered %+v", r)
		}
		s.Apply(Command{Kind: CommandTick, Time: 4400})
		s.Apply(Command{Kind: CommandTick, Time: 4800})
		s.Apply(Command{Kind: CommandTick, Time: 5200})
		if n := s.Producers(); n != 0 {
			t.Errorf("%d numberings are left of one whose window has passed", n)
		}
	})
	t.Run("of too many", func(t *testing.T) {
		s := merged(Rules{ProducersMax: 2})
		s.Apply(appendCommand(300, keyed(t, 1, 1, highKey)))
		s.Apply(appendCommand(310, keyed(t, 2, 1, highKey)))
		o := s.Apply(appendCommand(320, keyed(t, 1, 3, lowKey), keyed(t, 1, 2, highKey), keyed(t, 2, 2, highKey)))
		for i, r := range o.Results {
			if stale := r.Err != nil && r.Err.Kind == fault.StaleProducer; stale != (i < 2) {
				t.Errorf("batch %d is answered %+v", i, r)
			}
		}
	})
}

// TestTornBatchOfASealedShard: whether it is stored cannot be told there either, so it must not be sent on as if it were not.
func TestTornBatchOfASealedShard(t *testing.T) {
	low, high := NewState(Rules{}), NewState(Rules{})
	low.Apply(appendCommand(100, keyed(t, 1, 1, lowKey)))
	high.Apply(appendCommand(100, keyed(t, 1, 1, highKey)))
	s := adopt(t, hashkey.Full, 300, seal(t, low, 0, halves[0], 200), seal(t, high, 1, halves[1], 200))
	for range 2 {
		o := s.Apply(appendCommand(310, keyed(t, 1, 1, lowKey, highKey)))
		if err := o.Results[0].Err; err == nil || err.Kind != fault.StaleProducer {
			t.Errorf("closed %v: answered %+v", s.Closed(), o.Results[0])
		}
		seal(t, s, 2, hashkey.Full, 320)
	}
}
