package journal

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/levada-stream/levada/internal/vfs"
)

const (
	segmentSuffix = ".seg"
	sparePrefix   = "spare-" // written full, ready to be a segment
	freshPrefix   = "fresh-" // still being written
	lockName      = "LOCK"
)

func segmentName(sequence uint64) string { return fmt.Sprintf("%020d%s", sequence, segmentSuffix) }

// segmentSequence reads a name that segmentName made.
func segmentSequence(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// segment is an open segment file.
type segment struct {
	// immutable
	sequence    uint64
	incarnation uint64
	path        string
	size        int64
	file        vfs.File
	direct      bool

	// use is held for reading while the file is read; whoever closes or renames it locks it.
	// It is taken after the journal's mutex.
	use sync.RWMutex

	// owned by the writer goroutine
	end int64 // where the next round goes

	// guarded by the journal's mutex
	live      map[uint64]int64 // bytes of live records per group; no zeros
	liveBytes int64
	asked     bool // groups with much in here were asked to snapshot
}

// hold adds to the live bytes of a group; negative bytes give back.
func (s *segment) hold(group uint64, bytes int64) {
	s.liveBytes += bytes
	if left := s.live[group] + bytes; left != 0 {
		s.live[group] = left
	} else {
		delete(s.live, group)
	}
}

// readRecord reads and checks the record at a location. It may run beside the writer.
func (s *segment) readRecord(at location) (record, error) {
	b := make([]byte, at.length)
	if _, err := s.file.ReadAt(b, int64(at.offset)); err != nil {
		return record{}, fmt.Errorf("read %s at %d: %w", s.path, at.offset, err)
	}
	r, err := decodeRecord(b)
	if err == nil && !r.kind.isEntry() {
		err = fmt.Errorf("%w: kind %d is no entry", errMalformed, r.kind)
	}
	if err != nil {
		return record{}, &CorruptError{Path: s.path, Offset: int64(at.offset), Reason: err.Error()}
	}
	return r, nil
}

// spares makes and keeps files that are written full, so that syncing what is
// written over them allocates nothing.
type spares struct {
	// immutable
	fs   vfs.FS
	dir  string
	size int64
	most int // how many to keep of those that come back

	making chan struct{} // holds a token while one is made
	signal chan struct{} // wakes the goroutine that makes them; capacity 1: one wake is enough

	mu    sync.Mutex
	names []string // guarded by mu
	next  uint64   // number in the next name; guarded by mu
}

func newSpares(fs vfs.FS, dir string, size int64, most int) *spares {
	return &spares{fs: fs, dir: dir, size: size, most: most, making: make(chan struct{}, 1), signal: make(chan struct{}, 1)}
}

// adopt takes over a file found at open, which must be of the right size.
func (s *spares) adopt(name string, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, name)
	s.next = max(s.next, number+1)
}

// run keeps one spare ready until quit is closed. It makes no more ahead: in a
// steady state as many files come back as are taken, and writing zeros beside
// the journal's own writes would only take the disk from them. A failure here
// harms nobody yet: whoever needs a file makes one, and fails if that fails.
func (s *spares) run(quit <-chan struct{}, warn func(error)) {
	for {
		select {
		case <-quit:
			return
		case <-s.signal:
		}
		for s.count() == 0 {
			select {
			case <-quit:
				return
			case s.making <- struct{}{}:
			}
			err := s.makeOne()
			<-s.making
			if err != nil {
				warn(err)
				break
			}
		}
	}
}

func (s *spares) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *spares) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names)
}

func (s *spares) pop() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) == 0 {
		return "", false
	}
	name := s.names[len(s.names)-1]
	s.names = s.names[:len(s.names)-1]
	return name, true
}

// take returns the name of a spare, making one if there is none.
func (s *spares) take() (string, error) {
	defer s.wake()
	if name, ok := s.pop(); ok {
		return name, nil
	}
	s.making <- struct{}{} // wait for the one that is being made
	defer func() { <-s.making }()
	if name, ok := s.pop(); ok {
		return name, nil
	}
	if err := s.makeOne(); err != nil {
		return "", err
	}
	name, _ := s.pop()
	return name, nil
}

func (s *spares) newName() (fresh, spare string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next
	s.next++
	return fmt.Sprintf("%s%020d", freshPrefix, n), fmt.Sprintf("%s%020d", sparePrefix, n)
}

// makeOne writes a file full of zeros. The caller holds the token.
func (s *spares) makeOne() error {
	fresh, spare := s.newName()
	if err := s.fill(path.Join(s.dir, fresh)); err != nil {
		return fmt.Errorf("make a spare segment: %w", err)
	}
	if err := s.fs.Rename(path.Join(s.dir, fresh), path.Join(s.dir, spare)); err != nil {
		return fmt.Errorf("make a spare segment: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, spare)
	return nil
}

func (s *spares) fill(name string) error {
	f, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	err = f.Preallocate(s.size)
	zeros := vfs.AlignedBuffer(int(min(s.size, 1<<20)))
	for off := int64(0); off < s.size && err == nil; off += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), s.size-off)], off)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = s.fs.Remove(name) // gives the room back; the next open removes it otherwise
	}
	return err
}

// giveBack makes a segment file a spare, or removes it if there are enough, durably.
func (s *spares) giveBack(name string, size int64) error {
	if size != s.size || s.count() >= s.most {
		if err := s.fs.Remove(path.Join(s.dir, name)); err != nil {
			return err
		}
		return s.fs.SyncDir(s.dir)
	}
	_, spare := s.newName()
	if err := s.fs.Rename(path.Join(s.dir, name), path.Join(s.dir, spare)); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, spare)
	return nil
}
