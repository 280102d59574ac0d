package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/wal/record"
)

const (
	inFlightMax = 32
	// recordOverhead is what a record costs beside its bytes: its encoding's
	// header and the bookkeeping of its result.
	recordOverhead = 64
)

// ProducerOptions are the settings of a Producer. The zero value of each field is its default.
type ProducerOptions struct {
	// Linger is how long a batch that is not full waits for more records while
	// others are in flight; with nothing in flight it leaves at once, and one of less
	// than 64 KiB then only. 0 = 1 ms; negative = never wait.
	Linger time.Duration
	// BatchBytes is the size at which a batch is full. 0 = 256 KiB; at most 10 MiB.
	BatchBytes int
	// BatchRecords is the number of records at which a batch is full. 0 = 10,000; at most 100,000.
	BatchRecords int
	// MaxBytesInFlight bounds the bytes of records without result, all shards
	// together; Put waits while it is reached. 0 = 64 MiB. Buffers that grow take up to twice as much.
	MaxBytesInFlight int64
	// InFlightPerShard is the number of batches on the way per shard. 0 = 16; at most 32.
	InFlightPerShard int
	// RetryFor is how long a record is tried for, from the first attempt on, or
	// waited with if there can be none. 0 = 2 min. While the shard makes
	// progress, records wait for their turn as long as it takes.
	RetryFor time.Duration
	// AckTimeout is how long an acknowledgement may be overdue before another
	// node is tried; it doubles while that does not help. 0 = 3 s.
	AckTimeout time.Duration
	// Shard sends all records to this shard, whatever their keys.
	Shard *uint32
	// PermitDuplicates gives up the producer's identity: after a failure records
	// may be stored twice. The service then keeps no state for the producer.
	PermitDuplicates bool
}

func (o ProducerOptions) withDefaults() (ProducerOptions, error) {
	setDefault(&o.Linger, time.Millisecond)
	setDefault(&o.BatchBytes, 256<<10)
	setDefault(&o.BatchRecords, 10_000)
	setDefault(&o.MaxBytesInFlight, 64<<20)
	setDefault(&o.InFlightPerShard, 16)
	setDefault(&o.RetryFor, 2*time.Minute)
	setDefault(&o.AckTimeout, 3*time.Second)
	for _, c := range []struct {
		field    string
		ok       bool
		min, max any
	}{
		{"BatchBytes", o.BatchBytes >= 1 && o.BatchBytes <= record.MaxDataBytes, 1, record.MaxDataBytes},
		{"BatchRecords", o.BatchRecords >= 1 && o.BatchRecords <= record.MaxRecords, 1, record.MaxRecords},
		{"MaxBytesInFlight", o.MaxBytesInFlight >= 1, 1, "any"},
		{"InFlightPerShard", o.InFlightPerShard >= 1 && o.InFlightPerShard <= inFlightMax, 1, inFlightMax},
		{"RetryFor", o.RetryFor > 0, "above 0", "any"},
		{"AckTimeout", o.AckTimeout > 0, "above 0", "any"},
	} {
		if !c.ok {
			return o, &Error{Kind: Invalid, Field: c.field, Message: fmt.Sprintf("producer option %s must lie between %v and %v", c.field, c.min, c.max)}
		}
	}
	return o, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// ProducerStats counts what a producer has done since it was made.
type ProducerStats struct {
	Records       uint64 // with a result, good or bad
	Bytes         uint64 // of batches stored
	Batches       uint64 // stored
	Duplicates    uint64 // records found to be stored by an earlier attempt
	Failed        uint64 // records with an error
	Resent        uint64 // batches sent again
	Reconnects    uint64 // append calls opened after a failure
	Sessions      uint64 // producer sessions begun
	BytesInFlight int64  // now
}

type producerCounters struct {
	records, bytes, batches, duplicates, failed, resent, reconnects, sessions atomic.Uint64
}

// Producer writes records to one stream. Its methods are safe for concurrent use.
//
// Each shard has a lane: an open batch that Put fills, a queue of full ones,
// and a goroutine with one append call that keeps up to InFlightPerShard
// batches on the way. A batch leaves when there is room, so batches grow with
// the load and a lone record waits for nothing.
type Producer struct {
	c      *Client
	stream string
	opts   ProducerOptions
	log    hclog.Logger
	budget *budget
	stats  producerCounters

	cancel  context.CancelFunc // ends the lanes' goroutines
	start   func(*lane)        // starts one
	running sync.WaitGroup     // the lanes' goroutines

	flights flights       // of batches
	salt    atomic.Uint64 // of the next record of a salted key

	routing atomic.Pointer[routing] // nil until a shard was closed; stored with mu held

	mu     sync.RWMutex
	lanes  map[uint32]*lane
	closed bool
	sealed sealedShards // guarded by mu
}

// Producer returns a producer for a stream. It asks the cluster nothing yet: an
// unknown stream shows at the first Put. Close it to flush.
func (c *Client) Producer(stream string, o ProducerOptions) (*Producer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if stream == "" {
		return nil, &Error{Kind: Invalid, Field: "stream", Message: "stream name is empty"}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Producer{
		c: c, stream: stream, opts: o, log: c.log.With("stream", stream), budget: &budget{limit: o.MaxBytesInFlight},
		cancel: cancel, lanes: map[uint32]*lane{},
	}
	p.start = func(l *lane) {
		p.running.Add(1)
		go func() {
			defer p.running.Done()
			l.run(ctx)
		}()
	}
	if err := c.enlist(p); err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// Put hands over one record. It waits only for room in the producer's memory
// and, at first, for the stream's map. An error means that the record was not
// taken over and will not be written; a bad record is refused here and harms
// no other. Calls for one partition key must not run concurrently if their order matters.
func (p *Producer) Put(ctx context.Context, r Record) (*Pending, error) {
	b, i, err := p.put(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	return &Pending{b: b, index: i}, nil
}

// PutFunc is Put with a callback in place of a Pending. done is called once,
// by a goroutine that the shard's other results wait for, in the order of the
// shard's records: it must be quick and must not call Put, Flush or Close. It
// is not called if PutFunc returns an error.
func (p *Producer) PutFunc(ctx context.Context, r Record, done func(Result)) error {
	_, _, err := p.put(ctx, r, done)
	return err
}

func (p *Producer) put(ctx context.Context, r Record, done func(Result)) (*batch, int, error) {
	rec := r.encodable()
	if err := rec.Validate(); err != nil {
		return nil, 0, asError(err)
	}
	m, err := p.c.maps.get(ctx, p.stream)
	if err != nil {
		return nil, 0, err
	}
	m = p.routed(m)
	if err := p.checkSize(ctx, m, rec); err != nil {
		return nil, 0, err
	}
	rec = p.salted(m, rec)
	cost, err := p.budget.acquire(ctx, int64(rec.Size())+recordOverhead)
	if err != nil {
		return nil, 0, err
	}
	b, i, err := p.place(ctx, m, rec, cost, done)
	if err != nil {
		p.budget.release(cost)
		return nil, 0, err
	}
	return b, i, nil
}

// checkSize holds a record against the stream's limit before it shares a batch
// with others, which the service would refuse as a whole.
func (p *Producer) checkSize(ctx context.Context, m *partitionMap, rec record.Record) error {
	size := uint64(len(rec.Key) + len(rec.Data))
	if size <= m.maxRecordBytes {
		return nil
	}
	// The limit may have been raised; asking once a second is enough.
	if time.Since(m.fetched) > time.Second {
		if newer, err := p.c.maps.newer(ctx, p.stream, m.fetched); err == nil {
			m = newer
		}
	}
	if size > m.maxRecordBytes {
		return &Error{
			Kind: TooLarge, Field: "data", Limit: m.maxRecordBytes,
			Message: fmt.Sprintf("record of %d bytes with its key; stream %s takes at most %d", size, p.stream, m.maxRecordBytes),
		}
	}
	return nil
}

// placeTries bounds the maps tried for one record: shards may close and open under way.
const placeTries = 3

func (p *Producer) place(ctx context.Context, m *partitionMap, rec record.Record, cost int64, done func(Result)) (*batch, int, error) {
	var last error
	for range placeTries {
		sh, err := p.shardFor(m, rec)
		if err == nil {
			var l *lane
			if l, err = p.lane(m, sh); err == nil {
				b, i, addErr := l.add(rec, cost, done)
				if addErr == nil {
					return b, i, nil
				}
				err = addErr
			}
		}
		last = err
		if !IsNotFound(err) && !IsShardClosed(err) && !IsUnavailable(err) {
			break
		}
		if m, err = p.c.maps.newer(ctx, p.stream, m.fetched); err != nil {
			return nil, 0, err
		}
		m = p.routed(m)
	}
	return nil, 0, last
}

func (p *Producer) shardFor(m *partitionMap, rec record.Record) (*shardInfo, error) {
	if p.opts.Shard != nil {
		sh := m.byNumber[*p.opts.Shard]
		switch {
		case sh == nil:
			return nil, &Error{Kind: NotFound, Field: "shard", Message: fmt.Sprintf("stream %s has no shard %d", p.stream, *p.opts.Shard)}
		case sh.closed:
			return nil, &Error{Kind: ShardClosed, Message: fmt.Sprintf("shard %d of stream %s is closed", sh.number, p.stream), Successors: sh.children}
		}
		return sh, nil
	}
	if sh := m.lookup(rec.HashKey()); sh != nil {
		return sh, nil
	}
	return nil, newError(Unavailable, "the map of stream %s has no shard for the record's hash key now", p.stream)
}

func (p *Producer) lane(m *partitionMap, sh *shardInfo) (*lane, error) {
	shard := sh.number
	p.mu.RLock()
	l, closed := p.lanes[shard], p.closed
	p.mu.RUnlock()
	if closed {
		return nil, closedError("producer")
	}
	if l != nil {
		return l, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, closedError("producer")
	}
	if l = p.lanes[shard]; l == nil {
		// The map may be older than that of another record, which went to a shard that took over from this one:
		// what is put now has to come after it.
		for _, other := range p.lanes {
			if other.streamID == m.streamID && slices.Contains(other.ancestors, shard) {
				return nil, &Error{Kind: ShardClosed, Message: fmt.Sprintf("shard %d of stream %s is closed", shard, p.stream)}
			}
		}
		l = p.openLocked(m, sh)
	}
	return l, nil
}

// Flush sends what waits and returns when every record put before has its result, or ctx ends.
func (p *Producer) Flush(ctx context.Context) error {
	turn := p.flights.next()
	p.mu.RLock()
	for _, l := range p.lanes {
		l.flush()
	}
	p.mu.RUnlock()
	return p.flights.await(ctx, turn)
}

// settled gives back what a batch held whose records all have their results.
func (p *Producer) settled(b *batch) {
	p.budget.release(b.cost)
	close(b.done)
	p.flights.end(b.turn)
}

// Close takes no more records, flushes until ctx ends, fails the rest, and
// returns when nothing of the producer runs any more. The error is that of
// ctx if it cut the flush short. It is idempotent.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.budget.close()
	err := p.Flush(ctx)
	p.abort()
	return err
}

// abort ends the producer without flushing.
func (p *Producer) abort() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.budget.close()
	p.cancel()
	p.running.Wait()
	p.c.delist(p)
}

// Stats returns the counters now.
func (p *Producer) Stats() ProducerStats {
	s := &p.stats
	return ProducerStats{
		Records: s.records.Load(), Bytes: s.bytes.Load(), Batches: s.batches.Load(), Duplicates: s.duplicates.Load(), Failed: s.failed.Load(),
		Resent: s.resent.Load(), Reconnects: s.reconnects.Load(), Sessions: s.sessions.Load(), BytesInFlight: p.budget.inUse(),
	}
}

// newSession returns a fresh producer id. Each session of each shard has its
// own: a number sequence that starts at 1 again under a used name would be
// taken for a repetition, and its records dropped.
func (p *Producer) newSession() record.ProducerID {
	p.stats.sessions.Add(1)
	var id record.ProducerID
	_, _ = rand.Read(id[:]) // never fails: the runtime ends the program instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}
