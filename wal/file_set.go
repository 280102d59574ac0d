package wal

import (
	"container/list"
	"errors"
	"sync"

	"github.com/levada-stream/levada/internal/vfs"
)

// fileSet keeps a bounded number of segments open for reading, over all logs, each with a second descriptor
// once it was read in bulk.
type fileSet struct {
	max int // immutable

	mu   sync.Mutex
	open map[*segment]*list.Element // of *readHandle
	lru  *list.List                 // most recently used first
}

// readHandle is a segment open for reading. refs, dead and the index are
// guarded by fileSet.mu; a handle with refs > 0 is not closed.
type readHandle struct {
	seg   *segment
	f     vfs.File
	bulk  vfs.File // opened when a large read needs it; nil until then
	plain bool     // there is no bulk to be had
	refs  int
	dead  bool // out of the set; the last user closes it
	index []indexEntry
}

func (s *fileSet) init(n int) {
	s.max = n
	s.open = make(map[*segment]*list.Element)
	s.lru = list.New()
}

func (s *fileSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Len()
}

func (s *fileSet) hit(seg *segment) *readHandle {
	e, ok := s.open[seg]
	if !ok {
		return nil
	}
	s.lru.MoveToFront(e)
	h := e.Value.(*readHandle)
	h.refs++
	return h
}

// acquire opens seg for reading; release gives the handle back.
func (s *fileSet) acquire(fsys vfs.FS, seg *segment) (*readHandle, error) {
	s.mu.Lock()
	h := s.hit(seg)
	s.mu.Unlock()
	if h != nil {
		return h, nil
	}
	f, err := fsys.Open(seg.path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if h = s.hit(seg); h == nil {
		h = &readHandle{seg: seg, f: f, refs: 1}
		s.open[seg] = s.lru.PushFront(h)
		f = nil
	}
	idle := s.evict()
	s.mu.Unlock()
	if f != nil { // another reader opened it meanwhile
		err = f.Close()
	}
	if err = errors.Join(err, closeAll(idle)); err != nil {
		return nil, errors.Join(err, s.release(h))
	}
	return h, nil
}

// release gives back a handle of acquire.
func (s *fileSet) release(h *readHandle) error {
	s.mu.Lock()
	h.refs--
	shut := h.dead && h.refs == 0
	s.mu.Unlock()
	if shut {
		return h.close()
	}
	return nil
}

// close closes a handle that is out of the set and that nobody uses.
func (h *readHandle) close() error {
	if h.bulk != nil {
		return errors.Join(h.f.Close(), h.bulk.Close())
	}
	return h.f.Close()
}

// bulkOf returns a file that reads h's segment past the page cache, nil where that cannot be.
func (s *fileSet) bulkOf(fsys vfs.FS, h *readHandle) vfs.File {
	s.mu.Lock()
	f, plain := h.bulk, h.plain
	s.mu.Unlock()
	if f != nil || plain {
		return f
	}
	f, direct, err := fsys.OpenReadDirect(h.seg.path)
	if err != nil {
		return nil // the ordinary read will do, or tell
	}
	s.mu.Lock()
	spare := f
	switch {
	case !direct:
		h.plain, f = true, nil
	case h.bulk != nil: // another reader was first
		f = h.bulk
	default:
		h.bulk, spare = f, nil
	}
	s.mu.Unlock()
	if spare != nil {
		_ = spare.Close() // nothing was done with it
	}
	return f
}

// drop closes the handle of a segment that goes away, once its readers are done.
func (s *fileSet) drop(seg *segment) error {
	s.mu.Lock()
	e, ok := s.open[seg]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	h := s.remove(e)
	s.mu.Unlock()
	if h != nil {
		return h.close()
	}
	return nil
}

// remove takes e out of the set and returns its handle if it is to be closed now.
func (s *fileSet) remove(e *list.Element) *readHandle {
	h := s.lru.Remove(e).(*readHandle)
	delete(s.open, h.seg)
	h.dead = true
	if h.refs == 0 {
		return h
	}
	return nil
}

func (s *fileSet) evict() []*readHandle {
	var idle []*readHandle
	for e := s.lru.Back(); e != nil && s.lru.Len() > s.max; {
		before := e.Prev()
		if e.Value.(*readHandle).refs == 0 {
			idle = append(idle, s.remove(e))
		}
		e = before
	}
	return idle
}

func closeAll(handles []*readHandle) error {
	var err error
	for _, h := range handles {
		err = errors.Join(err, h.close())
	}
	return err
}

// indexOf returns the index of a sealed segment, read once per handle.
func (s *fileSet) indexOf(h *readHandle) ([]indexEntry, error) {
	s.mu.Lock()
	index := h.index
	s.mu.Unlock()
	if index != nil {
		return index, nil
	}
	ft, _, err := readFooter(h.f, h.seg.path, h.seg.id)
	if err != nil {
		return nil, err
	}
	index, err = readIndex(h.f, h.seg.path, h.seg.id, ft)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	h.index = index
	s.mu.Unlock()
	return index, nil
}
