package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/levada-stream/levada/internal/vfs"
)

// Open opens the log in dir and makes the directory if it is absent. It cuts a
// torn tail, then syncs, so that all it holds is durable. Bytes that were
// durable and are wrong now, and segments that do not follow one another, are a
// *CorruptError and nothing is changed. What it cuts it logs as a warning.
// Sealed segments are believed by their footers; Verify checks them whole.
func Open(fsys vfs.FS, dir string, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	l := &Log{fs: fsys, dir: dir, o: o, w: o.Writer, changed: make(chan struct{})}
	if err := l.recover(); err != nil {
		return nil, errors.Join(err, l.closeTail())
	}
	return l, nil
}

func (l *Log) recover() error {
	firsts, err := listSegments(l.fs, l.dir)
	if err != nil {
		return err
	}
	for i, first := range firsts {
		last := i == len(firsts)-1
		s, err := l.recoverSegment(first, last)
		if err != nil {
			return err
		}
		if s == nil { // torn at its creation, and removed
			continue
		}
		l.segs = append(l.segs, s)
		l.pos = s.end
	}
	if err := l.closeTail(); err != nil {
		return err
	}
	l.written, l.durable = l.pos, l.pos
	if len(l.segs) == 0 {
		l.base = l.pos
	}
	return nil
}

// recoverSegment reads one segment. Only the last may be unsealed, or have no good header.
func (l *Log) recoverSegment(first uint64, last bool) (*segment, error) {
	name := path.Join(l.dir, segmentName(first))
	f, err := l.fs.Open(name)
	if err != nil {
		return nil, err
	}
	s, err := l.readSegment(f, name, first, last)
	return s, errors.Join(err, f.Close())
}

func (l *Log) readSegment(f vfs.File, name string, first uint64, last bool) (*segment, error) {
	h, err := readHeader(f, name, first)
	if err != nil {
		if last && errors.Is(err, ErrCorrupt) {
			return nil, l.dropStillborn(f, name, first, err)
		}
		return nil, err
	}
	if h.group != l.o.Group || h.shard != l.o.Shard {
		return nil, corrupt(name, 0, "the segment belongs to group %d, shard %d; this log is group %d, shard %d",
			h.group, h.shard, l.o.Group, l.o.Shard)
	}
	if len(l.segs) > 0 { // before anything is changed: what does not fit is evidence
		if err := checkJoin(name, l.pos, h.start); err != nil {
			return nil, err
		}
	}
	s := &segment{path: name, id: h.id(), start: h.start, end: h.start}
	ft, size, footErr := readFooter(f, s.path, s.id)
	if footErr == nil && last { // a crash may have torn it, which shows in the index alone
		_, footErr = readIndex(f, s.path, s.id, ft)
	}
	if isReadError(footErr) {
		return nil, footErr
	}
	if footErr == nil {
		s.end, s.firstTime = ft.end, ft.firstTime
		s.size, s.fileSize, s.sealed = ft.dataEnd, size, true
		if last {
			return s, l.settleFooter(s)
		}
		return s, nil
	}
	if !last {
		return nil, footErr
	}
	return s, l.recoverTail(f, s, &h)
}

// settleFooter makes the footer of the last segment durable: the process before may have ended
// between writing and syncing it, and a later segment would turn its loss into corruption.
func (l *Log) settleFooter(s *segment) error {
	f, _, err := l.fs.OpenDirect(s.path)
	if err != nil {
		return err
	}
	err = rewrite(f, s.size, s.fileSize)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// rewrite writes whole pages of a file as they read: after a failed sync the system may show
// bytes that never reached the disk and that a sync alone would not write.
func rewrite(f vfs.File, from, to int64) error {
	buf := vfs.AlignedBuffer(int(min(to-from, scanChunk)))
	for off := from; off < to; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), to-off)]
		if n, err := f.ReadAt(buf, off); n < len(buf) {
			return fmt.Errorf("read what is to be made durable: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if _, err := f.WriteAt(buf, off); err != nil {
			return err
		}
	}
	return nil
}

// dropStillborn removes a segment whose header never reached the disk.
func (l *Log) dropStillborn(f vfs.File, name string, first uint64, headerErr error) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	ok, err := stillborn(f, size)
	if err != nil {
		return err
	}
	if !ok {
		return headerErr
	}
	if len(l.segs) > 0 && first != l.pos.Next { // segments are made where the log ends: this one is something else
		return checkJoin(name, l.pos, Position{Next: first})
	}
	l.o.Logger.Warn("removing a segment that a crash left without header", "path", name, "bytes", size)
	if err := l.fs.Remove(name); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// recoverTail walks the unsealed last segment, cuts what is torn and syncs the rest.
func (l *Log) recoverTail(f vfs.File, s *segment, h *segmentHeader) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	res, err := scanTail(f, s.path, h, size, func(off int64, h *blockHeader, _ []byte) error {
		s.note(h, off)
		return nil
	})
	if err != nil {
		return err
	}
	s.end = res.pos
	t := &tail{seg: s, off: res.end, data: res.data, reserved: size, promised: res.promise}
	l.tail = t
	if res.torn {
		l.o.Logger.Warn("cutting a torn tail that a crash left", "path", s.path, "offset", res.end, "bytes", res.tornBytes,
			"next", res.pos.Next, "reason", res.bad)
	}
	if res.torn || size%pageSize != 0 {
		if err := l.cut(res.end, res.onPage); err != nil {
			return err
		}
	}
	if res.promise < t.off {
		if err := l.openTail(s.start.Next); err != nil {
			return err
		}
		if err := rewrite(t.f, res.promise, t.off); err != nil {
			return err
		}
		if err := t.f.Sync(); err != nil {
			return err
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
	}
	t.synced, t.named = t.off, true
	s.size, s.fileSize = t.off, t.reserved
	return nil
}

// cut ends the tail at the offset end of a block. If no write ends there, a cut
// block fills the page. The page's bytes before end do not change, so that
// a crash in between harms nothing: the log still ends there.
func (l *Log) cut(end int64, onPage bool) error {
	t := l.tail
	if err := l.openTail(t.seg.start.Next); err != nil {
		return err
	}
	// First the bytes behind go, durably: next to a cut block they would look like damage.
	size := pageCeil(end)
	if err := t.f.Truncate(size); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	if !onPage {
		n := cutLength(end)
		from := end &^ (pageSize - 1)
		pages := vfs.AlignedBuffer(int(end + n - from))
		if end > from {
			if got, err := t.f.ReadAt(pages[:end-from], from); got < int(end-from) {
				return fmt.Errorf("read the page to cut: %w", errors.Join(err, fs.ErrInvalid))
			}
		}
		encodeCut(pages[end-from:], end, t.seg.id.salt())
		if _, err := t.f.WriteAt(pages, from); err != nil {
			return err
		}
		if err := t.f.Sync(); err != nil {
			return err
		}
		size = end + n
	}
	t.off, t.data, t.reserved, t.synced = size, size, size, size
	return nil
}
