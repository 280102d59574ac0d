package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
)

const (
	pageSize = vfs.BlockSize

	formatVersion   = 1
	magicSegment    = "LVSEGMT1"
	magicWrite      = 0x5257564c // "LVWR"
	magicCut        = 0x5443564c // "LVCT"
	magicFooter     = 0x5446564c // "LVFT"
	writeHeaderSize = 64
	cutHeaderSize   = 64
	footerSize      = 128
	indexEntrySize  = 24

	// indexSpacing is the least distance in bytes between two index entries.
	indexSpacing = 128 << 10
)

func pageCeil(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// segmentID is what all parts of one segment file are bound to, so that a page
// of another file is never taken for one of its own. The nonce is random: who
// writes records cannot make them look like pages of the file either.
type segmentID struct {
	group uint64
	shard uint32
	first uint64
	nonce uint64
}

// newSegmentID names a segment that is about to be made.
func newSegmentID(group uint64, shard uint32, first uint64) segmentID {
	return segmentID{group, shard, first, rand.Uint64()}
}

// salt is the value that the segment's checksums start from.
func (id segmentID) salt() uint32 {
	var b [28]byte
	binary.LittleEndian.PutUint64(b[:], id.group)
	binary.LittleEndian.PutUint32(b[8:], id.shard)
	binary.LittleEndian.PutUint64(b[12:], id.first)
	binary.LittleEndian.PutUint64(b[20:], id.nonce)
	return crc32.Checksum(b[:], castagnoli)
}

// segmentHeader is the first page of a segment.
type segmentHeader struct {
	group   uint64
	shard   uint32
	start   Position
	created int64 // unix ns, for people
	nonce   uint64
}

func (h *segmentHeader) id() segmentID {
	return segmentID{h.group, h.shard, h.start.Next, h.nonce}
}

// header returns the first page of a segment made now.
func (id segmentID) header(start Position) segmentHeader {
	return segmentHeader{group: id.group, shard: id.shard, start: start, created: time.Now().UnixNano(), nonce: id.nonce}
}

func (h *segmentHeader) encode(page []byte) {
	clear(page[:pageSize])
	le := binary.LittleEndian
	copy(page, magicSegment)
	le.PutUint32(page[12:], formatVersion)
	le.PutUint64(page[16:], h.group)
	le.PutUint32(page[24:], h.shard)
	le.PutUint64(page[32:], h.start.Next)
	le.PutUint64(page[40:], h.start.Index)
	le.PutUint64(page[48:], uint64(h.start.Time))
	copy(page[56:72], h.start.Chain[:])
	le.PutUint64(page[72:], uint64(h.created))
	le.PutUint64(page[80:], h.nonce)
	le.PutUint32(page[8:], crc32.Checksum(page[12:pageSize], castagnoli))
}

func decodeSegmentHeader(page []byte) (segmentHeader, error) {
	le := binary.LittleEndian
	switch {
	case len(page) < pageSize:
		return segmentHeader{}, errors.New("segment header is cut short")
	case string(page[:8]) != magicSegment:
		return segmentHeader{}, errors.New("not a segment file")
	case le.Uint32(page[8:]) != crc32.Checksum(page[12:pageSize], castagnoli):
		return segmentHeader{}, errHeaderCRC
	case le.Uint32(page[12:]) != formatVersion:
		return segmentHeader{}, fmt.Errorf("%w: %d, this program knows %d", ErrVersion, le.Uint32(page[12:]), formatVersion)
	}
	return segmentHeader{
		group: le.Uint64(page[16:]),
		shard: le.Uint32(page[24:]),
		start: Position{
			Next:  le.Uint64(page[32:]),
			Index: le.Uint64(page[40:]),
			Time:  int64(le.Uint64(page[48:])),
			Chain: Chain(page[56:72]),
		},
		created: int64(le.Uint64(page[72:])),
		nonce:   le.Uint64(page[80:]),
	}, nil
}

// writeHeader begins every write, at a page boundary, and pads it to whole pages.
type writeHeader struct {
	pad     uint32 // header and zeros; the first block begins there, or the write ends there
	length  int64  // of the whole write, a multiple of the page size
	offset  int64  // of the write in the file
	promise int64  // below this offset everything was synced before this write began
	next    uint64 // Position before the write, without its time
	index   uint64
	chain   Chain
}

// newWriteHeader lays out a write of n bytes of blocks at off.
func newWriteHeader(n, off, promise int64, p Position) writeHeader {
	length := pageCeil(writeHeaderSize + n)
	return writeHeader{
		pad: uint32(length - n), length: length, offset: off, promise: promise,
		next: p.Next, index: p.Index, chain: p.Chain,
	}
}

// encode fills b[:writeHeaderSize]; the zeros after it are the caller's.
func (h *writeHeader) encode(b []byte, salt uint32) {
	le := binary.LittleEndian
	le.PutUint32(b, magicWrite)
	le.PutUint32(b[8:], h.pad)
	le.PutUint32(b[12:], uint32(h.length/pageSize))
	le.PutUint64(b[16:], uint64(h.offset))
	le.PutUint64(b[24:], uint64(h.promise))
	le.PutUint64(b[32:], h.next)
	le.PutUint64(b[40:], h.index)
	copy(b[48:64], h.chain[:])
	le.PutUint32(b[4:], crc32.Update(salt, castagnoli, b[8:writeHeaderSize]))
}

// decodeWriteHeader reads the header of the write at off.
func decodeWriteHeader(b []byte, off int64, salt uint32) (writeHeader, error) {
	le := binary.LittleEndian
	if len(b) < writeHeaderSize || le.Uint32(b) != magicWrite {
		return writeHeader{}, errMagic
	}
	if le.Uint32(b[4:]) != crc32.Update(salt, castagnoli, b[8:writeHeaderSize]) {
		return writeHeader{}, errHeaderCRC
	}
	return parseWriteHeader(b, off)
}

// parseWriteHeader is decodeWriteHeader without the checksum.
func parseWriteHeader(b []byte, off int64) (writeHeader, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < writeHeaderSize || le.Uint32(b) != magicWrite:
		return writeHeader{}, errMagic
	case le.Uint64(b[16:]) != uint64(off):
		return writeHeader{}, fmt.Errorf("write belongs at byte %d", le.Uint64(b[16:]))
	}
	h := writeHeader{
		pad:     le.Uint32(b[8:]),
		length:  int64(le.Uint32(b[12:])) * pageSize,
		offset:  off,
		promise: int64(le.Uint64(b[24:])),
		next:    le.Uint64(b[32:]),
		index:   le.Uint64(b[40:]),
		chain:   Chain(b[48:64]),
	}
	if h.pad < writeHeaderSize || int64(h.pad) > h.length || h.pad >= writeHeaderSize+pageSize ||
		h.promise > off || h.promise < 0 || off%pageSize != 0 {
		return writeHeader{}, fmt.Errorf("impossible write: pad %d, %d bytes, promise %d", h.pad, h.length, h.promise)
	}
	return h, nil
}

// encodeCut fills b with a cut block: it ends a write early, where a recovery
// cut the log, and reaches to the end of a page.
func encodeCut(b []byte, off int64, salt uint32) {
	clear(b)
	le := binary.LittleEndian
	le.PutUint32(b, magicCut)
	le.PutUint32(b[8:], uint32(len(b)))
	le.PutUint64(b[16:], uint64(off))
	le.PutUint32(b[4:], crc32.Update(salt, castagnoli, b[8:cutHeaderSize]))
}

// cutLength returns the length of a cut block at off.
func cutLength(off int64) int64 { return pageCeil(off+cutHeaderSize) - off }

// decodeCut returns the length of the cut block at off.
func decodeCut(b []byte, off int64, salt uint32) (int64, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < cutHeaderSize || le.Uint32(b) != magicCut:
		return 0, errMagic
	case le.Uint32(b[4:]) != crc32.Update(salt, castagnoli, b[8:cutHeaderSize]):
		return 0, errHeaderCRC
	case le.Uint64(b[16:]) != uint64(off) || int64(le.Uint32(b[8:])) != cutLength(off):
		return 0, errors.New("impossible cut block")
	}
	return cutLength(off), nil
}

// indexEntry points at a block, so that a read need not start at the segment's start.
type indexEntry struct {
	ordinal uint64 // first ordinal of the block
	time    int64
	offset  int64 // of its header
}

func encodeIndex(b []byte, entries []indexEntry) {
	for i, e := range entries {
		at := b[i*indexEntrySize:]
		binary.LittleEndian.PutUint64(at, e.ordinal)
		binary.LittleEndian.PutUint64(at[8:], uint64(e.time))
		binary.LittleEndian.PutUint64(at[16:], uint64(e.offset))
	}
}

func decodeIndex(b []byte, n int) []indexEntry {
	entries := make([]indexEntry, n)
	for i := range entries {
		at := b[i*indexEntrySize:]
		entries[i] = indexEntry{
			ordinal: binary.LittleEndian.Uint64(at),
			time:    int64(binary.LittleEndian.Uint64(at[8:])),
			offset:  int64(binary.LittleEndian.Uint64(at[16:])),
		}
	}
	return entries
}

// footer is the end of a sealed segment: its last footerSize bytes. Before it
// lies the index, padded so that the file ends on a page boundary.
type footer struct {
	indexCRC  uint32
	entries   uint32
	dataEnd   int64 // offset of the index; the last write ends there
	end       Position
	firstTime int64
}

// encodeFooter fills buf, of footerLength bytes, with a footer and its index.
func encodeFooter(f footer, entries []indexEntry, salt uint32, buf []byte) {
	clear(buf)
	encodeIndex(buf, entries)
	body, b := buf[:len(buf)-footerSize], buf[len(buf)-footerSize:]
	le := binary.LittleEndian
	le.PutUint32(b, magicFooter)
	le.PutUint32(b[8:], crc32.Update(salt, castagnoli, body))
	le.PutUint32(b[12:], uint32(len(entries)))
	le.PutUint64(b[16:], uint64(f.dataEnd))
	le.PutUint64(b[24:], f.end.Next)
	le.PutUint64(b[32:], f.end.Index)
	le.PutUint64(b[40:], uint64(f.end.Time))
	le.PutUint64(b[48:], uint64(f.firstTime))
	copy(b[56:72], f.end.Chain[:])
	le.PutUint32(b[4:], crc32.Update(salt, castagnoli, b[8:footerSize]))
}

// footerLength returns the bytes that a footer with n index entries takes.
func footerLength(n int) int64 { return pageCeil(int64(n)*indexEntrySize + footerSize) }

// decodeFooter reads the last footerSize bytes of a file of size bytes.
func decodeFooter(b []byte, size int64, salt uint32) (footer, error) {
	le := binary.LittleEndian
	if len(b) < footerSize || le.Uint32(b) != magicFooter {
		return footer{}, errors.New("no footer")
	}
	if le.Uint32(b[4:]) != crc32.Update(salt, castagnoli, b[8:footerSize]) {
		return footer{}, errors.New("footer checksum mismatch")
	}
	return parseFooter(b, size)
}

// parseFooter is decodeFooter without the checksum.
func parseFooter(b []byte, size int64) (footer, error) {
	if len(b) < footerSize || binary.LittleEndian.Uint32(b) != magicFooter {
		return footer{}, errors.New("no footer")
	}
	le := binary.LittleEndian
	f := footer{
		indexCRC: le.Uint32(b[8:]),
		entries:  le.Uint32(b[12:]),
		dataEnd:  int64(le.Uint64(b[16:])),
		end: Position{
			Next: le.Uint64(b[24:]), Index: le.Uint64(b[32:]),
			Time: int64(le.Uint64(b[40:])), Chain: Chain(b[56:72]),
		},
		firstTime: int64(le.Uint64(b[48:])),
	}
	if f.dataEnd < pageSize || f.dataEnd%pageSize != 0 || f.dataEnd+footerLength(int(f.entries)) != size {
		return footer{}, fmt.Errorf("impossible footer: data ends at %d, %d index entries, file of %d bytes", f.dataEnd, f.entries, size)
	}
	return f, nil
}
