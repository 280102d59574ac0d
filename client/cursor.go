package client

import (
	"fmt"
	"math"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// Gap reports records that a reader asked for and that are no longer kept:
// retention or a trim overtook it. It is returned as an error, once; the reader
// goes on after it with the next call.
type Gap struct {
	Shard uint32
	// From and To bound the missing ordinals: From <= ordinal < To.
	From, To uint64
}

// Error says how much is missing.
func (g *Gap) Error() string {
	return fmt.Sprintf("%d records of shard %d, ordinals %d to %d, were trimmed before they were read", g.To-g.From, g.Shard, g.From, g.To-1)
}

// Lag is how far a reader is behind, as of the last message that it took from.
type Lag struct {
	// RecordsBehind counts the committed records after the last one returned.
	RecordsBehind uint64
	// MillisBehind is the age of the oldest record not yet sent to the reader, 0 at the tail.
	MillisBehind int64
}

// cursor is a reader's place in a shard. It turns messages into records and
// refuses those that do not continue where the last one ended. It decides only.
type cursor struct {
	shard  uint32
	verify bool // check batches' checksums
	from   Position

	began bool   // a message was taken
	known bool   // next is the exact place; before, only from is
	next  uint64 // ordinal of the next record to deliver
	floor uint64 // a tail seen on an earlier call: a read must not end below it
	tail  uint64 // of the last message of the present call
}

func newCursor(shard uint32, from Position, verify bool) *cursor {
	c := &cursor{shard: shard, verify: verify, from: from}
	c.next, c.known = from.ordinalIn(shard)
	return c
}

// position returns where to resume.
func (c *cursor) position() Position {
	if c.known && c.began {
		return AtOrdinal(c.next)
	}
	return c.from
}

// broken notes that a call ended early.
func (c *cursor) broken() { c.floor, c.tail = max(c.floor, c.tail), 0 }

// complete reports whether a call that ended in good order has delivered
// everything that an earlier one promised: a replica that lags ends sooner.
func (c *cursor) complete() bool { return c.next >= c.floor }

// take decodes a message. The records follow the gap, if there is one. After an
// error the message counts as not received: next is unchanged.
func (c *cursor) take(r *levadav1.ReadResponse) (records []Record, gap *Gap, err error) {
	next, known := c.next, c.known
	n := 0
	for _, b := range r.GetBlocks() {
		// No record takes less than 8 bytes: the count, not checked yet, cannot ask for much memory.
		n += int(min(uint64(b.GetCount()), uint64(len(b.GetPayload())/8)))
	}
	if n > 0 {
		records = make([]Record, 0, n)
	}
	for _, b := range r.GetBlocks() {
		start := b.GetFirstOrdinal() + uint64(b.GetSkip())
		switch {
		case b.GetFirstOrdinal() > math.MaxInt64:
			return nil, nil, newError(Corrupt, "shard %d: ordinal %d cannot be", c.shard, b.GetFirstOrdinal())
		case !known:
			next, known = start, true
		case start > next && r.GetFirstOrdinal() >= start && len(records) == 0:
			gap = &Gap{Shard: c.shard, From: next, To: start}
			next = start
		case start > next:
			return nil, nil, newError(Corrupt, "shard %d: expected record %d, got %d", c.shard, next, start)
		}
		if records, err = c.decode(b, next, records); err != nil {
			return nil, nil, err
		}
		next = max(next, b.GetFirstOrdinal()+uint64(b.GetCount()))
	}
	if len(r.GetBlocks()) == 0 {
		switch first := r.GetFirstOrdinal(); {
		case !known:
			next, known = r.GetNextOrdinal(), true
		case first > next && r.GetNextOrdinal() >= first:
			gap = &Gap{Shard: c.shard, From: next, To: first}
			next = first
		}
	}
	c.began = true
	c.next, c.known, c.tail = next, known, max(c.tail, r.GetTailOrdinal())
	return records, gap, nil
}

// decode appends the records of a block from ordinal next on.
func (c *cursor) decode(b *levadav1.Block, next uint64, out []Record) ([]Record, error) {
	ordinal, end := b.GetFirstOrdinal(), b.GetFirstOrdinal()+uint64(b.GetCount())
	at := time.UnixMilli(b.GetTimeMs())
	parse := record.ParseTrusted
	if c.verify {
		parse = record.Parse
	}
	for rest := b.GetPayload(); len(rest) > 0; {
		batch, after, err := parse(rest)
		if err != nil {
			return nil, newError(Corrupt, "shard %d, block at %d: %w", c.shard, b.GetFirstOrdinal(), err)
		}
		rest = after
		if ordinal+uint64(batch.Count()) <= next {
			ordinal += uint64(batch.Count())
			continue
		}
		for _, r := range batch.Records() {
			if ordinal >= next {
				out = append(out, c.record(r, ordinal, b.GetTimeMs(), at))
			}
			ordinal++
		}
	}
	if ordinal != end {
		return nil, newError(Corrupt, "shard %d, block at %d: says %d records, holds %d", c.shard, b.GetFirstOrdinal(), b.GetCount(), ordinal-b.GetFirstOrdinal())
	}
	return out, nil
}

func (c *cursor) record(r record.Record, ordinal uint64, ms int64, at time.Time) Record {
	out := Record{
		// The message is never written again, so the key may share its memory.
		PartitionKey: bytesString(r.Key), Data: r.Data, Shard: c.shard, Ordinal: ordinal,
		Sequence: seqno.New(ms, ordinal, c.shard), ApproxArrival: at,
	}
	if r.HasExplicitHash {
		k := r.ExplicitHash
		out.ExplicitHashKey = &k
	}
	return out
}
