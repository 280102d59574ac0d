package client

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

const (
	readBytes = 1 << 20
	// readAhead is the number of messages decoded ahead of the caller.
	readAhead = 2
	// readStall is how long a call may be silent before another node is tried.
	readStall = 15 * time.Second
	// readRetry is how long a read goes on without any answer.
	readRetry = 2 * time.Minute
)

// ReadOptions are the settings of a reader.
type ReadOptions struct {
	// From is where to begin; the zero value is TrimHorizon.
	From Position
	// PerShard overrides From for the shards named, in ReadStream.
	PerShard map[uint32]Position
	// Follow waits for more at the tail; without it the read ends there.
	Follow bool
	// MaxBytes bounds one message, of which a reader holds up to four at a time.
	// 0 = 1 MiB. One block of the shard's log always passes.
	MaxBytes int
	// Node reads from the node of this address only, "" from any.
	Node string
	// LocalOnly makes the node answer from its own replica or not at all. It needs Node.
	LocalOnly bool
	// SkipChecksums trusts the bytes received.
	SkipChecksums bool
	// RetryFor is how long to try without any answer before Next gives up.
	// 0 = 2 min; negative = for ever.
	RetryFor time.Duration
}

// ShardReader reads the records of one shard in order. It belongs to one
// goroutine, except Close.
type ShardReader struct {
	c      *Client
	stream string
	shard  uint32
	opts   ReadOptions
	log    hclog.Logger
	items  chan readItem // of run; closed when it ends
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when run has returned
	end    readEnd       // set before items is closed

	// Owned by the goroutine that calls Next.
	now  []Record // of the item at hand, not yet returned
	lag  Lag
	tail uint64
	over bool // end has been reached
}

// readItem is one message decoded.
type readItem struct {
	records  []Record
	gap      *Gap
	next     uint64 // ordinal after the records
	tail     uint64
	behindMs int64
}

// readEnd is why a reader ended.
type readEnd struct {
	err      error
	children []uint32 // of a shard that ended
}

// ReadShard starts to read a shard. The reader resumes after any failure from
// the exact place, at whichever node answers. It ends with ctx, Close, or an error other than *Gap.
func (c *Client) ReadShard(ctx context.Context, stream string, shard uint32, o ReadOptions) *ShardReader {
	if o.MaxBytes <= 0 {
		o.MaxBytes = readBytes
	}
	setDefault(&o.RetryFor, readRetry)
	ctx, cancel := context.WithCancelCause(ctx)
	r := &ShardReader{
		c: c, stream: stream, shard: shard, opts: o, log: c.log.With("stream", stream, "shard", shard),
		items: make(chan readItem, readAhead), cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(r.ended)
		defer close(r.items)
		r.end = r.run(ctx)
	}()
	return r
}

// Next returns the next record. It waits for one until ctx ends, which does
// not end the reader. The error is a *Gap when records were lost to the reader
// (call again to go on), io.EOF at the end, or what ended the reader.
func (r *ShardReader) Next(ctx context.Context) (Record, error) {
	for len(r.now) == 0 {
		if err := r.advance(ctx); err != nil {
			return Record{}, err
		}
	}
	rec := r.now[0]
	r.now = r.now[1:]
	r.passed(rec.Ordinal + 1)
	return rec, nil
}

// NextBatch is Next for all records at hand, at least one. The slice is the caller's.
func (r *ShardReader) NextBatch(ctx context.Context) ([]Record, error) {
	for len(r.now) == 0 {
		if err := r.advance(ctx); err != nil {
			return nil, err
		}
	}
	all := r.now
	r.now = nil
	r.passed(all[len(all)-1].Ordinal + 1)
	return all, nil
}

// Lag returns how far the reader is behind.
func (r *ShardReader) Lag() Lag { return r.lag }

// Children returns the shards that took over, after io.EOF from a closed shard.
func (r *ShardReader) Children() []uint32 {
	if !r.over {
		return nil
	}
	return r.end.children
}

// Close ends the reader and returns when nothing of it runs any more. It is idempotent.
func (r *ShardReader) Close() {
	r.cancel(closedError("reader"))
	for range r.items { // make room: run may be waiting for it
	}
	<-r.ended
}

func (r *ShardReader) passed(next uint64) {
	r.lag.RecordsBehind = 0
	if r.tail > next {
		r.lag.RecordsBehind = r.tail - next
	}
}

// advance takes the next item in.
func (r *ShardReader) advance(ctx context.Context) error {
	if r.over {
		return r.end.err
	}
	var it readItem
	var ok bool
	select {
	case it, ok = <-r.items:
	default:
		select {
		case it, ok = <-r.items:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !ok {
		r.over = true
		return r.end.err
	}
	r.now, r.tail, r.lag.MillisBehind = it.records, it.tail, it.behindMs
	if len(it.records) == 0 {
		r.passed(it.next)
	}
	if it.gap != nil {
		return it.gap
	}
	return nil
}

// run reads until the end, hands everything over, and returns why it ended.
func (r *ShardReader) run(ctx context.Context) readEnd {
	cur := newCursor(r.shard, r.opts.From, !r.opts.SkipChecksums)
	wait := pauses{first: 10 * time.Millisecond, max: time.Second}
	var route router
	var failedAt time.Time
	var silentSince time.Time // since when no answer has come, zero while they do
	for {
		got, end, err := r.call(ctx, cur, &route, failedAt)
		if got {
			wait.reset()
			route.worked()
			silentSince = time.Time{}
		}
		if end != nil {
			return *end
		}
		cur.broken()
		now := time.Now()
		failedAt = now
		if silentSince.IsZero() {
			silentSince = now
		}
		route.failed()
		switch silent := now.Sub(silentSince); {
		case ctx.Err() != nil:
			return readEnd{err: context.Cause(ctx)}
		case refusal(err.Kind) && (err.Kind != NotFound || !cur.began || silent > missingFor),
			r.opts.RetryFor > 0 && silent > r.opts.RetryFor, errors.Is(err, ErrClosed):
			return readEnd{err: err}
		}
		r.log.Debug("read call ended", "next", cur.next, "error", err.Message, "failures", route.failures)
		sleep(ctx, max(wait.next(), err.RetryAfter))
	}
}

// hand gives an item to the caller and reports false when the reader was ended meanwhile.
func (r *ShardReader) hand(ctx context.Context, it readItem) bool {
	select {
	case r.items <- it:
		return true
	case <-ctx.Done():
		return false
	}
}

// call makes one read call and hands over what it brings. got says that the
// node is of use; end is the reader's end, if this is it, else err says why the call ended.
func (r *ShardReader) call(ctx context.Context, cur *cursor, route *router, failedAt time.Time) (got bool, end *readEnd, _ *Error) {
	address, err := r.address(ctx, route, failedAt)
	if err != nil {
		return false, nil, err
	}
	api, apiErr := r.c.streams(address)
	if apiErr != nil {
		return false, nil, asError(apiErr)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := time.AfterFunc(readStall, func() { cancel(errStalled) })
	defer guard.Stop()
	stream, apiErr := api.Read(ctx, &levadav1.ReadRequest{
		Stream: r.stream, Shard: r.shard, From: cur.position().proto(), Follow: r.opts.Follow,
		MaxBytes: uint32(min(r.opts.MaxBytes, messageBytesMax/2)), LocalOnly: r.opts.LocalOnly,
	})
	if apiErr != nil {
		return false, nil, asError(apiErr)
	}
	for {
		guard.Reset(readStall)
		m, recvErr := stream.Recv()
		guard.Stop() // the caller's time to take an item is not the node's
		switch {
		case errors.Is(recvErr, io.EOF) && !r.opts.Follow && cur.complete():
			return got, &readEnd{err: io.EOF}, nil
		case errors.Is(recvErr, io.EOF):
			return got, nil, newError(Unavailable, "node %s ended the read early", address)
		case recvErr != nil && errors.Is(context.Cause(ctx), errStalled):
			return got, nil, newError(Unavailable, "node %s: %w", address, errStalled)
		case recvErr != nil:
			return got, nil, asError(recvErr)
		}
		records, gap, takeErr := cur.take(m)
		if takeErr != nil {
			return got, nil, asError(takeErr)
		}
		// A replica that is behind answers too, and is of no use: go on to another.
		got = got || len(records) > 0 || cur.complete()
		it := readItem{records: records, gap: gap, next: cur.next, tail: m.GetTailOrdinal(), behindMs: m.GetMillisBehind()}
		if !r.hand(ctx, it) {
			return got, nil, asError(ctx.Err())
		}
		if m.GetEndOfShard() && cur.complete() {
			return got, &readEnd{err: io.EOF, children: m.GetChildren()}, nil
		}
	}
}

// address picks the node to read from.
func (r *ShardReader) address(ctx context.Context, route *router, failedAt time.Time) (string, *Error) {
	if r.opts.Node != "" {
		return r.opts.Node, nil
	}
	if r.opts.LocalOnly {
		return "", &Error{Kind: Invalid, Field: "node", Message: "a local read needs the address of the node to read from"}
	}
	return r.c.replica(ctx, r.stream, r.shard, route, failedAt)
}
