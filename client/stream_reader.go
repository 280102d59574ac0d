package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

// readStreamBytes is what ReadStream aims to hold in messages, all shards together.
const readStreamBytes = 64 << 20

// StreamReader reads all shards of a stream: each shard's records in order,
// the shards interleaved as they come. A shard that others took over from is
// read to its end before they are begun. It belongs to one goroutine, except Close.
type StreamReader struct {
	c      *Client
	stream string
	opts   ReadOptions
	items  chan streamItem
	cancel context.CancelCauseFunc
	ended  chan struct{}
	shards sync.WaitGroup
	end    error // why it ended; set before items is closed

	// Owned by the goroutine that calls Next.
	now []Record
	lag map[uint32]Lag
	err error
}

type streamItem struct {
	shard   uint32
	records []Record
	lag     Lag
	gap     *Gap
}

// shardEnd tells the conductor that a shard is done.
type shardEnd struct {
	shard    uint32
	children []uint32
	err      error
}

// ReadStream starts to read a stream. It ends with ctx, Close, the first
// failure of a shard, or, without Follow, when all shards have been read to their tails.
func (c *Client) ReadStream(ctx context.Context, stream string, o ReadOptions) *StreamReader {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &StreamReader{
		c: c, stream: stream, opts: o, items: make(chan streamItem, readAhead), cancel: cancel, ended: make(chan struct{}), lag: map[uint32]Lag{},
	}
	go func() {
		defer close(r.ended)
		r.end = r.conduct(ctx)
		cancel(r.end) // the other shards end with the first failure
		r.shards.Wait()
		close(r.items)
	}()
	return r
}

// Next returns the next record of any shard. Errors are those of ShardReader.Next.
func (r *StreamReader) Next(ctx context.Context) (Record, error) {
	for len(r.now) == 0 {
		if err := r.advance(ctx); err != nil {
			return Record{}, err
		}
	}
	rec := r.now[0]
	r.now = r.now[1:]
	return rec, nil
}

// NextBatch returns the records at hand, at least one, all of one shard. The slice is the caller's.
func (r *StreamReader) NextBatch(ctx context.Context) ([]Record, error) {
	for len(r.now) == 0 {
		if err := r.advance(ctx); err != nil {
			return nil, err
		}
	}
	all := r.now
	r.now = nil
	return all, nil
}

// Lag returns how far the reader is behind: the sum of the shards' records and
// the greatest of their ages.
func (r *StreamReader) Lag() Lag {
	var sum Lag
	for _, l := range r.lag {
		sum.RecordsBehind += l.RecordsBehind
		sum.MillisBehind = max(sum.MillisBehind, l.MillisBehind)
	}
	return sum
}

// Close ends the reader and returns when nothing of it runs any more. It is idempotent.
func (r *StreamReader) Close() {
	r.cancel(closedError("reader"))
	for range r.items { // make room for those who wait to hand something over
	}
	<-r.ended
}

func (r *StreamReader) advance(ctx context.Context) error {
	if r.err != nil {
		return r.err
	}
	select {
	case it, ok := <-r.items:
		if !ok {
			r.err = r.end
			return r.err
		}
		r.now, r.lag[it.shard] = it.records, it.lag
		if it.gap != nil {
			return it.gap
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// conduct starts the shards whose parents are done and returns how it all ended.
func (r *StreamReader) conduct(ctx context.Context) error {
	m, err := r.c.maps.newer(ctx, r.stream, time.Now().Add(-time.Second))
	if err != nil {
		return err
	}
	ends := make(chan shardEnd)
	started, done := map[uint32]bool{}, map[uint32]bool{}
	begin := func(m *partitionMap, first bool) {
		for _, n := range m.numbers() {
			sh := m.byNumber[n]
			waits := func(p uint32) bool {
				return m.byNumber[p] != nil && !done[p] && (!first || started[p] || r.opts.From.kind != latest)
			}
			if started[n] || (first && r.opts.From.kind == latest && sh.closed) || slices.ContainsFunc(sh.parents, waits) {
				continue
			}
			started[n] = true
			o := r.opts
			if at, ok := o.PerShard[n]; ok {
				o.From = at
			} else if !first {
				o.From = TrimHorizon() // a child is read from its beginning
			}
			if o.MaxBytes <= 0 {
				o.MaxBytes = max(64<<10, min(readBytes, readStreamBytes/(4*len(m.byNumber))))
			}
			r.shards.Add(1)
			go func() {
				defer r.shards.Done()
				end := r.readShard(ctx, n, o)
				select {
				case ends <- end:
				case <-ctx.Done():
				}
			}()
		}
	}
	begin(m, true)
	for len(done) < len(started) {
		select {
		case end := <-ends:
			if !errors.Is(end.err, io.EOF) {
				return end.err
			}
			done[end.shard] = true
			if len(end.children) > 0 {
				if m, err = r.c.maps.newer(ctx, r.stream, time.Now()); err != nil {
					return err
				}
			}
			begin(m, false)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return io.EOF
}

// readShard hands a shard's records over until it ends.
func (r *StreamReader) readShard(ctx context.Context, shard uint32, o ReadOptions) shardEnd {
	sr := r.c.ReadShard(ctx, r.stream, shard, o)
	defer sr.Close()
	for {
		records, err := sr.NextBatch(ctx)
		gap := (*Gap)(nil)
		if err != nil && !errors.As(err, &gap) {
			return shardEnd{shard: shard, children: sr.Children(), err: err}
		}
		it := streamItem{shard: shard, records: records, lag: sr.Lag(), gap: gap}
		select {
		case r.items <- it:
		case <-ctx.Done():
			return shardEnd{shard: shard, err: ctx.Err()}
		}
	}
}
