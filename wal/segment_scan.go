package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/levada-stream/levada/internal/vfs"
)

func checksumFrom(salt uint32, b []byte) uint32 { return crc32.Update(salt, castagnoli, b) }

// scanChunk is how much a scan reads at a time.
const scanChunk = 1 << 20

// scanResult is what a walk over a segment's data found.
type scanResult struct {
	end     int64 // offset after the last good block, write header or cut block
	data    int64 // offset after the last good block
	onPage  bool  // a write ends at end: the next one may begin there
	promise int64 // the largest promise of a good write
	bad     error // why the walk stopped before the limit; nil if it did not
}

// visitor is called with every good block of a scan in order; it may stop the scan by an error.
type visitor func(off int64, h *blockHeader, payload []byte) error

// scanner walks a segment's data and checks everything in it.
type scanner struct {
	w     window
	salt  uint32
	pos   Position // after the last good block
	res   scanResult
	visit visitor
}

// scanSegment walks the writes from the header page up to limit. The error is a
// failed read or the visitor's; bad bytes are in the result.
func scanSegment(f vfs.File, id segmentID, start Position, limit int64, visit visitor) (scanResult, Position, error) {
	s := scanner{
		w:    window{f: f, end: limit, chunk: scanChunk, reuse: true},
		salt: id.salt(), pos: start,
		res:   scanResult{end: pageSize, onPage: true},
		visit: visit,
	}
	for s.res.end < limit && s.res.bad == nil {
		if err := s.write(); err != nil {
			return s.res, s.pos, err
		}
	}
	return s.res, s.pos, nil
}

// write walks one write.
func (s *scanner) write() error {
	off := s.res.end
	it, err := s.w.item(off, s.salt)
	if err == nil && it.kind != itemWrite {
		err = errors.New("no write starts here")
	}
	if err == nil {
		err = s.checkWrite(off, &it.write)
	}
	if err != nil {
		return s.stop(err)
	}
	s.res.promise = max(s.res.promise, it.write.promise)
	stop := off + it.write.length
	if it.next == stop {
		s.res.end = stop
		return nil
	}
	// Until the first block is good the log ends before this write.
	for at := it.next; at < stop; at = s.res.end {
		cut, err := s.block(at, stop)
		if err != nil {
			return s.stop(err)
		}
		if cut {
			break
		}
	}
	s.res.onPage = true
	return nil
}

func (s *scanner) checkWrite(off int64, h *writeHeader) error {
	if h.next != s.pos.Next || h.chain != s.pos.Chain {
		return fmt.Errorf("write continues at ordinal %d, expected %d", h.next, s.pos.Next)
	}
	pad, err := s.w.at(off+writeHeaderSize, int(h.pad)-writeHeaderSize)
	if err != nil {
		return err
	}
	for _, b := range pad {
		if b != 0 {
			return errors.New("padding is not zero")
		}
	}
	return nil
}

// block walks one block, or the cut block that ends a write.
func (s *scanner) block(off, stop int64) (cut bool, err error) {
	it, err := s.w.item(off, s.salt)
	if err != nil {
		return false, err
	}
	switch it.kind {
	case itemCut:
		s.res.end = it.next
		return true, nil
	case itemWrite:
		return false, errors.New("a write starts inside another")
	}
	if it.next > stop {
		return false, errors.New("block reaches over the end of its write")
	}
	if err := it.block.follows(s.pos); err != nil {
		return false, err
	}
	payload, err := s.w.payload(off, &it.block)
	if err != nil {
		return false, err
	}
	if s.visit != nil {
		if err := s.visit(off, &it.block, payload); err != nil {
			return false, &readError{err}
		}
	}
	s.pos = it.block.position()
	s.res.end, s.res.data, s.res.onPage = it.next, it.next, false
	return false, nil
}

func (s *scanner) stop(err error) error {
	if isReadError(err) {
		return err
	}
	s.res.bad = err
	return nil
}

// tailResult is what a walk over an unsealed last segment found.
type tailResult struct {
	scanResult
	pos       Position // after the last good block
	durable   int64    // everything below was synced, as some write says
	torn      bool     // a write was not finished: the log is to be cut at end
	tornBytes int64    // what is left of that write, the zeros reserved behind it left out
}

// scanTail walks an unsealed last segment of size bytes. It changes nothing, and
// everybody who has to tell a torn tail from damage asks it. A *CorruptError
// says that bytes are wrong which a write behind them declared synced.
func scanTail(f vfs.File, path string, h *segmentHeader, size int64, visit visitor) (tailResult, error) {
	id := h.id()
	res, pos, err := scanSegment(f, id, h.start, size, visit)
	t := tailResult{scanResult: res, pos: pos, durable: res.promise}
	if err != nil {
		return t, err
	}
	from := min(pageCeil(res.end), size)
	promise, used, err := afterEnd(f, &id, from, size)
	if err != nil {
		return t, err
	}
	t.durable = max(t.durable, promise)
	if promise > res.end {
		return t, corrupt(path, res.end, "%v, below byte %d that was durable", res.bad, promise)
	}
	if t.torn = !res.onPage || used > from; t.torn {
		t.tornBytes = used - res.end
	}
	return t, nil
}

// stillborn reports whether a last segment without a good header never came to
// be: nothing in it was promised durable and it was not sealed, or the header
// was there once. With the header the nonce is lost, so checksums cannot be asked.
func stillborn(f vfs.File, size int64) (bool, error) {
	promise, _, err := afterEnd(f, nil, 0, size)
	if err != nil {
		return false, err
	}
	sealed, err := looksSealed(f, size)
	return promise == 0 && !sealed, err
}

// looksSealed reports whether a file ends as a sealed segment does.
func looksSealed(f vfs.File, size int64) (bool, error) {
	w := window{f: f, end: size}
	b, err := w.at(size-footerSize, footerSize)
	if isReadError(err) {
		return false, err
	}
	if err == nil {
		_, err = parseFooter(b, size)
	}
	return err == nil, nil
}

// checkJoin checks that the segment at path, which begins at start, follows one that ends at end.
func checkJoin(path string, end, start Position) error {
	switch {
	case start.Next != end.Next:
		return corrupt(path, 0, "the segment begins at ordinal %d, the one before ends at %d", start.Next, end.Next)
	case start != end:
		return corrupt(path, 0, "the segment follows other records than those that the one before holds below ordinal %d", end.Next)
	}
	return nil
}

// afterEnd looks at the bytes behind a scan's end. It returns the largest
// promise of a write header that survives there, and the end of the last page
// that is not all zero, from if there is none. id is nil if the segment's header
// is lost: then nothing tells a write header from data that look like one, and it counts.
func afterEnd(f vfs.File, id *segmentID, from, size int64) (promise, used int64, err error) {
	w := window{f: f, end: size, chunk: scanChunk, reuse: true}
	decode := parseWriteHeader
	if id != nil {
		salt := id.salt()
		decode = func(page []byte, off int64) (writeHeader, error) { return decodeWriteHeader(page, off, salt) }
	}
	used = from
	for off := from; off < size; {
		n := int(min(pageCeil(off+1), size) - off)
		page, err := w.at(off, n)
		if err != nil {
			return 0, from, err
		}
		if h, err := decode(page, off); err == nil {
			promise = max(promise, h.promise)
		}
		off += int64(n)
		if !allZero(page) {
			used = off
		}
	}
	return promise, used, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
