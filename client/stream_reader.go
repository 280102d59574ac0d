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
	missing  *Gap // what was not read of a shard that is gone, as far as is known
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

// conducting is which shards a StreamReader has begun and ended.
type conducting struct {
	r       *StreamReader
	ends    chan shardEnd
	begun   map[uint32]bool
	over    map[uint32]bool // read to the end of the shard, or not to be read: its children may begin
	running int
}

// conduct starts the shards whose parents are over and returns how it all ended.
func (r *StreamReader) conduct(ctx context.Context) error {
	m, err := r.c.maps.newer(ctx, r.stream, time.Now().Add(-time.Second))
	if err != nil {
		return err
	}
	c := &conducting{r: r, ends: make(chan shardEnd), begun: map[uint32]bool{}, over: map[uint32]bool{}}
	if r.opts.From.kind == latest {
		for n, sh := range m.byNumber { // what is closed is older than that
			if _, named := r.opts.PerShard[n]; sh.closed && !named {
				c.begun[n], c.over[n] = true, true
			}
		}
	}
	c.begin(ctx, m, true)
	for c.running > 0 {
		select {
		case end := <-c.ends:
			c.running--
			if m, err = c.ended(ctx, m, end); err != nil {
				return err
			}
			c.begin(ctx, m, false)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return io.EOF
}

// begin starts to read the shards whose parents are over. first says that these are those of the reader's start.
func (c *conducting) begin(ctx context.Context, m *partitionMap, first bool) {
	for _, n := range m.numbers() {
		sh := m.byNumber[n]
		waits := slices.ContainsFunc(sh.parents, func(p uint32) bool { return m.byNumber[p] != nil && !c.over[p] })
		orphan := !slices.ContainsFunc(sh.parents, func(p uint32) bool { return m.byNumber[p] != nil })
		if c.begun[n] || waits || sh.pending && orphan {
			continue
		}
		c.begun[n] = true
		c.running++
		o := c.r.options(m, n, first)
		c.r.shards.Add(1)
		go func() {
			defer c.r.shards.Done()
			end := c.r.readShard(ctx, n, o)
			select {
			case c.ends <- end:
			case <-ctx.Done():
			}
		}()
	}
}

// options returns how to read a shard. One that comes after others is read from its beginning, unless a time says
// more: all its records are later than theirs.
func (r *StreamReader) options(m *partitionMap, shard uint32, first bool) ReadOptions {
	o := r.opts
	if at, ok := o.PerShard[shard]; ok {
		o.From = at
	} else if !first && o.From.kind != atTime {
		o.From = TrimHorizon()
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = max(64<<10, min(readBytes, readStreamBytes/(4*len(m.byNumber))))
	}
	return o
}

// ended notes the end of a shard and returns a map that has its children. The error is what ends the reader.
func (c *conducting) ended(ctx context.Context, m *partitionMap, end shardEnd) (*partitionMap, error) {
	switch {
	case IsNotFound(end.err):
		newer, err := c.r.c.maps.newer(ctx, c.r.stream, time.Now())
		if err != nil || newer.streamID != m.streamID || newer.byNumber[end.shard] != nil {
			return nil, end.err
		}
		// Its records expired before they were read, and so did the shard.
		c.over[end.shard] = true
		if end.missing != nil {
			select {
			case c.r.items <- streamItem{shard: end.shard, gap: end.missing}:
			case <-ctx.Done():
			}
		}
		return newer, nil
	case !errors.Is(end.err, io.EOF):
		return nil, end.err
	case len(end.children) == 0:
		return m, nil // the tail of an open shard: what comes after it is not part of this read
	}
	c.over[end.shard] = true
	return c.r.mapWith(ctx, end.children)
}

// childrenWait is how long to look for the children of a shard that ended. A node that lags may not know them yet; after that they
// have expired as well, and the map has those that came after them.
const childrenWait = 5 * time.Second

// mapWith returns a map that has the shards given, as far as they still exist.
func (r *StreamReader) mapWith(ctx context.Context, shards []uint32) (*partitionMap, error) {
	for start := time.Now(); ; {
		m, err := r.c.maps.newer(ctx, r.stream, time.Now())
		if err != nil {
			return nil, err
		}
		missing := slices.ContainsFunc(shards, func(n uint32) bool { return m.byNumber[n] == nil })
		if !missing || time.Since(start) > childrenWait {
			return m, nil
		}
		if !sleep(ctx, mapPauseMax) {
			return nil, context.Cause(ctx)
		}
	}
}

// readShard hands a shard's records over until it ends.
func (r *StreamReader) readShard(ctx context.Context, shard uint32, o ReadOptions) shardEnd {
	sr := r.c.ReadShard(ctx, r.stream, shard, o)
	defer sr.Close()
	for {
		records, err := sr.NextBatch(ctx)
		gap := (*Gap)(nil)
		if err != nil && !errors.As(err, &gap) {
			end := shardEnd{shard: shard, children: sr.Children(), err: err}
			if behind := sr.Lag().RecordsBehind; behind > 0 {
				end.missing = &Gap{Shard: shard, From: sr.tail - behind, To: sr.tail}
			}
			return end
		}
		it := streamItem{shard: shard, records: records, lag: sr.Lag(), gap: gap}
		select {
		case r.items <- it:
		case <-ctx.Done():
			return shardEnd{shard: shard, err: ctx.Err()}
		}
	}
}
