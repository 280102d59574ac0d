package partition

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// ParentsMax is how many shards one can take over from.
const ParentsMax = 2

// Inheritance is what a sealed shard leaves to one that takes over from it: where it ended, so that the
// child's records come after its own, and its producers, so that what it stored is not stored again.
type Inheritance struct {
	Shard uint32        // the parent's number
	End   uint64        // the ordinal after its last record
	Time  int64         // of its seal; at least that of any of its records
	Range hashkey.Range // the keys that numberings without a scope speak of

	producers   []*producer   // the longest unseen first
	repeatables []*repeatable // likewise; each knows of all keys
}

// Producers returns the number of numberings that are handed on.
func (h Inheritance) Producers() int { return len(h.producers) }

// ErrInheritance reports bytes that are no inheritance.
var ErrInheritance = errors.New("malformed inheritance")

const (
	inheritanceHeaderSize = 56
	// inheritsRepeatables, in the number of producers, says that repeatable calls follow them.
	inheritsRepeatables = 1 << 31
)

// inheritance returns what a sealed shard with that number and range leaves. It shares nothing with s.
func (s *State) inheritance(shard uint32, keys hashkey.Range) Inheritance {
	h := Inheritance{Shard: shard, End: s.next, Time: s.sealed, Range: keys, repeatables: s.repeatables.bequeath(shard)}
	for e := s.producers.order.Front(); e != nil; e = e.Next() {
		p := *e.Value.(*producer)
		p.place, p.wider, p.spans = nil, nil, slices.Clone(p.spans)
		for i := range p.spans {
			if p.spans[i].ancestor == 0 {
				p.spans[i].ancestor = uint64(shard) + 1
			}
		}
		h.producers = append(h.producers, &p)
	}
	return h
}

// For returns the part of an inheritance that speaks of keys, the range of a child. A numbering whose
// scope reaches beyond it keeps what is inside; of two that are left with the same scope
// the one that was narrower stays, since it is the one that decided about these keys.
func (h Inheritance) For(keys hashkey.Range) Inheritance {
	out := Inheritance{Shard: h.Shard, End: h.End, Time: h.Time, Range: keys, repeatables: h.repeatables}
	narrowest := map[numbering]*producer{}
	for _, p := range h.producers {
		if n, ok := h.within(p, keys); ok && (narrowest[n] == nil || p.narrower(narrowest[n])) {
			narrowest[n] = p
		}
	}
	for _, p := range h.producers {
		n, ok := h.within(p, keys)
		if !ok || narrowest[n] != p {
			continue
		}
		q := *p
		if q.scoped, q.scope = n.scope != keys, n.scope; !q.scoped {
			q.scope = hashkey.Range{}
		}
		out.producers = append(out.producers, &q)
	}
	return out
}

// numbering is what distinguishes what a shard knows of producers.
type numbering struct {
	id    record.ProducerID
	scope hashkey.Range
}

// within returns what is left of p among the keys given, false if nothing is.
func (h Inheritance) within(p *producer, keys hashkey.Range) (numbering, bool) {
	scope := h.Range
	if p.scoped {
		scope = p.scope
	}
	scope, overlaps := intersect(scope, keys)
	return numbering{p.id, scope}, overlaps
}

func intersect(a, b hashkey.Range) (hashkey.Range, bool) {
	if b.Start.Compare(a.Start) > 0 {
		a.Start = b.Start
	}
	if b.End.Compare(a.End) < 0 {
		a.End = b.End
	}
	return a, a.Start.Compare(a.End) <= 0
}

// adopt opens the shard behind its parents. Once it is open another call changes nothing.
func (s *State) adopt(parents []Inheritance) {
	if !s.pending {
		return
	}
	s.pending = false
	for _, h := range parents {
		s.time = max(s.time, min(h.Time+1, seqno.MaxTime))
	}
	for _, p := range together(parents, s.time) {
		s.producers.push(p)
	}
	s.producers.shrink(s.producers.limit)
	s.repeatables.adopt(parents, s.time)
}

// together returns copies of all that the parents leave, the longest unseen first, as a shard whose clock shows now takes
// it over. Each is as long unseen as it was at its parent's seal: what passed since is the hand-over, or another
// leader's clock, and forgetting a producer for it would store again what it sends again. A producer is as
// old as the youngest of its numberings.
func together(parents []Inheritance, now int64) []*producer {
	var all []*producer
	seen := map[record.ProducerID]int64{}
	for _, h := range parents {
		for _, p := range h.producers {
			q := *p // the original may be looked at by others
			q.spans = slices.Clone(p.spans)
			q.seen += now - h.Time
			seen[q.id] = max(seen[q.id], q.seen)
			all = append(all, &q)
		}
	}
	for _, p := range all {
		p.seen = seen[p.id]
	}
	slices.SortStableFunc(all, func(a, b *producer) int { return cmp.Compare(a.seen, b.seen) })
	return all
}

// Fewest leaves of what the parents leave to a shard what would stay there, since all of it may be more than one message holds. It
// returns also how many repeatable calls would not stay: records of theirs that are sent again will be stored again.
func Fewest(parents []Inheritance) (out []Inheritance, forgotten int) {
	return fewestCalls(fewest(parents, Rules{}.withDefaults().ProducersMax))
}

// fewest leaves of what the parents leave to a shard the producers seen last, up to so many numberings: no
// more would stay anyway.
func fewest(parents []Inheritance, most int) []Inheritance {
	var latest int64
	total := 0
	for _, h := range parents {
		latest = max(latest, h.Time)
		total += len(h.producers)
	}
	if total <= most {
		return parents
	}
	t := newProducerTable(1, total)
	for _, p := range together(parents, latest) {
		t.push(p)
	}
	t.shrink(most)
	out := slices.Clone(parents)
	for i := range out {
		out[i].producers = slices.DeleteFunc(slices.Clone(out[i].producers), func(p *producer) bool { return t.byID[p.id] == nil })
	}
	return out
}

// Append appends the encoding of h to b.
func (h Inheritance) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, h.Shard)
	producers := uint32(len(h.producers))
	if len(h.repeatables) > 0 {
		producers |= inheritsRepeatables
	}
	b = le.AppendUint32(b, producers)
	b = le.AppendUint64(b, h.End)
	b = le.AppendUint64(b, uint64(h.Time))
	b = h.Range.Start.AppendBytes(b)
	b = h.Range.End.AppendBytes(b)
	for _, p := range h.producers {
		b = appendProducer(b, p)
	}
	if len(h.repeatables) > 0 {
		b = le.AppendUint32(b, uint32(len(h.repeatables)))
	}
	for _, c := range h.repeatables {
		b = appendRepeatable(b, c)
	}
	return b
}

// DecodeInheritance decodes and checks what Append wrote at the start of b, and returns what
// follows it. Nothing returned aliases b. The error wraps ErrInheritance.
func DecodeInheritance(b []byte) (h Inheritance, rest []byte, err error) {
	if len(b) < inheritanceHeaderSize {
		return h, nil, fmt.Errorf("%w: %d bytes", ErrInheritance, len(b))
	}
	le := binary.LittleEndian
	h = Inheritance{
		Shard: le.Uint32(b), End: le.Uint64(b[8:]), Time: int64(le.Uint64(b[16:])),
		Range: hashkey.Range{Start: hashkey.FromBytes(b[24:]), End: hashkey.FromBytes(b[40:])},
	}
	producers := le.Uint32(b[4:]) &^ inheritsRepeatables
	if h.Time < 0 || h.Time > seqno.MaxTime || h.End > 1<<63 || h.Range.Start.Compare(h.Range.End) > 0 {
		return h, nil, fmt.Errorf("%w: the end or the range is out of bounds", ErrInheritance)
	}
	if uint64(producers) > uint64(len(b)/snapshotProducerSize) {
		return h, nil, fmt.Errorf("%w: %d producers in %d bytes", ErrInheritance, producers, len(b))
	}
	rest = b[inheritanceHeaderSize:]
	table := newProducerTable(1, 1<<31-1)
	for range producers {
		var p *producer
		if p, rest, err = decodeProducer(rest, snapshotVersion, 0, h.Time); err == nil {
			err = table.take(p)
		}
		if err != nil {
			return h, nil, fmt.Errorf("%w: %w", ErrInheritance, err)
		}
		if p.scoped {
			if cut, ok := intersect(p.scope, h.Range); !ok || cut != p.scope {
				return h, nil, fmt.Errorf("%w: a producer's scope is outside of the range", ErrInheritance)
			}
		}
		h.producers = append(h.producers, p)
	}
	if le.Uint32(b[4:])&inheritsRepeatables == 0 {
		return h, rest, nil
	}
	if h.repeatables, rest, err = decodeInheritedCalls(rest, h.Time); err != nil {
		return h, nil, fmt.Errorf("%w: %w", ErrInheritance, err)
	}
	return h, rest, nil
}

func decodeInheritedCalls(b []byte, now int64) (all []*repeatable, rest []byte, err error) {
	if len(b) < 4 || isZero(b[:4]) {
		return nil, nil, snapshotError("repeatable calls are announced, but there are none")
	}
	t, rest, err := decodeRepeatables(b[4:], binary.LittleEndian.Uint32(b), 0, now)
	for e := t.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*repeatable))
	}
	return all, rest, err
}
