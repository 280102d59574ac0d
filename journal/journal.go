package journal

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/internal/vfs"
)

// Entry is a Raft entry. The journal keeps the slices it is given and never
// changes them; nobody else may either, nor what Get hands out.
type Entry struct {
	Index, Term uint64
	Type        uint8
	Data        []byte
	Extensions  []byte
	AppendedAt  int64 // Unix time in nanoseconds

	// Sum is the CRC32C of Data if Summed says so: who has computed it from the bytes anyway saves the
	// journal from reading them again. If it is wrong the entry is damaged in the journal. Get does not fill it in.
	Sum    uint32
	Summed bool
}

// Options of a journal. The zero value is usable.
type Options struct {
	SegmentBytes  int64 // size of a segment file; 0 means 64 MiB; rounded up to 4 KiB. Entries are limited to three quarters of it.
	SpareSegments int   // freed files to keep for reuse; 0 means half of what MaxBytes holds
	MaxBytes      int64 // from here on the oldest segment is freed whatever it holds; 0 means 1 GiB; soft
	CacheBytes    int64 // newest entries kept in memory; 0 means 64 MiB; negative means none
	MustExist     bool  // a directory without a journal is damage, not a new journal

	// RequestSnapshot asks a group to snapshot and then truncate its prefix. It is called from a
	// goroutine of its own, one call at a time, may be called again for the same group, and may be nil.
	RequestSnapshot func(group uint64)
	// OnFailure is called once, with an ErrFailed, when a disk error stopped the journal. It must
	// not call back into Close. It may be nil.
	OnFailure func(error)
	Logger    hclog.Logger // nil means none
}

// Stats is what a journal holds and did since Open.
type Stats struct {
	Groups         int   // with entries
	Segments       int   // in use
	Spares         int   // written files ready for use
	LiveBytes      int64 // records of entries that groups still hold
	CachedBytes    int64
	Rounds         int64 // written and synced
	WrittenBytes   int64 // of rounds, padding included
	RelocatedBytes int64 // of entries that were written again
	Recycled       int64 // segments freed
}

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	// immutable
	fs             vfs.FS
	dir            string
	options        Options
	log            hclog.Logger
	lock           io.Closer
	spares         *spares
	queue          *queue
	roundMax       int64       // bytes of requests that go into one round
	entryMax       int64       // bytes of one entry's record
	ask            chan uint64 // groups to ask for a snapshot; capacity: what one look at the oldest segment may want
	quit           chan struct{}
	newIncarnation func() uint64
	group          sync.WaitGroup // the goroutines; closed by Close
	close          sync.Once

	rounds, written, relocated, recycled atomic.Int64

	// owned by the writer goroutine (by Open before it starts)
	head      *segment
	nextRound uint64
	encoder   roundEncoder

	mu       sync.RWMutex
	state    *state              // guarded by mu
	segments []*segment          // oldest first, the head last; guarded by mu
	dirty    map[uint64]struct{} // groups with a prefix removal that no round holds; guarded by mu
	failed   error               // guarded by mu
	closed   bool                // guarded by mu
}

const (
	defaultSegmentBytes = 64 << 20
	defaultMaxBytes     = 1 << 30
	defaultCacheBytes   = 64 << 20
	segmentBytesMin     = 16 * pageSize
	segmentBytesMax     = 1 << 30
	roundBytesMax       = 8 << 20
	askMax              = 1024
)

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	o.SegmentBytes = min(max(pad(o.SegmentBytes), segmentBytesMin), segmentBytesMax)
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.SpareSegments == 0 {
		o.SpareSegments = int(max(o.MaxBytes/o.SegmentBytes/2, 2))
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}

// Open opens the journal in dir, making it if there is none, and replays it.
// It returns a *CorruptError if acknowledged bytes are damaged, vfs.ErrLocked
// if another process has it open.
func Open(fs vfs.FS, dir string, o Options) (*Journal, error) {
	return open(fs, dir, o, rand.Uint64)
}

// newJournal returns one that is not replayed yet.
func newJournal(fs vfs.FS, dir string, o Options) *Journal {
	o = o.withDefaults()
	return &Journal{
		fs:       fs,
		dir:      dir,
		options:  o,
		log:      o.Logger,
		spares:   newSpares(fs, dir, o.SegmentBytes, o.SpareSegments),
		queue:    newQueue(),
		roundMax: min(roundBytesMax, o.SegmentBytes/4),
		entryMax: o.SegmentBytes / 4 * 3,
		ask:      make(chan uint64, askMax),
		quit:     make(chan struct{}),
		state:    newState(max(0, o.CacheBytes)),
		dirty:    make(map[uint64]struct{}),
	}
}

// start runs the goroutines.
func (j *Journal) start() {
	j.group.Go(j.run)
	j.group.Go(func() {
		j.spares.run(j.quit, func(err error) { j.log.Warn("no spare journal segment", "error", err) })
	})
	j.group.Go(j.runRequests)
	j.spares.wake()
}

// submit queues a request and waits for its answer.
func (j *Journal) submit(r *request) error {
	if err := j.queue.put(r); err != nil {
		return err
	}
	return <-r.done
}

// Append stores entries of a group and returns when they are durable. The first index must be
// the one after the group's last (ErrGap otherwise); it is free if the group holds none. commit
// is stored atomically with the last of them, and is used up to the group's last entry; it may
// come without entries. One call larger than a quarter of a segment is made durable in several
// steps, in order, so that a crash may leave a first part of it.
func (j *Journal) Append(group uint64, entries []Entry, commit uint64) error {
	if err := j.check(group, entries); err != nil {
		return err
	}
	for {
		r, rest := j.appendRequest(group, entries)
		if entries = rest; len(entries) == 0 {
			r.commit = commit
		}
		if err := j.submit(r); err != nil || len(entries) == 0 {
			return err
		}
	}
}

// AppendLater is Append for a caller that does not wait: then is called once, with what Append
// would have returned, perhaps before AppendLater returns. It must not block, nor call the journal.
// What is handed over by one caller is stored in the order of its calls, and answered in this order unless the journal
// has failed. The caller bounds how much it has under way. A call that needs several steps waits for all but the last.
func (j *Journal) AppendLater(group uint64, entries []Entry, commit uint64, then func(error)) {
	if err := j.check(group, entries); err != nil {
		then(err)
		return
	}
	for {
		r, rest := j.appendRequest(group, entries)
		if entries = rest; len(entries) > 0 {
			if err := j.submit(r); err != nil {
				then(err)
				return
			}
			continue
		}
		r.commit, r.then = commit, then
		if err := j.queue.put(r); err != nil {
			then(err)
		}
		return
	}
}

// check refuses entries that cannot be stored whatever the journal holds.
func (j *Journal) check(group uint64, entries []Entry) error {
	for i := range entries {
		if size := entrySize(&entries[i]); int64(size) > j.entryMax {
			return fmt.Errorf("%w: entry %d of group %d has %d bytes, at most %d fit", ErrTooLarge, entries[i].Index, group, size, j.entryMax)
		}
		if entries[i].Index != entries[0].Index+uint64(i) || entries[i].Index == 0 {
			return fmt.Errorf("%w: index %d at place %d after %d", ErrGap, entries[i].Index, i, entries[0].Index)
		}
	}
	return nil
}

// appendRequest returns a request for the first of the entries, as many as go into one round, and the rest.
func (j *Journal) appendRequest(group uint64, entries []Entry) (r *request, rest []Entry) {
	r = newRequest(kindEntry, group)
	n := 0
	for ; n < len(entries); n++ {
		size := int64(entrySize(&entries[n]))
		if n > 0 && r.bytes+size > j.roundMax {
			break
		}
		r.bytes += size
	}
	r.entries = entries[:n]
	return r, entries[n:]
}

// TruncateSuffix removes the entries of a group from an index on and returns when that is durable.
func (j *Journal) TruncateSuffix(group, from uint64) error {
	r := newRequest(kindSuffix, group)
	r.from = from
	return j.submit(r)
}

// DeleteGroup removes everything of a group and returns when that is durable.
func (j *Journal) DeleteGroup(group uint64) error {
	return j.submit(newRequest(kindDelete, group))
}

// TruncatePrefix removes the entries of a group up to and including an index. It takes effect at
// once; a crash may bring the entries back.
func (j *Journal) TruncatePrefix(group, upTo uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.failed != nil:
		return j.failed
	case j.closed:
		return ErrClosed
	}
	g := j.state.groups[group]
	if g == nil || upTo < g.first {
		return nil
	}
	j.state.truncatePrefix(group, min(upTo, g.last)+1)
	j.dirty[group] = struct{}{}
	if len(j.segments) > 1 && j.segments[0].liveBytes == 0 {
		j.queue.nudge()
	}
	return nil
}

// Bounds returns the first and last index of a group, 0 and 0 if it holds no entries.
func (j *Journal) Bounds(group uint64) (first, last uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if g := j.state.groups[group]; g != nil {
		return g.first, g.last
	}
	return 0, 0
}

// Commit returns the highest commit index stored with entries of the group, never above its last entry.
func (j *Journal) Commit(group uint64) uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if g := j.state.groups[group]; g != nil {
		return g.commit
	}
	return 0
}

// Groups returns the groups that hold entries, sorted.
func (j *Journal) Groups() []uint64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	ids := make([]uint64, 0, len(j.state.groups))
	for id := range j.state.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Get reads an entry into e, whose slices nobody may change. It returns ErrNotFound,
// a *CorruptError if the bytes on disk fail their check, or the error of the read.
func (j *Journal) Get(group, index uint64, e *Entry) error {
	j.mu.RLock()
	found := j.state.find(group, index)
	switch {
	case found == nil:
		j.mu.RUnlock()
		return ErrNotFound
	case found.cached != nil:
		*e = found.cached.entry
		j.mu.RUnlock()
		return nil
	case j.closed:
		j.mu.RUnlock()
		return ErrClosed
	}
	at := *found
	at.segment.use.RLock() // before the mutex goes, so that nobody recycles the segment in between
	j.mu.RUnlock()
	r, err := at.segment.readRecord(at)
	at.segment.use.RUnlock()
	if err != nil {
		return err
	}
	if r.group != group || r.entry.Index != index {
		return &CorruptError{
			Path: at.segment.path, Offset: int64(at.offset),
			Reason: fmt.Sprintf("entry %d of group %d is where entry %d of group %d belongs", r.entry.Index, r.group, index, group),
		}
	}
	*e = r.entry
	return nil
}

// Stats returns counters.
func (j *Journal) Stats() Stats {
	s := Stats{
		Spares: j.spares.count(), Rounds: j.rounds.Load(), WrittenBytes: j.written.Load(),
		RelocatedBytes: j.relocated.Load(), Recycled: j.recycled.Load(),
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	s.Groups, s.Segments, s.CachedBytes = len(j.state.groups), len(j.segments), j.state.cache.bytes
	for _, seg := range j.segments {
		s.LiveBytes += seg.liveBytes
	}
	return s
}

// Failed returns the ErrFailed that stopped the journal, or nil.
func (j *Journal) Failed() error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.failed
}

// Close writes what waits, stops and gives the directory up. It returns the
// error that stopped the journal, if one did. Further calls do nothing.
func (j *Journal) Close() error {
	var errs []error
	j.close.Do(func() {
		j.queue.close(ErrClosed)
		close(j.quit)
		j.group.Wait()
		j.mu.Lock()
		j.closed = true
		segments := j.segments
		errs = append(errs, j.failed)
		j.mu.Unlock()
		for _, s := range segments {
			s.use.Lock()
			errs = append(errs, s.file.Close())
			s.use.Unlock()
		}
		errs = append(errs, j.lock.Close())
	})
	return errors.Join(errs...)
}
