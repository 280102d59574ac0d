package partition

import (
	"container/list"

	"github.com/levada-stream/levada/wal/record"
)

// rememberedSpans is how many positions of past batches a producer keeps, to
// answer a retry with the original ones. A client must not have more batches
// than this unacknowledged, or it may learn of a success without its position.
const rememberedSpans = 64

// span is the position of consecutive records of one producer.
type span struct {
	count uint32
	first uint64 // ordinal
	time  int64
}

// producer is what a shard knows of one producer session. Sequence numbers
// are accepted without a gap, so the spans cover [oldest, highest] exactly.
type producer struct {
	id      record.ProducerID
	highest uint64 // last accepted sequence number; >= 1
	oldest  uint64 // first sequence number that spans cover; 1 <= oldest <= highest
	seen    int64  // entry time of the last batch, duplicates included
	spans   []span // in order of sequence; 1 <= len <= rememberedSpans
	place   *list.Element
}

// accept notes count records, the first of which follows highest.
func (p *producer) accept(count uint32, first uint64, time int64) {
	p.highest += uint64(count)
	if n := len(p.spans); n > 0 {
		last := &p.spans[n-1]
		if last.time == time && last.first+uint64(last.count) == first && last.count+count > last.count {
			last.count += count
			return
		}
		if n == rememberedSpans {
			p.oldest += uint64(p.spans[0].count)
			copy(p.spans, p.spans[1:])
			p.spans = p.spans[:n-1]
		}
	}
	p.spans = append(p.spans, span{count, first, time})
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
			result.addRange(ResultRange{Count: n, First: s.first + (first - start), Time: s.time, Duplicate: true})
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
	byID         map[record.ProducerID]*producer
	order        *list.List // of *producer, least recently seen first
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
		t.drop(p)
	}
}

// forgive makes every producer seen so much later.
func (t *producerTable) forgive(millis int64) {
	for e := t.order.Front(); e != nil; e = e.Next() {
		e.Value.(*producer).seen += millis
	}
}

func (t *producerTable) drop(p *producer) {
	t.order.Remove(p.place)
	delete(t.byID, p.id)
}

// touch makes p the last seen.
func (t *producerTable) touch(p *producer, now int64) {
	p.seen = now
	t.order.MoveToBack(p.place)
}

// add takes in a producer as the last seen; beyond the limit the one that is
// longest unseen leaves.
func (t *producerTable) add(p *producer) {
	if len(t.byID) >= t.limit {
		t.drop(t.order.Front().Value.(*producer))
	}
	p.place = t.order.PushBack(p)
	t.byID[p.id] = p
}
