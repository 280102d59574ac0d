package wal

import (
	"cmp"
	"sync"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
)

// WriterOptions configure a Writer. Zero fields have the defaults stated.
type WriterOptions struct {
	// DirtyBytesMax bounds the bytes appended and not yet written, over all
	// logs; Append waits beyond it. 128 MiB.
	DirtyBytesMax int64
	// FlushInterval is how long a block may wait to be written. 2 s.
	FlushInterval time.Duration
	// BlockBytes is the amount of a log's unwritten bytes from which on it is
	// written at once. 1 MiB.
	BlockBytes int
	// CacheBytes bounds the memory that holds written blocks for readers near
	// the end, over all logs. 128 MiB; negative for none.
	CacheBytes int64
	// OpenFilesMax bounds the segments kept open, once for reading and once
	// for writing; while a log is written it may be one more. 256.
	OpenFilesMax int
	// OnError is called once per log that fails, from any goroutine. It must not
	// wait for a log or the Writer; shutting them down is another goroutine's work.
	OnError func(error)
}

func (o WriterOptions) withDefaults() WriterOptions {
	o.DirtyBytesMax = cmp.Or(o.DirtyBytesMax, 128<<20)
	o.FlushInterval = cmp.Or(o.FlushInterval, 2*time.Second)
	o.BlockBytes = cmp.Or(o.BlockBytes, 1<<20)
	o.CacheBytes = cmp.Or(o.CacheBytes, 128<<20)
	o.OpenFilesMax = cmp.Or(o.OpenFilesMax, 256)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

// WriterStats are a Writer's counters and gauges.
type WriterStats struct {
	DirtyBytes   int64  // appended and not yet written
	CachedBytes  int64  // written and still in memory
	WrittenBytes uint64 // to disk, padding included
	Writes       uint64
	Syncs        uint64
	OpenFiles    int // for reading
	OpenWrites   int // for writing
}

// Writer writes the blocks of all logs of a node to disk, lazily, in one
// goroutine, and holds what the logs share. All methods are safe for concurrent use.
type Writer struct {
	o      WriterOptions
	recent recentCache
	files  fileSet
	wake   chan struct{} // capacity 1: a wake-up that is pending needs no second
	done   chan struct{} // closed when run has returned

	mu      sync.Mutex
	room    *sync.Cond // dirty went down
	dirty   int64
	waiting int        // appends that wait for room
	old     []dirtyLog // in the order in which the logs became dirty
	urgent  []*Log     // to be written now
	serial  uint64     // of the last entry of old
	closed  bool
	open    []*Log // logs with an open write handle, least recently opened first
	scratch [][]byte
	chunk   []byte // free rest of the chunk that small payloads are copied into
	stats   WriterStats
}

// dirtyLog is an entry of Writer.old; it is stale unless the log has the same serial.
type dirtyLog struct {
	log    *Log
	serial uint64
	since  time.Time
}

// schedule is the part of a log that belongs to its Writer. Guarded by Writer.mu.
type schedule struct {
	dirty  int64  // bytes appended since the log was last taken
	serial uint64 // of its entry in old, 0 if none
	urgent bool   // it is in urgent
}

const (
	smallPayload = 16 << 10 // a payload below it is copied, so as not to pin the buffer that it is part of
	chunkBytes   = 64 << 10
	scratchBytes = 1 << 20
	scratchSpare = 2
	// blockOverhead is what a block costs in memory besides its payload.
	blockOverhead = 256
)

// NewWriter starts a writer. Close ends it.
func NewWriter(o WriterOptions) *Writer {
	w := &Writer{o: o.withDefaults(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.room = sync.NewCond(&w.mu)
	w.recent.max = w.o.CacheBytes
	w.files.init(w.o.OpenFilesMax)
	go w.run()
	return w
}

// Close writes what the logs still hold, without syncing it, and stops the
// writer. Logs are to be closed before; afterwards they take nothing more.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.room.Broadcast()
	w.mu.Unlock()
	w.signal()
	<-w.done
	return nil
}

// Stats returns the present counters.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.DirtyBytes = w.dirty
	s.OpenWrites = len(w.open)
	s.CachedBytes = w.recent.bytes()
	s.OpenFiles = w.files.count()
	return s
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// reserve waits until n more dirty bytes have room. A block larger than all
// room waits until there are no others.
func (w *Writer) reserve(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && w.dirty > 0 && w.dirty+n > w.o.DirtyBytesMax {
		w.waiting++
		w.signal()
		w.room.Wait()
		w.waiting--
	}
	if w.closed {
		return ErrClosed
	}
	w.dirty += n
	return nil
}

// release gives back n reserved bytes.
func (w *Writer) release(n int64) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.dirty -= n
	w.room.Broadcast()
	w.mu.Unlock()
}

// copySmall copies a payload into a chunk shared by the small payloads of all
// logs. They are evicted in about the order in which they came, so a chunk
// does not outlive its blocks by much.
func (w *Writer) copySmall(parts [][]byte, n int) []byte {
	w.mu.Lock()
	if len(w.chunk) < n {
		w.chunk = make([]byte, chunkBytes)
	}
	b := w.chunk[:0:n]
	w.chunk = w.chunk[n:]
	w.mu.Unlock()
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// appended tells that l has n more dirty bytes.
func (w *Writer) appended(l *Log, n int64) {
	w.mu.Lock()
	s := &l.sched
	s.dirty += n
	wake := w.pressed()
	if s.serial == 0 {
		wake = wake || len(w.old) == 0
		w.serial++
		s.serial = w.serial
		w.old = append(w.old, dirtyLog{l, s.serial, time.Now()})
	}
	if s.dirty >= int64(w.o.BlockBytes) && !s.urgent {
		s.urgent, wake = true, true
		w.urgent = append(w.urgent, l)
	}
	w.mu.Unlock()
	if wake {
		w.signal()
	}
}

// request asks for l to be written, and synced if it wants that, now.
func (w *Writer) request(l *Log) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	if !l.sched.urgent {
		l.sched.urgent = true
		w.urgent = append(w.urgent, l)
	}
	w.signal()
	return nil
}

// forget drops l from the schedule.
func (w *Writer) forget(l *Log) {
	w.mu.Lock()
	l.sched.dirty, l.sched.serial = 0, 0
	w.mu.Unlock()
}

// pressed reports whether logs are to be written before their time.
func (w *Writer) pressed() bool { return w.waiting > 0 || w.dirty > w.o.DirtyBytesMax/2 }

// next takes the log to write next. If there is none yet it returns nil and
// how long to wait for one, 0 if none is dirty.
func (w *Writer) next() (*Log, time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.urgent) > 0 {
		l := w.urgent[0]
		w.urgent[0] = nil
		w.urgent = w.urgent[1:]
		l.sched = schedule{}
		return l, 0, false
	}
	for len(w.old) > 0 {
		e := w.old[0]
		wait := time.Duration(0)
		if e.log.sched.serial == e.serial {
			wait = time.Until(e.since.Add(w.o.FlushInterval))
			if wait > 0 && !w.pressed() && !w.closed {
				return nil, wait, false
			}
		}
		w.old[0] = dirtyLog{}
		w.old = w.old[1:]
		if e.log.sched.serial == e.serial {
			e.log.sched.dirty, e.log.sched.serial = 0, 0
			return e.log, 0, false
		}
	}
	return nil, 0, w.closed
}

// run is the writer's goroutine.
func (w *Writer) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l, wait, stop := w.next()
		switch {
		case l != nil:
			l.writeBehind()
		case stop:
			w.closeHandles(0)
			return
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-w.wake:
			case <-timer.C:
			}
		default:
			timer.Stop()
			<-w.wake
		}
	}
}

// opened tells that l opened a write handle.
func (w *Writer) opened(l *Log) {
	w.mu.Lock()
	w.open = append(w.open, l)
	w.mu.Unlock()
}

// closedHandle tells that l closed its write handle.
func (w *Writer) closedHandle(l *Log) {
	w.mu.Lock()
	for i, o := range w.open {
		if o == l {
			w.open = append(w.open[:i], w.open[i+1:]...)
			break
		}
	}
	w.mu.Unlock()
}

// closeHandles closes write handles, the least recently opened first, until
// at most keep are left. A log that is busy is left alone.
func (w *Writer) closeHandles(keep int) {
	w.mu.Lock()
	var victims []*Log
	if n := len(w.open) - keep; n > 0 {
		victims = append(victims, w.open[:n]...)
	}
	w.mu.Unlock()
	for _, l := range victims {
		l.restHandle()
	}
}

// takeScratch returns an aligned buffer of scratchBytes.
func (w *Writer) takeScratch() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.scratch); n > 0 {
		b := w.scratch[n-1]
		w.scratch = w.scratch[:n-1]
		return b
	}
	return vfs.AlignedBuffer(scratchBytes)
}

func (w *Writer) giveScratch(b []byte) {
	w.mu.Lock()
	if len(w.scratch) < scratchSpare {
		w.scratch = append(w.scratch, b)
	}
	w.mu.Unlock()
}

func (w *Writer) wrote(n int64) {
	w.mu.Lock()
	w.stats.Writes++
	w.stats.WrittenBytes += uint64(n)
	w.mu.Unlock()
}

func (w *Writer) synced() {
	w.mu.Lock()
	w.stats.Syncs++
	w.mu.Unlock()
}
