package partition

import (
	"container/list"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// rememberedSpans is how many positions of past batches a producer keeps, to
// answer a retry with the original ones. A client must not have more batches
// than this unacknowledged, or it may learn of a success without its position.
const rememberedSpans = 64

// span is the position of consecutive records of one producer.
type span struct {
	count    uint32
	first    uint64 // ordinal
	time     int64
	ancestor uint64 // 0 if they are in this shard, else 1 + the number of the one that has them
}

// producer is what a shard knows of one numbering of a producer. Sequence numbers
// are accepted without a gap, so the spans cover [oldest, highest] exactly.
//
// A shard that took over from two has the numberings of both. A producer numbers its records
// per shard, so each speaks of the keys of its own parent alone: taking the higher of two for both would
// answer new records of one as duplicates. For the same reason the numberings of one
// producer are remembered and forgotten together: without the one for its keys, a record would be judged by another.
type producer struct {
	id      record.ProducerID
	highest uint64        // last accepted sequence number; >= 1
	oldest  uint64        // first sequence number that spans cover; 1 <= oldest <= highest
	seen    int64         // entry time of the last batch, duplicates included
	spans   []span        // in order of sequence; 1 <= len <= rememberedSpans
	scoped  bool          // the numbers speak of the keys in scope, not of all that the shard has
	scope   hashkey.Range // if scoped

	place *list.Element
	wider *producer // the same producer's numbering for more keys, nil if there is none
}

// narrower reports whether p speaks of some of the keys that q speaks of, and no others. Two
// numberings of one producer in a shard speak of disjoint keys, or one is narrower.
func (p *producer) narrower(q *producer) bool {
	switch {
	case !p.scoped:
		return false
	case !q.scoped:
		return true
	}
	return p.scope != q.scope && q.scope.Contains(p.scope.Start) && q.scope.Contains(p.scope.End)
}

// covers reports whether all, and whether any, of a batch's records have keys in p's scope.
func (p *producer) covers(b record.Batch) (all, some bool) {
	all = true
	for _, rec := range b.Records() {
		in := p.scope.Contains(rec.HashKey())
		all, some = all && in, some || in
	}
	return all, some
}

// accept notes count records, the first of which follows highest.
func (p *producer) accept(count uint32, first uint64, time int64) {
	p.highest += uint64(count)
	if n := len(p.spans); n > 0 {
		last := &p.spans[n-1]
		if last.ancestor == 0 && last.time == time && last.first+uint64(last.count) == first && last.count+count > last.count {
			last.count += count
			return
		}
		if n == rememberedSpans {
			p.oldest += uint64(p.spans[0].count)
			copy(p.spans, p.spans[1:])
			p.spans = p.spans[:n-1]
		}
	}
	p.spans = append(p.spans, span{count: count, first: first, time: time})
}

// locate adds to result where the records with sequence numbers
// [first, first+count) are stored; all of them are at most highest.
func (p *producer) locate(result *AppendResult, first uint64, count uint32) {
	if first < p.oldest {
		n := uint32(min(p.oldest-first, uint64(count)))
		result.addRange(ResultRange{Count: n, First: UnknownOrdinal, Duplicate: true})
		first, count = first+uint64(n), count-n
	}
	start := p.oldest
	for _, s := range p.spans {
		if count == 0 {
			return
		}
		end := start + uint64(s.count)
		if first < end {
			n := uint32(min(end-first, uint64(count)))
			r := ResultRange{Count: n, First: s.first + (first - start), Time: s.time, Duplicate: true}
			if s.ancestor > 0 {
				r.Elsewhere, r.Shard = true, uint32(s.ancestor-1)
			}
			result.addRange(r)
			first, count = first+uint64(n), count-n
		}
		start = end
	}
}

// producerTable holds the producers of a shard in the order in which they were
// last seen. Because entry time never goes back, that is also the order of
// seen, so the ones to leave are at the front.
type producerTable struct {
	windowMillis int64
	limit        int
	byID         map[record.ProducerID]*producer // the narrowest numbering of each
	order        *list.List                      // of *producer, least recently seen first
}

func newProducerTable(windowMillis int64, limit int) producerTable {
	return producerTable{windowMillis, limit, map[record.ProducerID]*producer{}, list.New()}
}

// expire drops the producers that were not seen within the window.
func (t *producerTable) expire(now int64) {
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		p := e.Value.(*producer)
		if now-p.seen <= t.windowMillis {
			return
		}
		t.drop(p.id)
	}
}

// forgive makes every producer seen so much later.
func (t *producerTable) forgive(millis int64) {
	for e := t.order.Front(); e != nil; e = e.Next() {
		e.Value.(*producer).seen += millis
	}
}

// drop forgets a producer with all its numberings.
func (t *producerTable) drop(id record.ProducerID) {
	for p := t.byID[id]; p != nil; p = p.wider {
		t.order.Remove(p.place)
	}
	delete(t.byID, id)
}

// shrink forgets the producers longest unseen until there are no more than most numberings.
func (t *producerTable) shrink(most int) {
	for t.order.Len() > most {
		t.drop(t.order.Front().Value.(*producer).id)
	}
}

// find returns the numbering that decides about a batch, nil if its producer has none for its keys.
// torn says that it has some, but none that speaks of all records: whether they
// are stored cannot be told.
func (t *producerTable) find(b record.Batch) (p *producer, torn bool) {
	narrowest := t.byID[b.Producer()]
	if narrowest == nil || !narrowest.scoped {
		return narrowest, false
	}
	if b.Pinned() { // its keys say nothing about the shard it was sent to
		widest := narrowest
		for widest.wider != nil {
			widest = widest.wider
		}
		if !widest.scoped || widest == narrowest {
			return widest, false
		}
		return nil, true
	}
	for p := narrowest; p != nil; p = p.wider {
		if !p.scoped {
			return p, false
		}
		all, some := p.covers(b)
		if all {
			return p, false
		}
		torn = torn || some
	}
	return nil, torn
}

// touch makes p's producer the last seen.
func (t *producerTable) touch(p *producer, now int64) {
	for p := t.byID[p.id]; p != nil; p = p.wider {
		p.seen = now
		t.order.MoveToBack(p.place)
	}
}

// add takes in a numbering as the last seen; beyond the limit the producers that are
// longest unseen leave, but not its own.
func (t *producerTable) add(p *producer, now int64) {
	t.touch(p, now)
	for t.order.Len() >= t.limit {
		oldest := t.order.Front().Value.(*producer).id
		if oldest == p.id {
			break
		}
		t.drop(oldest)
	}
	t.push(p)
}

// push is add without a limit. It reports false, and does nothing, if there is a numbering for the same keys.
func (t *producerTable) push(p *producer) bool {
	var before *producer
	after := t.byID[p.id]
	for q := after; q != nil; q = q.wider {
		if q.scoped == p.scoped && q.scope == p.scope {
			return false
		}
	}
	for after != nil && !p.narrower(after) {
		before, after = after, after.wider
	}
	p.wider = after
	if before == nil {
		t.byID[p.id] = p
	} else {
		before.wider = p
	}
	p.place = t.order.PushBack(p)
	return true
}
