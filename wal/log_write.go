package wal

import (
	"errors"
	"path"

	"github.com/levada-stream/levada/internal/vfs"
)

const (
	// writeBytesMax bounds one write; a larger block makes a larger one.
	writeBytesMax = 4 << 20
	// growBytesMax is the most space that a segment reserves ahead.
	growBytesMax = 4 << 20
)

// tail is the end of a log's last, unsealed segment. Guarded by Log.ioMu.
type tail struct {
	seg      *segment
	f        vfs.File // nil while the handle is closed
	direct   bool
	off      int64 // where the next write begins; a multiple of the page size
	data     int64 // where the last write that has blocks ends, or the last block
	reserved int64 // size of the file
	synced   int64 // everything below is durable
	promised int64 // the largest promise that a write in the file carries
	named    bool  // the file's name is durable
}

// writeBehind writes what is in memory, and syncs it if somebody waits for
// that. The Writer's goroutine calls it.
func (l *Log) writeBehind() {
	l.ioMu.Lock()
	var err error
	if l.isOpen() {
		if err = l.drain(); err == nil && l.wantsSync() {
			err = l.sync()
		}
	}
	l.ioMu.Unlock()
	if err != nil && !errors.Is(err, ErrFailed) {
		_ = l.fail(err) // told to OnError and to whoever uses the log next
	}
	l.w.closeHandles(l.w.o.OpenFilesMax)
}

func (l *Log) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed
}

func (l *Log) wantsSync() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.syncTo > l.durable.Next
}

// drain writes all blocks that were in memory when it began. Call it with ioMu held.
func (l *Log) drain() error {
	l.mu.Lock()
	end := l.pos.Next
	l.mu.Unlock()
	for {
		l.mu.Lock()
		err, pending := l.failed, l.mem[l.flushed:]
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if len(pending) == 0 || pending[0].first >= end {
			return nil
		}
		if err := l.writeSome(pending); err != nil {
			return err
		}
	}
}

// writeSome writes the first of the pending blocks, as many as one write takes.
func (l *Log) writeSome(pending []*memBlock) error {
	if t := l.tail; t != nil && !t.seg.empty() && t.off+writeLength(pending[:1]) > l.o.SegmentBytes {
		if err := l.seal(); err != nil {
			return err
		}
	}
	if err := l.openTail(pending[0].first); err != nil {
		return err
	}
	limit := min(l.o.SegmentBytes-max(l.tail.off, pageSize), writeBytesMax)
	n, bytes := 0, int64(writeHeaderSize)
	for _, b := range pending {
		bytes += BlockHeaderSize + int64(b.length)
		if n > 0 && pageCeil(bytes) > limit {
			break
		}
		n++
	}
	return l.write(pending[:n])
}

func writeLength(blocks []*memBlock) int64 {
	n := int64(writeHeaderSize)
	for _, b := range blocks {
		n += BlockHeaderSize + int64(b.length)
	}
	return pageCeil(n)
}

// openTail makes sure that there is an unsealed last segment, open for
// writing. A new one begins at the ordinal next; its header goes out with its first write.
func (l *Log) openTail(next uint64) error {
	t := l.tail
	if t == nil {
		l.mu.Lock()
		start := l.written
		l.mu.Unlock()
		name := path.Join(l.dir, segmentName(next))
		f, err := l.fs.Create(name)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		id := newSegmentID(l.o.Group, l.o.Shard, next)
		t = &tail{seg: &segment{path: name, id: id, start: start, end: start}}
		l.tail = t
	}
	if t.f != nil {
		return nil
	}
	f, direct, err := l.fs.OpenDirect(t.seg.path)
	if err != nil {
		return err
	}
	t.f, t.direct = f, direct
	l.w.opened(l)
	return nil
}

// write puts the blocks into one write at the tail's end.
func (l *Log) write(blocks []*memBlock) error {
	t := l.tail
	at := max(t.off, pageSize) // of the write; the header page may come before
	l.mu.Lock()
	before := l.written
	l.mu.Unlock()
	var n int64
	for _, b := range blocks {
		n += BlockHeaderSize + int64(b.length)
	}
	wh := newWriteHeader(n, at, t.synced, before)
	parts := l.layOut(wh, blocks)
	if err := l.put(parts, t.off, at+wh.length); err != nil {
		return err
	}
	t.off = at + wh.length
	t.promised = max(t.promised, wh.promise)
	if len(blocks) > 0 {
		t.data = t.off
	}
	l.noteWritten(blocks, at+int64(wh.pad))
	return nil
}

// layOut returns the bytes of a write as a list of buffers, payloads by reference.
func (l *Log) layOut(wh writeHeader, blocks []*memBlock) [][]byte {
	t := l.tail
	lead := 0
	if t.off == 0 {
		lead = pageSize
	}
	heads := make([]byte, lead+int(wh.pad)+len(blocks)*BlockHeaderSize)
	if lead > 0 {
		sh := t.seg.id.header(t.seg.start)
		sh.encode(heads)
	}
	wh.encode(heads[lead:], t.seg.id.salt())
	cut := lead + int(wh.pad)
	parts := append(make([][]byte, 0, 1+2*len(blocks)), heads[:cut])
	for _, b := range blocks {
		head := heads[cut : cut+BlockHeaderSize]
		cut += BlockHeaderSize
		b.encode(head)
		parts = append(parts, head)
		parts = append(parts, b.payload...)
	}
	return parts
}

// put writes parts, whole pages in sum, at off; they end at end.
func (l *Log) put(parts [][]byte, off, end int64) error {
	t := l.tail
	l.grow(end)
	if !t.direct {
		if _, err := t.f.WritevAt(parts, off); err != nil {
			return err
		}
		l.w.wrote(end - off)
		return nil
	}
	scratch := l.w.takeScratch()
	defer l.w.giveScratch(scratch)
	n := 0
	for _, p := range parts {
		for len(p) > 0 {
			c := copy(scratch[n:], p)
			n, p = n+c, p[c:]
			if n < len(scratch) {
				continue
			}
			if err := l.putAligned(scratch, off); err != nil {
				return err
			}
			off, n = off+int64(n), 0
		}
	}
	if n == 0 {
		return nil
	}
	return l.putAligned(scratch[:n], off)
}

func (l *Log) putAligned(b []byte, off int64) error {
	if _, err := l.tail.f.WriteAt(b, off); err != nil {
		return err
	}
	l.w.wrote(int64(len(b)))
	return nil
}

// grow reserves space in steps, so that a busy segment is not extended by
// every write and an idle one stays small.
func (l *Log) grow(end int64) {
	t := l.tail
	if end <= t.reserved {
		return
	}
	want := end
	if t.off > 0 {
		want = max(end, min(end+min(end, growBytesMax), l.o.SegmentBytes&^(pageSize-1)))
	}
	// A reservation that fails is no failure: the write that follows tells.
	if want > end && t.f.Preallocate(want) != nil {
		want = end
	}
	t.reserved = want
}

// noteWritten moves blocks, the first of them at off, from waiting to written.
func (l *Log) noteWritten(blocks []*memBlock, off int64) {
	t := l.tail
	tickets := make([]*ticket, len(blocks))
	var cost int64
	l.mu.Lock()
	if l.failed != nil { // meanwhile; it has forgotten the blocks
		l.mu.Unlock()
		return
	}
	for i, b := range blocks {
		t.seg.note(&b.blockHeader, off)
		off += BlockHeaderSize + int64(b.length)
		b.ticket = &ticket{log: l, bytes: b.cost()}
		tickets[i] = b.ticket
		cost += b.cost()
	}
	t.seg.size, t.seg.fileSize = t.off, t.reserved
	if n := len(l.segs); n == 0 || l.segs[n-1] != t.seg {
		l.segs = append(l.segs, t.seg)
	}
	l.flushed += len(blocks)
	l.written = t.seg.end
	l.mu.Unlock()
	l.w.release(cost)
	for log, n := range l.w.recent.add(tickets) {
		log.letGo(n)
	}
}

// sync makes everything written durable. Call it with ioMu held.
func (l *Log) sync() error {
	t := l.tail
	if t == nil || t.synced == t.off {
		l.advance()
		return nil
	}
	if err := l.openTail(t.seg.start.Next); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	l.w.synced()
	if !t.named {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
		t.named = true
	}
	t.synced = t.off
	l.advance()
	return nil
}

// advance declares everything written durable.
func (l *Log) advance() {
	l.mu.Lock()
	l.durable = l.written
	l.notify()
	l.mu.Unlock()
}

// seal ends the last segment with a footer. The data is synced before the
// footer is written, because a good footer vouches for it.
func (l *Log) seal() error {
	if err := l.sync(); err != nil {
		return err
	}
	t := l.tail
	if err := l.openTail(t.seg.start.Next); err != nil {
		return err
	}
	s := t.seg
	f := footer{
		entries: uint32(len(s.index)), dataEnd: t.off, end: s.end,
		firstTime: s.firstTime,
	}
	pages := vfs.AlignedBuffer(int(footerLength(len(s.index))))
	encodeFooter(f, s.index, s.id.salt(), pages)
	size := t.off + int64(len(pages))
	if _, err := t.f.WriteAt(pages, t.off); err != nil {
		return err
	}
	if err := t.f.Truncate(size); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		return err
	}
	l.w.synced()
	l.mu.Lock()
	s.sealed, s.fileSize, s.index = true, size, nil
	l.mu.Unlock()
	err := errors.Join(l.closeTail(), l.w.files.drop(s)) // a reader's handle may have the index of an earlier seal
	l.tail = nil
	return err
}

// closeTail closes the write handle.
func (l *Log) closeTail() error {
	t := l.tail
	if t == nil || t.f == nil {
		return nil
	}
	f := t.f
	t.f = nil
	l.w.closedHandle(l)
	return f.Close()
}

// restHandle closes the write handle of a log that is not busy, after a sync:
// the next descriptor might not hear of an error that this one would.
func (l *Log) restHandle() {
	if !l.ioMu.TryLock() {
		return
	}
	var err error
	if l.tail != nil && l.tail.f != nil && l.Err() == nil {
		err = l.sync()
	}
	err = errors.Join(err, l.closeTail())
	l.ioMu.Unlock()
	if err != nil {
		_ = l.fail(err)
	}
}
