package partition

import (
	"cmp"
	"container/list"
	"encoding/binary"
	"slices"
	"sort"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

// A call that may be repeated numbers its records once and for all, whatever shards they go to: those of one shard are a run of
// numbers, those of a shard's children parts of it. A shard knows which numbers of a call it has, and where. There is nothing
// to continue, so gaps mean nothing, and what several shards know of a call can be put together.
//
// Calls are many and come once, producers are few and stay. So calls have a table of their own, in which none has to make room
// for another: while it is full new ones are refused. Otherwise a flood of them would make the shard forget
// producers, or calls that are about to be repeated.

const (
	// repeatableMax bounds the runs of records of repeatable calls that a shard remembers. It is part of the meaning of an append.
	repeatableMax = 16_384
	// repeatableInheritedMax bounds what a shard takes over from others: all that two of them may have, or a merge would forget calls that are
	// about to be repeated. Until enough of them have left it takes no new ones.
	repeatableInheritedMax = ParentsMax * repeatableMax
	// repeatableRetry is how soon it is worth another try when there are as many.
	repeatableRetry = time.Second

	repeatableSize = 32
	runSize        = 36
)

// run is where consecutive records of a repeatable call are.
type run struct {
	from uint64 // the number of the first, from 1
	span
}

func (r run) end() uint64 { return r.from + uint64(r.count) }

// repeatable is what a shard knows of a call that may be repeated.
type repeatable struct {
	id   record.ProducerID
	seen int64 // entry time of the last batch, duplicates included
	runs []run // ascending, disjoint; at least one

	place *list.Element
}

// piece is a part of a batch: known if at is set, else new.
type piece struct {
	skip, count int
	at          *run
}

// pieces cuts the records [first, first+count) into what is known and what is new.
func (c *repeatable) pieces(first uint64, count int) []piece {
	var all []piece
	next, end := first, first+uint64(count)
	add := func(upTo uint64, at *run) {
		if upTo > next {
			all = append(all, piece{int(next - first), int(upTo - next), at})
			next = upTo
		}
	}
	if c != nil {
		for i := range c.runs {
			if r := &c.runs[i]; r.end() > next && r.from < end {
				add(r.from, nil)
				add(min(r.end(), end), r)
			}
		}
	}
	add(end, nil)
	return all
}

// insert adds runs of which nothing is known yet.
func (c *repeatable) insert(fresh ...run) {
	c.runs = append(c.runs, fresh...)
	slices.SortFunc(c.runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
}

// join adds what another shard knows of the same call.
func (c *repeatable) join(other *repeatable) {
	var fresh []run
	for _, r := range other.runs {
		if i := sort.Search(len(c.runs), func(i int) bool { return c.runs[i].end() > r.from }); i == len(c.runs) || c.runs[i].from >= r.end() {
			fresh = append(fresh, r) // else both have it of a common ancestor
		}
	}
	c.insert(fresh...)
	c.seen = max(c.seen, other.seen)
}

// repeatables holds the calls, in the order in which they were last seen: that is also the order of seen.
type repeatables struct {
	byID  map[record.ProducerID]*repeatable
	order *list.List // of *repeatable, least recently seen first
	runs  int        // of all together
}

func newRepeatables() repeatables {
	return repeatables{byID: map[record.ProducerID]*repeatable{}, order: list.New()}
}

// expire drops those that were not seen within the window.
func (t *repeatables) expire(now, windowMillis int64) {
	for e := t.order.Front(); e != nil && now-e.Value.(*repeatable).seen > windowMillis; e = t.order.Front() {
		t.dropFirst()
	}
}

func (t *repeatables) dropFirst() {
	c := t.order.Remove(t.order.Front()).(*repeatable)
	delete(t.byID, c.id)
	t.runs -= len(c.runs)
}

// forgive makes all seen so much later.
func (t *repeatables) forgive(millis int64) {
	for e := t.order.Front(); e != nil; e = e.Next() {
		e.Value.(*repeatable).seen += millis
	}
}

// touch notes that a call was seen.
func (t *repeatables) touch(c *repeatable, now int64) {
	c.seen = now
	t.order.MoveToBack(c.place)
}

// push adds a call as the last seen. It reports false if there is one of that id.
func (t *repeatables) push(c *repeatable) bool {
	if t.byID[c.id] != nil {
		return false
	}
	c.place = t.order.PushBack(c)
	t.byID[c.id] = c
	t.runs += len(c.runs)
	return true
}

// appendRepeatable stores of a repeatable call's batch what the shard does not have.
func (s *State) appendRepeatable(b record.Batch, o *Outcome, result *AppendResult) {
	first, count := b.FirstSequence(), b.Count()
	if first == 0 || first+uint64(count) < first {
		reject(b, o, result, fault.New(fault.Invalid, "sequence number %d is out of range", first))
		return
	}
	t := &s.repeatables
	c := t.byID[b.Producer()]
	pieces := c.pieces(first, count)
	fresh, stored := cutFresh(b, pieces)
	switch {
	case fresh == nil:
		reject(b, o, result, fault.New(fault.Corrupt, "batch is malformed"))
		return
	case stored > 0 && s.closed:
		reject(b, o, result, closedFault())
		return
	case stored > 0 && t.runs+stored > repeatableMax:
		if c != nil { // who still tries to complete a call must not find it forgotten, and what there is of it stored again
			t.touch(c, s.time)
		}
		reject(b, o, result, repeatablesFault())
		return
	case s.closed: // what it leaves to its children stays as it was at the seal
	case c == nil:
		c = &repeatable{id: b.Producer(), seen: s.time}
		t.push(c)
	default:
		t.touch(c, s.time)
	}
	var runs []run
	for i, p := range pieces {
		if p.at != nil {
			result.addRange(p.at.known(first+uint64(p.skip), uint32(p.count)))
			o.Duplicates += uint64(p.count)
			continue
		}
		runs = append(runs, run{first + uint64(p.skip), span{count: uint32(p.count), first: s.next, time: s.time}})
		s.store(fresh[i], o, result)
		if p.count < count {
			o.whole-- // it is not stored as it came
		}
	}
	if stored > 0 {
		c.insert(runs...) // not before: the pieces point into the runs that were there
	}
	t.runs += stored
}

// cutFresh returns the batches of those pieces that are new, and how many they are.
func cutFresh(b record.Batch, pieces []piece) (fresh []record.Batch, n int) {
	counts := make([]int, len(pieces))
	for i, p := range pieces {
		counts[i] = p.count
		if p.at == nil {
			n++
		}
	}
	return b.Cut(counts, func(i int) bool { return pieces[i].at == nil }), n
}

// known places records of a run, the first of which has that number.
func (r *run) known(number uint64, count uint32) ResultRange {
	out := ResultRange{Count: count, First: r.first + (number - r.from), Time: r.time, Duplicate: true}
	if r.ancestor > 0 {
		out.Elsewhere, out.Shard = true, uint32(r.ancestor-1)
	}
	return out
}

func repeatablesFault() *fault.Error {
	err := fault.New(fault.Throttled, "the shard remembers as many repeatable calls as it can, %d, until the first leave its window; nothing was written", repeatableMax)
	err.Limit, err.RetryAfter = repeatableMax, repeatableRetry
	return err
}

// nodeRepeatablesFault refuses repetitions too: whether a call is one only the state knows.
func nodeRepeatablesFault(limit int64) *fault.Error {
	err := fault.New(fault.Throttled, "the node remembers as many repeatable calls as it can, %d, until the first leave their window; nothing was written", limit)
	err.Limit, err.RetryAfter = uint64(limit), repeatableRetry
	return err
}

// bequeath returns copies of all calls, for shards that take over from this one.
func (t *repeatables) bequeath(shard uint32) []*repeatable {
	var all []*repeatable
	for e := t.order.Front(); e != nil; e = e.Next() {
		c := e.Value.(*repeatable)
		q := &repeatable{id: c.id, seen: c.seen, runs: slices.Clone(c.runs)}
		for i := range q.runs {
			if q.runs[i].ancestor == 0 {
				q.runs[i].ancestor = uint64(shard) + 1
			}
		}
		all = append(all, q)
	}
	return all
}

// adopt takes over the calls that the parents leave. Beyond the limit those longest unseen leave.
func (t *repeatables) adopt(parents []Inheritance, now int64) {
	for _, c := range inheritedCalls(parents, now) {
		t.push(c)
	}
	for t.runs > repeatableInheritedMax {
		t.dropFirst()
	}
}

// inheritedCalls returns copies of all calls that the parents leave, the longest unseen first, each as long unseen as it was at its parent's seal.
func inheritedCalls(parents []Inheritance, now int64) []*repeatable {
	byID := map[record.ProducerID]*repeatable{}
	var all []*repeatable
	for _, h := range parents {
		for _, c := range h.repeatables {
			q := &repeatable{id: c.id, seen: c.seen + now - h.Time, runs: slices.Clone(c.runs)} // the original may be looked at by others
			if have := byID[q.id]; have != nil {
				have.join(q)
				continue
			}
			byID[q.id], all = q, append(all, q)
		}
	}
	slices.SortStableFunc(all, func(a, b *repeatable) int { return cmp.Compare(a.seen, b.seen) })
	return all
}

// fewestCalls leaves of what the parents leave to a shard the calls that would stay there, and returns how many would not.
func fewestCalls(parents []Inheritance) (out []Inheritance, forgotten int) {
	runs := 0
	var latest int64
	for _, h := range parents {
		latest = max(latest, h.Time)
		for _, c := range h.repeatables {
			runs += len(c.runs)
		}
	}
	if runs <= repeatableInheritedMax { // those that both have count twice here, but fewer than all never leave
		return parents, 0
	}
	t := newRepeatables()
	for _, c := range inheritedCalls(parents, latest) {
		t.push(c)
	}
	for ; t.runs > repeatableInheritedMax; forgotten++ {
		t.dropFirst()
	}
	out = slices.Clone(parents)
	for i := range out {
		out[i].repeatables = slices.DeleteFunc(slices.Clone(out[i].repeatables), func(c *repeatable) bool { return t.byID[c.id] == nil })
	}
	return out, forgotten
}

func appendRepeatable(b []byte, c *repeatable) []byte {
	le := binary.LittleEndian
	b = append(b, c.id[:]...)
	b = le.AppendUint64(b, uint64(c.seen))
	b = le.AppendUint32(b, uint32(len(c.runs)))
	b = le.AppendUint32(b, 0)
	for _, r := range c.runs {
		b = le.AppendUint64(b, r.from)
		b = le.AppendUint32(b, r.count)
		b = le.AppendUint64(b, r.first)
		b = le.AppendUint64(b, uint64(r.time))
		b = le.AppendUint64(b, r.ancestor)
	}
	return b
}

// decodeRepeatables decodes and checks so many calls at the start of b, in a shard that ends at next and whose clock shows now, and
// returns what follows them.
func decodeRepeatables(b []byte, n uint32, next uint64, now int64) (t repeatables, rest []byte, err error) {
	le := binary.LittleEndian
	t = newRepeatables()
	var last int64
	for range n {
		if len(b) < repeatableSize {
			return t, nil, snapshotError("a repeatable call is cut")
		}
		c := &repeatable{id: record.ProducerID(b[:16]), seen: int64(le.Uint64(b[16:]))}
		runs := le.Uint32(b[24:])
		switch {
		case !c.id.Repeatable() || !isZero(b[28:repeatableSize]) || c.seen < last || c.seen > now:
			return t, nil, snapshotError("a repeatable call has an impossible id or time")
		case runs == 0 || uint64(runs) > uint64(len(b)-repeatableSize)/runSize:
			return t, nil, snapshotError("a repeatable call has %d positions", runs)
		}
		last = c.seen
		b = b[repeatableSize:]
		low := uint64(1)
		for range runs {
			r := run{le.Uint64(b), span{count: le.Uint32(b[8:]), first: le.Uint64(b[12:]), time: int64(le.Uint64(b[20:])), ancestor: le.Uint64(b[28:])}}
			end := r.first + uint64(r.count)
			if r.from < low || r.count == 0 || r.end() < r.from || end < r.first || r.ancestor > 1<<32 || r.ancestor == 0 && end > next || r.time < 0 || r.time > now {
				return t, nil, snapshotError("a position of a repeatable call is out of range")
			}
			low = r.end()
			c.runs = append(c.runs, r)
			b = b[runSize:]
		}
		if !t.push(c) {
			return t, nil, snapshotError("a repeatable call stands twice")
		}
	}
	return t, b, nil
}
