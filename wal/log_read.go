package wal

import (
	"errors"
	"fmt"
	"sort"
	"sync"
)

const (
	readChunkMin = 16 << 10
	readChunkMax = 4 << 20
)

// Read returns whole blocks in order, from the one that holds the ordinal from.
// Their payloads have at most maxBytes in sum, but the first block comes
// whatever its size. The result is empty at the end of the log. Below First the
// error is a *TrimmedError. The blocks may alias memory of the log and of each other.
func (l *Log) Read(from uint64, maxBytes int) ([]Block, error) {
	found, err := l.read(from, maxBytes)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	blocks := make([]Block, len(found))
	for i, b := range found {
		blocks[i] = b.block(b.payload...)
	}
	return blocks, nil
}

func (l *Log) read(from uint64, maxBytes int) ([]*memBlock, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, ErrClosed
		}
		if from < l.first() {
			err := &TrimmedError{First: l.first()}
			l.mu.Unlock()
			return nil, err
		}
		if from >= l.pos.Next {
			l.mu.Unlock()
			return nil, nil
		}
		if len(l.mem) > 0 && l.mem[0].first <= from {
			mem := l.mem
			l.mu.Unlock()
			return collect(mem, from, maxBytes), nil
		}
		v := l.viewOf(from)
		l.mu.Unlock()
		found, err := l.readFile(v, from, maxBytes)
		if err == nil || !l.movedOn(v.gen) {
			return found, err
		}
	}
}

// movedOn reports whether blocks left the log since gen: then what a reader
// found in a file may be gone, and it has to look again.
func (l *Log) movedOn(gen uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gen != gen || l.closed
}

func collect(mem []*memBlock, from uint64, maxBytes int) []*memBlock {
	i := sort.Search(len(mem), func(i int) bool { return mem[i].end() > from })
	n, bytes := i, 0
	for ; n < len(mem); n++ {
		bytes += int(mem[n].length)
		if n > i && bytes > maxBytes {
			break
		}
	}
	return mem[i:n:n]
}

// view is what a reader needs of a segment, copied while Log.mu was held.
type view struct {
	seg    *segment
	gen    uint64
	size   int64
	sealed bool
	index  []indexEntry
}

// viewOf returns the segment that holds the ordinal. Call it with mu held.
func (l *Log) viewOf(ordinal uint64) view {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].end.Next > ordinal })
	return l.view(l.segs[i])
}

func (l *Log) view(s *segment) view {
	return view{seg: s, gen: l.gen, size: s.size, sealed: s.sealed, index: s.index}
}

// withSegment runs fn on the open segment of v and its index. With bulk the window reads large chunks past the page cache.
func (l *Log) withSegment(v view, bulk bool, fn func(w *window, index []indexEntry) error) error {
	h, err := l.w.files.acquire(l.fs, v.seg)
	if err != nil {
		return err
	}
	index := v.index
	if v.sealed {
		index, err = l.w.files.indexOf(h)
	}
	if err == nil {
		w := &window{f: h.f, end: v.size}
		if bulk {
			w.bulk = l.w.files.bulkOf(l.fs, h)
		}
		err = fn(w, index)
	}
	err = errors.Join(err, l.w.files.release(h))
	if l.movedOn(v.gen) { // the segment may be gone; no handle is to outlive it
		err = errors.Join(err, l.w.files.drop(v.seg))
	}
	return err
}

// startAt returns the index entry to begin at to find the ordinal.
func startAt(index []indexEntry, ordinal uint64) (uint64, int64, error) {
	i := sort.Search(len(index), func(i int) bool { return index[i].ordinal > ordinal })
	if i == 0 {
		return 0, 0, fmt.Errorf("the index begins after ordinal %d", ordinal)
	}
	return index[i-1].ordinal, index[i-1].offset, nil
}

func (l *Log) readFile(v view, from uint64, maxBytes int) ([]*memBlock, error) {
	var found []*memBlock
	err := l.withSegment(v, maxBytes >= bulkMin, func(w *window, index []indexEntry) (err error) {
		w.chunk = min(max(maxBytes+2*BlockHeaderSize, readChunkMin), readChunkMax)
		off, ok := l.hints.take(v, from)
		next := from
		if !ok {
			if next, off, err = startAt(index, from); err != nil {
				return corrupt(v.seg.path, v.size, "%v", err)
			}
		}
		r := blockReader{w: w, path: v.seg.path, salt: v.seg.id.salt(), off: off, next: next}
		if found, err = r.collect(from, maxBytes); err == nil {
			l.hints.put(v, r.next, r.off)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// blockReader walks a segment's blocks forward from a known one.
type blockReader struct {
	w    *window
	path string
	salt uint32
	off  int64  // of the next item
	next uint64 // ordinal that the next block has to begin with
}

// header returns the next block's header and its offset, over what stands
// between blocks. With loaded set it returns false rather than read the file again.
func (r *blockReader) header(loaded bool) (h blockHeader, at int64, ok bool, err error) {
	for r.off < r.w.end {
		if loaded && !r.w.holds(r.off, BlockHeaderSize) {
			return h, 0, false, nil
		}
		it, err := r.w.item(r.off, r.salt)
		if err == nil && it.kind == itemBlock && it.block.first != r.next {
			err = fmt.Errorf("first ordinal is %d, expected %d", it.block.first, r.next)
		}
		if err != nil {
			return h, 0, false, r.wrong(err)
		}
		at = r.off
		if it.kind == itemBlock {
			return it.block, at, true, nil
		}
		r.off = it.next
	}
	return h, 0, false, nil
}

func (r *blockReader) pass(h *blockHeader) {
	r.off += BlockHeaderSize + int64(h.length)
	r.next = h.end()
}

func (r *blockReader) wrong(err error) error {
	if isReadError(err) {
		return err
	}
	return corrupt(r.path, r.off, "%v", err)
}

func (r *blockReader) collect(from uint64, maxBytes int) ([]*memBlock, error) {
	var found []*memBlock
	bytes := 0
	for {
		h, at, ok, err := r.header(len(found) > 0)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if h.end() <= from {
			r.pass(&h)
			continue
		}
		bytes += int(h.length)
		if len(found) > 0 && (bytes > maxBytes || !r.w.holds(at, BlockHeaderSize+int(h.length))) {
			break
		}
		payload, err := r.w.payload(at, &h)
		if err != nil {
			return nil, r.wrong(err)
		}
		found = append(found, &memBlock{blockHeader: h, payload: [][]byte{payload}})
		r.pass(&h)
	}
	if len(found) == 0 {
		return nil, corrupt(r.path, r.off, "the segment should hold ordinal %d", from)
	}
	return found, nil
}

// SeekTime returns the ordinal of the first record whose time is at least ms
// milliseconds since the Unix epoch, Position().Next if there is none yet.
func (l *Log) SeekTime(ms int64) (uint64, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return 0, ErrClosed
		}
		first := l.first()
		n := len(l.segs)
		if n > 0 && l.segs[n-1].empty() {
			n-- // only the last can be
		}
		i := sort.Search(n, func(i int) bool { return l.segs[i].end.Time >= ms })
		if i == n || (len(l.mem) > 0 && l.mem[0].time < ms) {
			ordinal := seekMemory(l.mem, ms, l.pos.Next)
			l.mu.Unlock()
			return max(ordinal, first), nil
		}
		v := l.view(l.segs[i])
		l.mu.Unlock()
		ordinal, err := l.seekFile(v, ms)
		if err == nil || !l.movedOn(v.gen) {
			return ordinal, err
		}
	}
}

func seekMemory(mem []*memBlock, ms int64, end uint64) uint64 {
	i := sort.Search(len(mem), func(i int) bool { return mem[i].time >= ms })
	if i == len(mem) {
		return end
	}
	return mem[i].first
}

func (l *Log) seekFile(v view, ms int64) (ordinal uint64, err error) {
	err = l.withSegment(v, false, func(w *window, index []indexEntry) error {
		if len(index) == 0 {
			return corrupt(v.seg.path, v.size, "the index is empty")
		}
		i := sort.Search(len(index), func(i int) bool { return index[i].time >= ms })
		e := index[max(i-1, 0)]
		w.reuse, w.chunk = true, readChunkMin
		r := blockReader{w: w, path: v.seg.path, salt: v.seg.id.salt(), off: e.offset, next: e.ordinal}
		for {
			h, _, ok, err := r.header(false)
			if err != nil {
				return err
			}
			if !ok {
				return corrupt(v.seg.path, r.off, "the segment should hold time %d", ms)
			}
			if h.time >= ms {
				ordinal = h.first
				return nil
			}
			r.pass(&h)
		}
	})
	return ordinal, err
}

// readHints remember where sequential readers stopped, so that the next read
// need not search from an index entry. A hint is good for one generation of
// the log: a reader that was overtaken by a truncation may still leave one.
type readHints struct {
	mu    sync.Mutex
	slots [8]readHint
	turn  int
}

type readHint struct {
	seg  *segment
	gen  uint64
	next uint64
	off  int64
}

// take returns the offset from which the block that begins with ordinal is found.
func (h *readHints) take(v view, ordinal uint64) (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.slots {
		if s.seg == v.seg && s.gen == v.gen && s.next == ordinal {
			return s.off, true
		}
	}
	return 0, false
}

func (h *readHints) put(v view, next uint64, off int64) {
	hint := readHint{seg: v.seg, gen: v.gen, next: next, off: off}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.slots {
		if s == hint {
			return
		}
	}
	h.slots[h.turn] = hint
	h.turn = (h.turn + 1) % len(h.slots)
}
