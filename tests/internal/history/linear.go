package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Tail is the answer to the question where a shard ends, asked so that the answer has to be current.
type Tail struct {
	// By says who was asked.
	By    string
	Shard uint32
	// Next is the ordinal after the last record.
	Next uint64
	// Closed: the answer said as well that no record will ever follow.
	Closed bool
	// Sent and Done count from the start of the run.
	Sent, Done time.Duration
}

// Sight says when a reader had been given all records below Next; it may have had them earlier.
type Sight struct {
	Next uint64
	At   time.Duration
}

// Judged counts the operations that CheckLinear had a say about.
type Judged struct{ Appends, Tails, Sights int }

// Add adds those of another stream.
func (j *Judged) Add(o Judged) {
	j.Appends += o.Appends
	j.Tails += o.Tails
	j.Sights += o.Sights
}

// String returns "1 appends, 2 tails and 3 sights".
func (j Judged) String() string {
	return fmt.Sprintf("%d appends, %d tails and %d sights", j.Appends, j.Tails, j.Sights)
}

// verb is what an operation did to a log. The order is that in which operations
// come that belong to the same place: the end is seen before it moves, and once
// the shard is closed it does not.
type verb uint8

const (
	sawTail   verb = iota // the log ended before the place, or reached it
	sawClosed             // the log ended before the place for ever
	appended              // this record took the place
)

// operation is one of the operations on a shard's log.
type operation struct {
	place      uint64 // ordinal
	verb       verb
	sent, done time.Duration
	kind       source
	from       int // index in the stream's Writes or Tails, or of the reader
}

// source says which list of the stream an operation was made from.
type source uint8

const (
	fromWrite source = iota
	fromTail
	fromReader
)

// never is when an operation returns that had no answer: it may have had its effect at any time.
const never = time.Duration(math.MaxInt64)

// CheckLinear returns the operations that have no place in a linear order: that of the log, in which every
// operation happens at one instant between its call and its answer (I9).
//
// The log itself says in which order its records were appended, also those without
// an answer, and a tail says between which two of them it was taken. So there is one order to try, and it
// holds exactly if no operation was answered before one was called that the log puts before it. Going through the
// log with the latest call so far decides that, where a search over all orders would take exponential time.
func CheckLinear(s *Stream) (Judged, []Violation) {
	l := &linear{stream: s, report: &report{stream: s.Name, counts: map[string]int{}}, shards: map[uint32][]operation{}, ends: map[uint32]uint64{}}
	l.appends()
	l.tails()
	numbers := make([]uint32, 0, len(l.shards))
	for number := range l.shards {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		l.shard(number, l.shards[number])
	}
	return l.judged, l.report.violations()
}

// linear holds the operations by shard.
type linear struct {
	stream *Stream
	report *report
	judged Judged
	shards map[uint32][]operation
	ends   map[uint32]uint64 // the ordinal after the last record of a shard's longest replica
}

// appends collects the writes that have a place: by their acknowledgement or, without one, because they are in the log.
func (l *linear) appends() {
	open := map[Value]int{}
	for i, w := range l.stream.Writes {
		if w.Outcome != Acked {
			open[w.Value] = i
			continue
		}
		l.judged.Appends++
		l.shards[w.Shard] = append(l.shards[w.Shard], operation{place: w.Seq.Ordinal(), verb: appended, sent: w.Sent, done: w.Done, from: i})
	}
	longest := map[uint32]*Replica{}
	for i := range l.stream.Copies {
		r := &l.stream.Copies[i]
		if have := longest[r.Shard]; have == nil || len(r.Entries) > len(have.Entries) {
			longest[r.Shard] = r
		}
	}
	for number, r := range longest {
		l.ends[number] = r.First
		for _, e := range r.Entries {
			l.ends[number] = max(l.ends[number], e.Seq.Ordinal()+1)
			if i, ok := open[e.Value]; ok {
				l.judged.Appends++
				l.shards[number] = append(l.shards[number], operation{place: e.Seq.Ordinal(), verb: appended, sent: l.stream.Writes[i].Sent, done: never, from: i})
			}
		}
	}
}

// tails collects what was seen of the logs' ends.
func (l *linear) tails() {
	for i, t := range l.stream.Tails {
		l.judged.Tails++
		o := operation{place: t.Next, verb: sawTail, sent: t.Sent, done: t.Done, kind: fromTail, from: i}
		if t.Closed {
			o.verb = sawClosed
		}
		l.saw(t.Shard, o)
	}
	for i, r := range l.stream.Readers {
		for _, seen := range r.Sights {
			l.judged.Sights++
			l.saw(r.Shard, operation{place: seen.Next, verb: sawTail, done: seen.At, kind: fromReader, from: i})
		}
	}
}

// saw enters what was seen of a log's end. Beyond the log there is nothing to see, whenever it was.
func (l *linear) saw(number uint32, o operation) {
	l.shards[number] = append(l.shards[number], o)
	switch end, known := l.ends[number]; {
	case known && o.place > end:
		l.report.add("I9", "shard %d: %s, but the log ends at %d", number, l.name(o), end)
	case known && o.verb == sawClosed && o.place < end:
		l.report.add("I9", "shard %d: %s, but the log went on to %d", number, l.name(o), end)
	}
}

// shard goes through one log. An operation that was called too late for its place is named once, beside the first that was over
// before it: one tail that is old would else be held against everything since.
func (l *linear) shard(number uint32, all []operation) {
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.verb, b.verb), cmp.Compare(a.sent, b.sent))
	})
	var latest operation // that with the latest call among those before the group
	named := false
	for i := 0; i < len(all); {
		end := i + 1
		for end < len(all) && all[end].place == all[i].place && all[end].verb == all[i].verb {
			end++
		}
		for k, o := range all[i:end] { // of the same place: in any order, unless they took it
			if o.verb == appended && k > 0 {
				l.report.add("I9", "shard %d: %s and %s took the same place", number, l.name(all[i]), l.name(o))
			}
			if o.done < latest.sent && !named {
				named = true
				l.report.add("I9", "shard %d: %s was over before %s began, but comes after it in the log", number, l.name(o), l.name(latest))
			}
		}
		for _, o := range all[i:end] {
			if o.sent > latest.sent {
				latest, named = o, false
			}
		}
		i = end
	}
}

// name describes an operation for whoever has to find out what happened.
func (l *linear) name(o operation) string {
	span := fmt.Sprintf("[%v, %v]", o.sent, o.done)
	if o.done == never {
		span = fmt.Sprintf("[%v, no answer]", o.sent)
	}
	switch o.kind {
	case fromTail:
		t := l.stream.Tails[o.from]
		if t.Closed {
			return fmt.Sprintf("the end %d for ever, told by %s %s", t.Next, t.By, span)
		}
		return fmt.Sprintf("the tail %d, told by %s %s", t.Next, t.By, span)
	case fromReader:
		return fmt.Sprintf("the sight of all below %d by %s %s", o.place, l.stream.Readers[o.from].Name, span)
	}
	return fmt.Sprintf("the append of %s at %d %s", l.stream.Writes[o.from].Value, o.place, span)
}
