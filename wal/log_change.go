package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"

	"github.com/levada-stream/levada/internal/vfs"
)

// rollBytesMin is the size from which on a last segment is replaced when all
// its records may be deleted; a smaller one is not worth it.
const rollBytesMin = 1 << 20

// TruncateTo drops everything at and above the ordinal p.Next, durably: the
// recovery of a replica whose snapshot is at p. It returns ErrShort if the log
// ends below p, a *TrimmedError if it begins above, and ErrDiverged, changing
// nothing, if p is not between two blocks of the log or its cumulative hash differs.
func (l *Log) TruncateTo(p Position) error {
	l.ioMu.Lock()
	defer l.ioMu.Unlock()
	if err := l.settle(); err != nil {
		return err
	}
	l.mu.Lock()
	pos, first := l.pos, l.first()
	l.mu.Unlock()
	switch {
	case p.Next > pos.Next:
		return fmt.Errorf("%w: it ends at %d, the position is %d", ErrShort, pos.Next, p.Next)
	case p.Next < first:
		return &TrimmedError{First: first}
	case p.Next == pos.Next && p.Chain != pos.Chain:
		return fmt.Errorf("%w at ordinal %d", ErrDiverged, p.Next)
	case p.Next == pos.Next:
		return nil
	}
	c, err := l.findCut(p)
	if err != nil {
		return err
	}
	if err := l.truncate(c); err != nil {
		return l.fail(err)
	}
	return nil
}

// settle writes everything in memory. Call it with ioMu held.
func (l *Log) settle() error {
	l.mu.Lock()
	err := l.usable()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.drain(); err != nil {
		return l.fail(err)
	}
	return nil
}

// cutPoint is a place between two blocks of a segment.
type cutPoint struct {
	nth    int // of the segment
	pos    Position
	end    int64 // offset; pageSize at the segment's start
	onPage bool  // a write ends there
	index  []indexEntry
}

// findCut finds the place of p, which lies inside the written log.
func (l *Log) findCut(p Position) (cutPoint, error) {
	l.mu.Lock()
	c := cutPoint{nth: sort.Search(len(l.segs), func(i int) bool { return l.segs[i].end.Next > p.Next })}
	s := l.segs[c.nth]
	v := l.view(s)
	l.mu.Unlock()
	if s.start.Next == p.Next {
		c.pos, c.end, c.onPage = s.start, pageSize, true
	} else if err := l.withSegment(v, false, func(w *window, index []indexEntry) error {
		return c.locate(w, v, index, p.Next)
	}); err != nil {
		return c, err
	}
	if c.pos.Next != p.Next || c.pos.Chain != p.Chain {
		return c, fmt.Errorf("%w at ordinal %d", ErrDiverged, p.Next)
	}
	return c, nil
}

// locate finds the end of the block that holds the record before ordinal.
func (c *cutPoint) locate(w *window, v view, index []indexEntry, ordinal uint64) error {
	next, off, err := startAt(index, ordinal-1)
	if err != nil {
		return corrupt(v.seg.path, v.size, "%v", err)
	}
	w.reuse, w.chunk = true, readChunkMin
	r := blockReader{w: w, path: v.seg.path, salt: v.seg.id.salt(), off: off, next: next}
	for r.next < ordinal {
		h, _, ok, err := r.header(false)
		if err != nil {
			return err
		}
		if !ok {
			return corrupt(v.seg.path, r.off, "the segment should hold ordinal %d", ordinal)
		}
		c.pos = h.position()
		r.pass(&h)
	}
	c.end = r.off
	c.index = slices.Clone(index[:sort.Search(len(index), func(i int) bool { return index[i].offset >= c.end })])
	if c.onPage = c.end == v.size; c.onPage {
		return nil
	}
	it, err := w.item(c.end, r.salt)
	if err != nil {
		return r.wrong(err)
	}
	c.onPage = it.kind == itemWrite
	if it.kind == itemCut {
		c.end, c.onPage = it.next, true
	}
	return nil
}

// truncate makes the log end at c. Readers see it shortened before the files are.
func (l *Log) truncate(c cutPoint) error {
	if err := l.closeTail(); err != nil {
		return err
	}
	l.mu.Lock()
	s := l.segs[c.nth]
	keep := c.nth + 1
	if s.start.Next == c.pos.Next && c.nth > 0 {
		keep = c.nth // it would be empty; the one before is whole
	}
	gone := slices.Clone(l.segs[keep:])
	l.segs = slices.Clone(l.segs[:keep])
	if keep > c.nth {
		s.end, s.size, s.sealed, s.index = c.pos, c.end, false, c.index
	}
	l.forgetFrom(c.pos)
	l.mu.Unlock()
	l.tail = nil
	if err := l.removeSegments(gone); err != nil {
		return err
	}
	if err := l.w.files.drop(s); err != nil {
		return err
	}
	if keep > c.nth {
		l.tail = &tail{seg: s, off: c.end, named: true}
		if err := l.cut(c.end, c.onPage); err != nil {
			return err
		}
		if err := l.fs.SyncDir(l.dir); err != nil { // the file may never have been synced yet
			return err
		}
		l.mu.Lock()
		s.size, s.fileSize = l.tail.off, l.tail.reserved
		l.mu.Unlock()
	}
	l.advance()
	return nil
}

// forgetFrom drops the blocks in memory and makes the log end at p for its
// readers and appenders. Call it with mu held, and nothing unwritten.
func (l *Log) forgetFrom(p Position) {
	l.gen++
	l.dropMemory()
	l.pos, l.written, l.syncTo = p, p, 0
	if l.durable.Next > p.Next { // otherwise not before the files are synced
		l.durable = p
	}
}

// removeSegments removes files, the last first and each durably before the
// next, so that a crash in between leaves a log without a gap.
func (l *Log) removeSegments(segs []*segment) error {
	for _, s := range slices.Backward(segs) {
		if err := l.removeSegment(s); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) removeSegment(s *segment) error {
	if err := l.unlink(s); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// unlink removes a segment's file. One that is gone already is no error: it may be a second try.
func (l *Log) unlink(s *segment) error {
	if err := l.w.files.drop(s); err != nil {
		return err
	}
	if err := l.fs.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// DeleteBefore removes whole segments that hold only records below the
// ordinal. The last segment stays, unless all of it may go and it is large: then
// an empty one takes its place. After an error the records are out of the log,
// and the next call tries again to remove their files, unless the log has failed.
func (l *Log) DeleteBefore(ordinal uint64) error {
	l.ioMu.Lock()
	defer l.ioMu.Unlock()
	if err := l.roll(ordinal); err != nil {
		return err
	}
	l.mu.Lock()
	if err := l.usable(); err != nil {
		l.mu.Unlock()
		return err
	}
	n := 0
	for n < len(l.segs)-1 && l.segs[n].end.Next <= ordinal {
		n++
	}
	if n > 0 {
		l.dead = append(l.dead, l.segs[:n]...)
		l.segs = slices.Clone(l.segs[n:])
		l.gen++
	}
	l.mu.Unlock()
	// The first goes first and durably, so that a crash leaves no gap.
	for len(l.dead) > 0 {
		if err := l.unlink(l.dead[0]); err != nil {
			return err
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return l.fail(err) // a second try may report success for a name that comes back
		}
		l.dead = l.dead[1:]
	}
	return nil
}

// roll puts an empty segment behind the last one if that may go as a whole.
func (l *Log) roll(ordinal uint64) error {
	l.mu.Lock()
	n := len(l.segs)
	whole := l.usable() == nil && n > 0 && l.flushed == len(l.mem) && ordinal >= l.pos.Next &&
		!l.segs[n-1].empty() && l.segs[n-1].fileSize >= rollBytesMin
	l.mu.Unlock()
	if !whole {
		return nil
	}
	if l.tail != nil {
		if err := l.seal(); err != nil {
			return l.fail(err)
		}
	}
	l.mu.Lock()
	start := l.written
	l.mu.Unlock()
	if err := l.createEmpty(start); err != nil {
		return l.fail(err)
	}
	return nil
}

// createEmpty makes a last segment that has only its header, durably.
func (l *Log) createEmpty(start Position) error {
	name := path.Join(l.dir, segmentName(start.Next))
	f, err := l.fs.Create(name)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	s := &segment{
		path: name, id: newSegmentID(l.o.Group, l.o.Shard, start.Next),
		start: start, end: start, size: pageSize, fileSize: pageSize,
	}
	l.tail = &tail{seg: s}
	if err := l.openTail(start.Next); err != nil {
		return err
	}
	page := vfs.AlignedBuffer(pageSize)
	h := s.id.header(start)
	h.encode(page)
	if _, err := l.tail.f.WriteAt(page, 0); err != nil {
		return err
	}
	l.tail.off, l.tail.reserved = pageSize, pageSize
	if err := l.sync(); err != nil {
		return err
	}
	l.mu.Lock()
	l.segs = append(l.segs, s)
	l.mu.Unlock()
	return nil
}

// Reset drops everything and makes the log empty at p, durably: for a replica
// that gets a snapshot whose history it does not have. A crash in between
// leaves a log that ends early or is empty at the zero position.
func (l *Log) Reset(p Position) error {
	l.ioMu.Lock()
	defer l.ioMu.Unlock()
	if err := l.settle(); err != nil {
		return err
	}
	if err := l.reset(p); err != nil {
		return l.fail(err)
	}
	return nil
}

func (l *Log) reset(p Position) error {
	if err := l.closeTail(); err != nil {
		return err
	}
	l.mu.Lock()
	gone := append(slices.Clone(l.dead), l.segs...)
	l.dead, l.segs, l.tail = nil, nil, nil
	l.base = p
	l.forgetFrom(p)
	l.durable = Position{}
	l.mu.Unlock()
	if err := l.removeSegments(gone); err != nil {
		return err
	}
	if p != (Position{}) {
		if err := l.createEmpty(p); err != nil {
			return err
		}
	}
	l.advance()
	return nil
}
