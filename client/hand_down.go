package client

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// When a shard is closed, what its lane holds is certain not to be stored: the shard, asked about the oldest
// batch without a result, said that it is closed, and it takes a session's batches in order only.
// All of it goes to the lanes of the shards that own the keys now, as if it had just been put, and before
// everything that was put for them since: the order of each key stays. That is why a lane waits,
// gated, as long as there are lanes of shards that its own came from.

const (
	mapPauseMin = 5 * time.Millisecond
	mapPauseMax = 100 * time.Millisecond
)

// handDown gives everything the lane holds to those of the shards that took over, and ends it. The error says why
// that is not possible; then everything is still here.
//
// Until the end the lane stays known, so that those that take over wait for it, whoever opens them: what is put
// meanwhile goes to them and comes after what they inherit.
func (l *lane) handDown(ctx context.Context) *Error {
	m, err := l.successors(ctx)
	if err != nil {
		return err
	}
	rest := l.retire(&Error{Kind: ShardClosed, Message: "the shard is closed"})
	h := handing{m: m, from: l}
	l.p.mu.Lock()
	h.add(l.heirs...)
	l.p.mu.Unlock()
	for _, b := range append(l.win.batches, rest...) {
		h.move(b)
	}
	l.win.batches, l.win.sent = nil, 0
	l.forget()
	return nil
}

// successors returns a map in which others own the lane's keys: the closed shard may say so before the map does.
func (l *lane) successors(ctx context.Context) (*partitionMap, *Error) {
	pause := mapPauseMin
	start, asked := time.Now(), time.Time{}
	for ; ; asked = time.Now() {
		wait, cancel := context.WithTimeout(ctx, mapWait)
		m, err := l.p.c.maps.newer(wait, l.p.stream, asked)
		cancel()
		if err == nil {
			m = l.p.routed(m)
			if sh := m.byNumber[l.shard]; sh == nil || sh.closed {
				return m, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, closedError("producer")
		case IsNotFound(err):
			return nil, asError(err)
		case time.Since(start) > l.p.opts.RetryFor:
			return nil, newError(Unavailable, "shard %d of stream %s is closed, and nobody took over from it within %s", l.shard, l.p.stream, l.p.opts.RetryFor)
		}
		sleep(ctx, pause)
		pause = min(2*pause, mapPauseMax)
	}
}

// handing is a lane's way from its records to those that take them over.
type handing struct {
	m     *partitionMap
	from  *lane
	heirs []*lane // by shard number, which ascends from parents to children
}

// move routes the records of a batch anew.
func (h *handing) move(b *batch) {
	p := h.from.p
	records := b.records()
	b.move()
	for i, rec := range records.Records() {
		l, err := h.heir(rec.HashKey())
		if err == nil {
			err = l.inherit(rec, origin{b, i})
		}
		if err != nil {
			p.stats.records.Add(1)
			p.stats.failed.Add(1)
			b.resolve(i, Result{Shard: h.from.shard, Err: err}, p)
		}
	}
	b.encoded = nil
}

// heir returns the lane that takes a key over. Shards may have been closed that came after this one, with lanes that wait for it and
// hold later records of the key: the oldest of them comes first, so that no record goes past another.
func (h *handing) heir(key hashkey.Key) (*lane, *Error) {
	for _, l := range h.heirs {
		if l.keys.Contains(key) {
			return l, nil
		}
	}
	p := h.from.p
	sh := h.m.lookup(key)
	if sh == nil {
		return nil, newError(Unavailable, "the map of stream %s has no shard for the record's hash key now", p.stream)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[sh.number]
	if l == nil {
		l = p.openLocked(h.m, sh)
	}
	h.add(l)
	return l, nil
}

func (h *handing) add(heirs ...*lane) {
	h.heirs = append(h.heirs, heirs...)
	slices.SortFunc(h.heirs, func(a, b *lane) int { return cmp.Compare(a.shard, b.shard) })
}

// openLocked opens a lane, gated as long as there are lanes of shards that its own came from, and tells
// these to end. Lanes of shards that came from its own, opened by a newer map, wait for it in turn. It holds mu.
func (p *Producer) openLocked(m *partitionMap, sh *shardInfo) *lane {
	shard := sh.number
	l := newLane(p, shard)
	l.keys, l.streamID, l.ancestors = sh.keys, m.streamID, m.ancestors(shard)
	for number, other := range p.lanes {
		switch {
		case other.streamID != l.streamID:
		case slices.Contains(l.ancestors, number):
			l.waitLocked(other)
		case slices.Contains(other.ancestors, shard):
			other.waitLocked(l)
		}
	}
	p.lanes[shard] = l
	p.start(l)
	return l
}

// waitLocked makes the lane wait for an older one, which is to end when it has nothing to do. Whoever calls it holds p.mu.
func (l *lane) waitLocked(older *lane) {
	if l.before == nil {
		l.before = map[*lane]bool{}
	}
	l.before[older] = true
	l.gated.Store(true)
	older.heirs = append(older.heirs, l)
	older.doomed.Store(true)
	older.signal()
}

// inherit takes a record of a closed shard. They come in the order in which they are to be stored.
// The error is that of a lane which has ended: the producer was closed.
func (l *lane) inherit(rec record.Record, from origin) *Error {
	o := &l.p.opts
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired != nil {
		return l.retired
	}
	var b *batch
	if n := len(l.inherited); n > 0 {
		if b = l.inherited[n-1]; b.builder.Len()+rec.Size() > o.BatchBytes || b.count >= o.BatchRecords {
			b = nil
		}
	}
	if b == nil {
		b = &batch{shard: l.shard, builder: record.NewBuilder(record.HeaderSize + rec.Size()), born: time.Now(), done: make(chan struct{})}
		l.inherited = append(l.inherited, b)
		l.signal()
	}
	if err := b.builder.Add(rec); err != nil {
		return asError(err)
	}
	b.count++
	b.origins = append(b.origins, from)
	return nil
}
