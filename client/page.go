package client

import (
	"context"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// PageOptions say how much a page may hold and how long to wait for it.
type PageOptions struct {
	// MaxBytes bounds the page, 0 = 1 MiB, at most 4 MiB. One block of the shard's log always passes.
	MaxBytes int
	// Wait is how long to wait for a first record where there is none yet.
	Wait time.Duration
}

// Page is a stretch of a shard's records.
type Page struct {
	Records []Record
	// Next is the ordinal at which to go on.
	Next uint64
	// Tail is the ordinal after the shard's last record, as far as the node that answered knew.
	Tail uint64
	// MillisBehind is the age of the record at Next, 0 if there is none yet.
	MillisBehind int64
	// Ended says that the shard is closed and that this was the rest of it; Children took over.
	Ended    bool
	Children []uint32
	// Gap tells of records that were asked for and are not kept any more; nil if there are none.
	Gap *Gap
}

// GetRecords returns one page of a shard from a position on. It keeps no state: for a reader that goes on,
// ReadShard is cheaper. It tries other nodes until it has an answer, ctx ends, or the call timeout has passed beyond the wait.
func (c *Client) GetRecords(ctx context.Context, stream string, shard uint32, from Position, o PageOptions) (*Page, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = readBytes
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.callTimeout+o.Wait)
	defer cancel()
	in := &levadav1.GetRecordsRequest{
		Stream: stream, Shard: shard, From: from.proto(), MaxBytes: uint32(min(o.MaxBytes, messageBytesMax/8)), WaitMs: uint32(o.Wait.Milliseconds()),
	}
	wait := pauses{first: 10 * time.Millisecond, max: time.Second}
	var route router
	var failedAt time.Time
	for {
		page, err := c.page(ctx, in, from, &route, failedAt, o.Wait)
		if err == nil {
			return page, nil
		}
		if refusal(err.Kind) || ctx.Err() != nil {
			return nil, withContext(ctx, err)
		}
		failedAt = time.Now()
		route.failed()
		if !sleep(ctx, max(wait.next(), err.RetryAfter)) {
			return nil, withContext(ctx, err)
		}
	}
}

// page makes one attempt.
func (c *Client) page(ctx context.Context, in *levadav1.GetRecordsRequest, from Position, route *router, failedAt time.Time, wait time.Duration) (*Page, *Error) {
	address, err := c.replica(ctx, in.GetStream(), in.GetShard(), route, failedAt)
	if err != nil {
		return nil, err
	}
	api, apiErr := c.streams(address)
	if apiErr != nil {
		return nil, asError(apiErr)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.tryTimeout+wait)
	defer cancel()
	m, apiErr := api.GetRecords(ctx, in)
	if apiErr != nil {
		return nil, asError(apiErr)
	}
	cur := newCursor(in.GetShard(), from, true)
	records, gap, apiErr := cur.take(m)
	if apiErr != nil {
		return nil, asError(apiErr)
	}
	return &Page{
		Records: records, Next: cur.next, Tail: m.GetTailOrdinal(), MillisBehind: m.GetMillisBehind(),
		Ended: m.GetEndOfShard(), Children: m.GetChildren(), Gap: gap,
	}, nil
}

// replica picks the node to read a shard from, by a map that is not older than the last failure.
func (c *Client) replica(ctx context.Context, stream string, shard uint32, route *router, failedAt time.Time) (string, *Error) {
	m, err := c.maps.get(ctx, stream)
	if err == nil && !failedAt.IsZero() {
		wait, cancel := context.WithTimeout(ctx, mapWait)
		defer cancel()
		if newer, newErr := c.maps.newer(wait, stream, failedAt); newErr == nil {
			m = newer
		} else if IsNotFound(newErr) {
			err = newErr
		}
	}
	if err != nil {
		return "", asError(err)
	}
	sh := m.byNumber[shard]
	if sh == nil { // it may be younger than the map
		wait, cancel := context.WithTimeout(ctx, mapWait)
		defer cancel()
		if m, err = c.maps.newer(wait, stream, m.fetched); err != nil {
			return "", asError(err)
		}
		sh = m.byNumber[shard]
	}
	if sh == nil {
		return "", newError(NotFound, "stream %s has no shard %d", stream, shard)
	}
	address, _ := route.choose(sh, c.conns.seeds)
	if address == "" {
		return "", newError(Unavailable, "no node is known for shard %d of stream %s", shard, stream)
	}
	return address, nil
}
