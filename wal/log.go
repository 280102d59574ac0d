package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/internal/vfs"
)

// DefaultSegmentBytes is the size at which a segment is sealed.
const DefaultSegmentBytes = 256 << 20

// Options configure a Log.
type Options struct {
	Group        uint64  // Raft group; a segment of another group is refused
	Shard        uint32  // shard number; likewise
	SegmentBytes int64   // 0 means DefaultSegmentBytes; one larger block makes a larger segment
	Writer       *Writer // shared by the logs of a node; required
	Logger       hclog.Logger
}

// Log is the log of one shard replica. All methods are safe for concurrent
// use, but only one caller may append or change the log's ends at a time.
type Log struct {
	fs  vfs.FS
	dir string
	o   Options
	w   *Writer

	sched schedule // guarded by Writer.mu
	hints readHints

	ioMu sync.Mutex // held while files change
	tail *tail      // the unsealed last segment; nil if there is none. Guarded by ioMu
	dead []*segment // out of the log, files to be removed. Guarded by ioMu

	mu   sync.Mutex // never held during I/O
	segs []*segment // ascending; all but the last are sealed
	// mem are the blocks in memory, contiguous, ending at pos; the first
	// flushed of them are in files too. Append-only but for cuts at the front,
	// which make a new slice, so that readers may keep the old one.
	mem     []*memBlock
	flushed int
	base    Position // where the log begins if it has no segment
	pos     Position // after the last block appended
	written Position // after the last block written to a file
	durable Position // after the last block synced; durable <= written <= pos
	gen     uint64   // goes up when segments or blocks leave the log
	failed  error
	closed  bool
	syncTo  uint64        // somebody wants everything below to be durable
	changed chan struct{} // closed and replaced when durable moves or the log fails or closes
}

// memBlock is a block in memory. Immutable but for the ticket, which Log.mu guards.
type memBlock struct {
	blockHeader
	payload [][]byte
	ticket  *ticket // nil until it is written
}

func (b *memBlock) cost() int64 { return int64(b.length) + blockOverhead }

func (o Options) withDefaults() (Options, error) {
	if o.Writer == nil {
		return o, errors.New("wal: Options.Writer is required")
	}
	o.SegmentBytes = cmp.Or(o.SegmentBytes, DefaultSegmentBytes)
	if o.SegmentBytes < 2*pageSize {
		return o, fmt.Errorf("wal: segments of %d bytes are too small", o.SegmentBytes)
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o, nil
}

// usable returns why the log takes no more, or nil. Call it with mu held.
func (l *Log) usable() error {
	if l.closed {
		return ErrClosed
	}
	return l.failed
}

// Append adds one block at the end. It computes checksum and cumulative hash,
// keeps the payload by reference (a small one is copied) and does no I/O, but
// waits while the node has too many unwritten bytes. It returns the position
// after the block. A block that does not follow the last one is ErrOrder.
func (l *Log) Append(b Block) (Position, error) {
	h, err := newBlockHeader(&b)
	if err != nil {
		return Position{}, err
	}
	return l.append(h, b.Payload, false)
}

// append adds a block; keepChain says that h's cumulative hash was verified
// against the position that it has to follow.
func (l *Log) append(h blockHeader, payload [][]byte, keepChain bool) (Position, error) {
	b := &memBlock{blockHeader: h}
	cost := b.cost()
	if err := l.w.reserve(cost); err != nil {
		return Position{}, err
	}
	if h.length < smallPayload {
		b.payload = [][]byte{l.w.copySmall(payload, int(h.length))}
	} else {
		b.payload = slices.Clone(payload)
	}
	pos, err := l.push(b, keepChain)
	if err != nil {
		l.w.release(cost)
		return Position{}, err
	}
	l.w.appended(l, cost)
	return pos, nil
}

func (l *Log) push(b *memBlock, keepChain bool) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return Position{}, err
	}
	if !keepChain {
		b.chain = b.chainAfter(l.pos.Chain)
	}
	if err := b.follows(l.pos); err != nil {
		return Position{}, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	l.mem = append(l.mem, b)
	l.pos = b.position()
	return l.pos, nil
}

// Position returns the position after the last block appended.
func (l *Log) Position() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pos
}

// Durable returns the position below which everything survives a crash.
func (l *Log) Durable() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// First returns the ordinal of the first record that is physically there;
// Position().Next if there is none.
func (l *Log) First() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first()
}

func (l *Log) first() uint64 {
	if len(l.segs) > 0 {
		return l.segs[0].start.Next
	}
	return l.base.Next
}

// Start returns the position before the first record that is physically there:
// where a copy of the log begins.
func (l *Log) Start() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segs) > 0 {
		return l.segs[0].start
	}
	return l.base
}

// Bytes returns the size of the log's files plus what is not written yet.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, s := range l.segs {
		n += s.fileSize
	}
	for _, b := range l.mem[l.flushed:] {
		n += BlockHeaderSize + int64(b.length)
	}
	return n
}

// Segments describes the log's files, first to last.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := make([]SegmentInfo, len(l.segs))
	for i, s := range l.segs {
		infos[i] = s.info()
	}
	return infos
}

// OldestTime returns the time of the first record in ms since the Unix epoch,
// false if there is none.
func (l *Log) OldestTime() (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if !s.empty() {
			return s.firstTime, true
		}
	}
	for _, b := range l.mem[l.flushed:] {
		return b.time, true
	}
	return 0, false
}

// Err returns why the log failed, or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Flush returns when everything below the ordinal upTo is synced, or ctx ends.
func (l *Log) Flush(ctx context.Context, upTo uint64) error {
	l.mu.Lock()
	if upTo > l.pos.Next {
		l.mu.Unlock()
		return fmt.Errorf("%w: flush up to %d, the log ends at %d", ErrShort, upTo, l.pos.Next)
	}
	for l.durable.Next < upTo {
		if err := l.usable(); err != nil {
			l.mu.Unlock()
			return err
		}
		l.syncTo = max(l.syncTo, upTo)
		changed := l.changed
		l.mu.Unlock()
		if err := l.w.request(l); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		l.mu.Lock()
		if upTo > l.pos.Next { // truncated meanwhile
			l.mu.Unlock()
			return ErrShort
		}
	}
	err := l.failed
	l.mu.Unlock()
	return err
}

// notify wakes those who wait for durable. Call it with mu held.
func (l *Log) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// fail ends the use of the log: what a failed write or sync left on disk is
// unknown, and a second try may report success for data that is lost. Blocks
// in memory stay readable.
func (l *Log) fail(cause error) error {
	l.mu.Lock()
	first := l.failed == nil
	if first {
		l.failed = fmt.Errorf("%w: %s: %w", ErrFailed, l.dir, cause)
	}
	err := l.failed
	l.w.forget(l)
	l.w.release(l.dropPending())
	l.flushed = len(l.mem)
	l.notify()
	l.mu.Unlock()
	if first {
		l.w.o.OnError(err)
	}
	return err
}

// dropPending returns the cost of the unwritten blocks, for the caller to
// forget and release. Call it with mu held.
func (l *Log) dropPending() int64 {
	var cost int64
	for _, b := range l.mem[l.flushed:] {
		cost += b.cost()
	}
	return cost
}

// dropMemory forgets all blocks in memory and returns the cost of those that
// were not written. Call it with mu held.
func (l *Log) dropMemory() int64 {
	freed := l.dropPending()
	var tickets []*ticket
	for _, b := range l.mem[:l.flushed] {
		if b.ticket != nil {
			tickets = append(tickets, b.ticket)
		}
	}
	l.w.recent.drop(tickets)
	l.mem, l.flushed = nil, 0
	return freed
}

// letGo forgets the first n written blocks in memory.
func (l *Log) letGo(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, l.flushed)
	l.mem = slices.Clone(l.mem[n:])
	l.flushed -= n
}
