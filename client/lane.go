package client

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// lane carries one shard's records from Put to their results.
//
// Put fills the open batch; the goroutine in run moves batches into the
// window, sends them, and settles them in order. See lane_run.go.
type lane struct {
	// Immutable.
	p     *Producer
	shard uint32
	log   hclog.Logger
	wake  chan struct{} // capacity 1: a signal that there may be more to send

	keys      hashkey.Range // that its shard owns, by the map that it was opened by; immutable once the lane is known to others
	streamID  uint64        // of the map that it was opened by, or of a newer stream of the same name; guarded by p.mu
	ancestors []uint32      // shards that this one came from; guarded by p.mu

	// A lane whose shard took over from others waits until what is not stored of their lanes has been handed down to it.
	gated  atomic.Bool
	doomed atomic.Bool    // others wait for it: its shard is closed, and it is to end when it has nothing to do
	heirs  []*lane        // those that wait for it; guarded by p.mu
	before map[*lane]bool // those it waits for; guarded by p.mu

	mu        sync.Mutex
	inherited []*batch // handed down from closed shards, oldest first: they go before all others
	open      *batch   // being filled, nil if there is none; it has at least one record
	queue     []*batch // full ones, oldest first
	urgent    bool     // the open batch leaves without lingering
	retired   *Error   // why no more records are taken, nil while they are
	sizeHint  int      // bytes to reserve for the next batch

	// Owned by run.
	win      window
	patience time.Duration // how long the next acknowledgement may be overdue
	route    router
	known    *partitionMap // the newest map seen, nil before the first
	pauses   pauses
	resume   time.Time // not to connect before
	failedAt time.Time // last failure: an older map is not good enough
	missing  time.Time // since when the cluster says that the stream does not exist; zero if it does not say so
	refusals int       // calls in a row that were refused as a whole
	trouble  *Error    // the last failure, for the error of what times out
}

const firstBatchBytes = 4 << 10

// smallBytes is the size below which a batch waits while another is on the way. What a batch costs the shard's
// replicas hardly depends on its size, so many small ones make each other wait for processors.
const smallBytes = 64 << 10

func newLane(p *Producer, shard uint32) *lane {
	return &lane{
		p: p, shard: shard, log: p.log.With("shard", shard), wake: make(chan struct{}, 1), sizeHint: min(firstBatchBytes, p.opts.BatchBytes),
		win: window{
			limit: p.opts.InFlightPerShard, idempotent: !p.opts.PermitDuplicates, pinned: p.opts.Shard != nil,
			retryFor: p.opts.RetryFor, newID: p.newSession, dedup: defaultDedupWindow,
		},
		patience: p.opts.AckTimeout,
		pauses:   pauses{first: 10 * time.Millisecond, max: 500 * time.Millisecond},
	}
}

// add puts a record into the open batch and returns where it went.
func (l *lane) add(rec record.Record, cost int64, done func(Result)) (*batch, int, error) {
	o := &l.p.opts
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired != nil {
		return nil, 0, l.retired
	}
	if l.open != nil && l.open.builder.Len()+rec.Size() > o.BatchBytes {
		l.fullLocked()
	}
	b := l.open
	if b == nil {
		capacity := max(l.sizeHint, record.HeaderSize+rec.Size())
		b = &batch{shard: l.shard, builder: record.NewBuilder(capacity), born: time.Now(), done: make(chan struct{})}
	}
	if err := b.builder.Add(rec); err != nil {
		return nil, 0, asError(err) // put validated the record: only a limit of this package can be wrong
	}
	if b.turn == 0 {
		b.turn = l.p.flights.begin()
	}
	i := b.count
	b.count++
	if b.builder.Len() >= smallBytes && b.builder.Len()-rec.Size() < smallBytes {
		l.signal()
	}
	b.cost += cost
	if done != nil {
		for len(b.callbacks) < i {
			b.callbacks = append(b.callbacks, nil)
		}
		b.callbacks = append(b.callbacks, done)
	}
	if l.open == nil {
		l.open = b
		l.signal()
	}
	if b.builder.Len() >= o.BatchBytes || b.count >= o.BatchRecords {
		l.fullLocked()
	}
	return b, i, nil
}

func (l *lane) fullLocked() {
	l.sizeHint = l.open.builder.Len()
	l.queue = append(l.queue, l.open)
	l.open = nil
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // one is pending already
	}
}

// flush makes the open batch leave.
func (l *lane) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil {
		l.urgent = true
		l.signal()
	}
}

// renew lets the time of what was never sent begin now: before, it could not be.
func (l *lane) renew(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.inherited {
		b.born = now
	}
	for _, b := range l.queue {
		b.born = now
	}
	if l.open != nil {
		l.open.born = now
	}
}

// take returns the next batch to send. When the open batch is to linger, it
// returns nil and for how long, 0 if that is not a matter of time.
func (l *lane) take(now time.Time, inFlight int) (*batch, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range []*[]*batch{&l.inherited, &l.queue} {
		if len(*q) > 0 {
			b := (*q)[0]
			(*q)[0] = nil
			*q = (*q)[1:]
			return b, 0
		}
	}
	b := l.open
	if b == nil {
		return nil, 0
	}
	if inFlight > 0 && !l.urgent {
		if l.p.opts.Linger >= 0 && b.builder.Len() < smallBytes {
			return nil, 0 // an acknowledgement or more records
		}
		if left := l.p.opts.Linger - now.Sub(b.born); left > 0 {
			return nil, left
		}
	}
	// A quarter more than the last, so that a growing load is followed.
	l.sizeHint = min(l.p.opts.BatchBytes, max(firstBatchBytes, b.builder.Len()*5/4))
	l.open, l.urgent = nil, false
	return b, 0
}

func (l *lane) hasWork() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open != nil || len(l.queue) > 0 || len(l.inherited) > 0
}

// overdueQueue takes out the batches that were never sent and whose time is up.
func (l *lane) overdueQueue(now time.Time) []*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	var late []*batch
	for len(l.inherited) > 0 && now.Sub(l.inherited[0].born) >= l.p.opts.RetryFor {
		late = append(late, l.inherited[0])
		l.inherited = l.inherited[1:]
	}
	if len(l.inherited) > 0 {
		return late
	}
	n := 0
	for n < len(l.queue) && now.Sub(l.queue[n].born) >= l.p.opts.RetryFor {
		n++
	}
	late = append(late, l.queue[:n]...)
	l.queue = l.queue[n:]
	if len(l.queue) == 0 && l.open != nil && now.Sub(l.open.born) >= l.p.opts.RetryFor {
		late = append(late, l.open)
		l.open = nil
	}
	return late
}

// retire takes no more records, because of err, and returns those never sent.
func (l *lane) retire(err *Error) []*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired == nil {
		l.retired = err
	}
	rest := append(l.inherited, l.queue...)
	if l.open != nil {
		rest = append(rest, l.open)
	}
	l.inherited, l.queue, l.open = nil, nil, nil
	return rest
}

// fail settles a batch with an error.
func (l *lane) fail(b *batch, err *Error) {
	l.p.stats.records.Add(uint64(b.count))
	l.p.stats.failed.Add(uint64(b.count))
	b.settle(nil, err, l.p)
}

func (l *lane) failAll(failed []failure) {
	for _, f := range failed {
		l.fail(f.b, f.err)
	}
}

// succeed settles a batch with its positions.
func (l *lane) succeed(b *batch, r *levadav1.AppendResponse) {
	s := &l.p.stats
	s.records.Add(uint64(b.count))
	s.batches.Add(1)
	s.bytes.Add(uint64(b.encoded.Len()))
	for _, g := range r.GetRanges() {
		if g.GetDuplicate() {
			s.duplicates.Add(uint64(g.GetCount()))
		}
	}
	b.settle(r.GetRanges(), nil, l.p)
}

// abandon settles everything left when the lane ends or its shard does: err is
// why. What the window cannot be sure of is marked.
func (l *lane) abandon(err *Error) {
	rest := l.retire(err)
	l.win.broken()
	if !l.win.empty() {
		failed, _ := l.win.giveUp(len(l.win.batches), err) // nothing is left to number anew
		l.failAll(failed)
	}
	for _, b := range rest {
		l.fail(b, err)
	}
	l.forget()
}

// forget takes the lane out of the producer, so that later records of its keys
// are routed afresh.
func (l *lane) forget() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.forgetLocked()
}

// forgetLocked is forget for who holds p.mu. Those that waited for the lane go on.
func (l *lane) forgetLocked() {
	if l.p.lanes[l.shard] == l {
		delete(l.p.lanes, l.shard)
	}
	l.freeHeirsLocked()
}

func (l *lane) freeHeirsLocked() {
	for _, heir := range l.heirs {
		if delete(heir.before, l); len(heir.before) == 0 {
			heir.gated.Store(false)
			heir.signal()
		}
	}
	l.heirs = nil
	l.doomed.Store(false)
}
