package wal

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/levada-stream/levada/internal/vfs"
)

// window reads a file forward in chunks. It is owned by one goroutine.
type window struct {
	f     vfs.File
	bulk  vfs.File // reads large chunks past the page cache; nil for none
	end   int64    // nothing is read at or after it
	chunk int      // least bytes per read
	reuse bool     // slices handed out are valid only until the next call of at

	buf  []byte
	base int64
}

// at returns n bytes at off. It returns io.ErrUnexpectedEOF if the window ends before.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off+int64(n) > w.end {
		return nil, io.ErrUnexpectedEOF
	}
	if off < w.base || off+int64(n) > w.base+int64(len(w.buf)) {
		if err := w.load(off, int(min(int64(max(n, w.chunk)), w.end-off))); err != nil {
			return nil, err
		}
	}
	from := int(off - w.base)
	return w.buf[from : from+n : from+n], nil
}

// bulkMin is the size from which on a read passes the page cache by. Filling it, and copying out of it, costs
// several times what the read does.
const bulkMin = 64 << 10

// loadBulk reads whole pages around n bytes at off. It reports false where the file does not have them or the
// read fails: the ordinary one tells why.
func (w *window) loadBulk(off int64, n int) bool {
	start := off &^ (pageSize - 1)
	buf := vfs.AlignedBuffer(int(pageCeil(off+int64(n)) - start))
	if got, _ := w.bulk.ReadAt(buf, start); got < len(buf) {
		return false
	}
	w.buf, w.base = buf[:min(int64(len(buf)), w.end-start)], start
	return true
}

func (w *window) load(off int64, n int) error {
	if w.bulk != nil && n >= bulkMin && w.loadBulk(off, n) {
		return nil
	}
	if w.reuse && cap(w.buf) >= n {
		w.buf = w.buf[:n]
	} else {
		w.buf = make([]byte, n)
	}
	w.base = off
	got, err := w.f.ReadAt(w.buf, off)
	if got == n {
		return nil
	}
	w.buf = w.buf[:0]
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return &readError{err}
}

// itemKind says what stands at an offset of a segment.
type itemKind uint8

const (
	itemBlock itemKind = iota
	itemWrite
	itemCut
)

// item is one structure of a segment's data; only its kind's field is set.
type item struct {
	kind  itemKind
	block blockHeader
	write writeHeader
	next  int64 // offset of the item after it
}

// item decodes what stands at off. It does not read a block's payload. Any
// error but a failed read means that the bytes are no item.
func (w *window) item(off int64, salt uint32) (item, error) {
	b, err := w.at(off, BlockHeaderSize)
	if err != nil {
		return item{}, err
	}
	switch binary.LittleEndian.Uint32(b) {
	case magicWrite:
		h, err := decodeWriteHeader(b, off, salt)
		return item{kind: itemWrite, write: h, next: off + int64(h.pad)}, err
	case magicCut:
		n, err := decodeCut(b, off, salt)
		return item{kind: itemCut, next: off + n}, err
	}
	h, err := decodeBlockHeader(b)
	return item{kind: itemBlock, block: h, next: off + BlockHeaderSize + int64(h.length)}, err
}

// payload returns and checks the payload of the block at off.
func (w *window) payload(off int64, h *blockHeader) ([]byte, error) {
	b, err := w.at(off+BlockHeaderSize, int(h.length))
	if err != nil {
		return nil, err
	}
	return b, checkPayload(h, b)
}

// isReadError tells a failed read from bytes that are wrong or missing.
func isReadError(err error) bool {
	var read *readError
	return errors.As(err, &read)
}

// readError marks an error of the file system, which says nothing about the bytes.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// holds reports whether n bytes at off are in memory.
func (w *window) holds(off int64, n int) bool {
	return off >= w.base && off+int64(n) <= w.base+int64(len(w.buf))
}
