package client

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// batch is a run of records of one shard that shares one fate: it is sent,
// acknowledged or failed as a whole.
type batch struct {
	shard uint32 // immutable

	// Written by Put under the lane's lock; then, once taken, owned by the lane's goroutine.
	builder   *record.Builder // nil once encoded
	count     int
	turn      uint64    // see flights; 0 for one that is not waited for, as its records have batches that are
	cost      int64     // bytes held of the producer's budget
	born      time.Time // when the first record came
	callbacks []func(Result)
	origins   []origin // of records whose shard was closed before they were stored, one for each; else none

	// Owned by the lane's goroutine: see window.
	encoded   record.Batch
	id        uint64
	tried     time.Time // when it first came into the window
	uncertain bool      // an attempt of this session has an unknown outcome
	firstSent time.Time // in this session; zero if it was not

	// Written before done is closed, immutable afterwards.
	ranges []*levadav1.AppendedRange
	err    *Error
	moved  []Result // of a batch whose records went to other shards; missing counts those to come
	done   chan struct{}

	missing atomic.Int64
}

// origin is a record of a batch that its shard did not store because it was closed.
type origin struct {
	b     *batch
	index int
}

// encode finishes the batch with a producer and its first sequence number. It
// is called once, and once more for each new session that the batch survives to.
func (b *batch) encode(p record.ProducerID, first uint64, pinned bool) error {
	builder := b.builder
	if builder == nil {
		builder = record.NewBuilder(b.encoded.Len())
		for _, r := range b.encoded.Records() {
			if err := builder.Add(r); err != nil {
				return fmt.Errorf("re-encode: %w", err)
			}
		}
	}
	b.encoded, b.builder = builder.Finish(p, first, pinned), nil
	return nil
}

// records returns the batch's records, in order. The batch is not settled.
func (b *batch) records() record.Batch {
	if b.builder != nil {
		b.encoded, b.builder = b.builder.Finish(record.ProducerID{}, 0, false), nil
	}
	return b.encoded
}

// settle gives every record its result. The budget is released before the
// callbacks run, so that one of them may wait for a Put elsewhere.
func (b *batch) settle(ranges []*levadav1.AppendedRange, err *Error, p *Producer) {
	b.ranges, b.err = ranges, err
	b.encoded, b.builder = nil, nil
	for i, o := range b.origins {
		o.b.resolve(o.index, b.result(i), p)
	}
	b.origins = nil
	p.settled(b)
	for i := range b.callbacks {
		b.call(i, b.result(i))
	}
	b.callbacks = nil
}

// call tells record i's result to whoever put it.
func (b *batch) call(i int, r Result) {
	if i < len(b.callbacks) && b.callbacks[i] != nil {
		b.callbacks[i](r)
	}
}

// move says that the results of the batch's records come from elsewhere, one by one, by resolve.
func (b *batch) move() {
	b.moved = make([]Result, b.count)
	b.missing.Store(int64(b.count))
}

// resolve gives one record of a batch that was moved its result. It is told at once, not with those of the batch: these
// may come from other shards, and later than that of the key's next record.
func (b *batch) resolve(i int, r Result, p *Producer) {
	b.moved[i] = r
	if i < len(b.origins) {
		o := b.origins[i]
		o.b.resolve(o.index, r, p)
	}
	if b.missing.Add(-1) == 0 {
		p.settled(b)
	}
	b.call(i, r)
}

// result returns the result of record i. The batch is settled.
func (b *batch) result(i int) Result {
	if b.moved != nil {
		return b.moved[i]
	}
	if b.err != nil {
		return Result{Shard: b.shard, Err: b.err}
	}
	n := uint64(i)
	for _, r := range b.ranges {
		if n < uint64(r.GetCount()) {
			shard := b.shard
			if r.Ancestor != nil {
				shard = r.GetAncestor()
			}
			return Result{Shard: shard, Duplicate: r.GetDuplicate(), Sequence: sequenceAt(r, n, shard)}
		}
		n -= uint64(r.GetCount())
	}
	// covers held before the batch was settled without an error.
	return Result{Shard: b.shard, Err: newError(Internal, "acknowledgement does not cover record %d", i)}
}

// covers reports whether ranges are an acknowledgement of exactly count records.
func covers(ranges []*levadav1.AppendedRange, count int) bool {
	n := uint64(0)
	for _, r := range ranges {
		n += uint64(r.GetCount())
	}
	return n == uint64(count)
}

// Pending is a record whose result is to come. Its methods are safe for
// concurrent use.
type Pending struct {
	b     *batch
	index int
}

// Done returns a channel that is closed when the result is there.
func (p *Pending) Done() <-chan struct{} { return p.b.done }

// Result waits for the result, which comes within the producer's RetryFor, by and large.
func (p *Pending) Result() Result {
	<-p.b.done
	return p.b.result(p.index)
}

// Wait waits for the result, or for ctx to end: the record then goes its way
// all the same. The error is the Result's, or ctx's, marked MaybeWritten.
func (p *Pending) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.b.done:
	case <-ctx.Done():
		select {
		case <-p.b.done:
		default:
			err := &Error{Kind: Unavailable, Message: "gave up waiting for the acknowledgement: " + ctx.Err().Error(), MaybeWritten: true, cause: ctx.Err()}
			return Result{Shard: p.b.shard, Err: err}, err
		}
	}
	r := p.b.result(p.index)
	return r, r.Err
}

// sequenceAt names the n-th record of a range; it is zero for a duplicate whose
// position the server no longer remembers.
func sequenceAt(r *levadav1.AppendedRange, n uint64, shard uint32) seqno.Number {
	if r.GetFirstOrdinal() == math.MaxUint64 {
		return seqno.Number{}
	}
	return seqno.New(r.GetTimeMs(), r.GetFirstOrdinal()+n, shard)
}
