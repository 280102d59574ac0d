package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/levada-stream/levada/internal/crc32c"
	"github.com/levada-stream/levada/internal/vfs"
)

// The numbers of docs/formats/journal.md.
const (
	formatVersion = 1
	pageSize      = vfs.BlockSize

	segmentMagic      = "LVJS"
	segmentHeaderSize = 64
	tableRowSize      = 32

	roundMagic      = "LVJR"
	roundHeaderSize = 64

	recordHeaderSize = 48
)

// recordKind says what a record in a round does.
type recordKind uint8

const (
	kindEntry     recordKind = 1 // an entry that follows the last one of its group
	kindCommit    recordKind = 2 // a = commit index
	kindSuffix    recordKind = 3 // a = first index removed
	kindPrefix    recordKind = 4 // a = first index kept, 0 = none is
	kindDelete    recordKind = 5 // the group is gone
	kindRelocate  recordKind = 6 // a, b, c = first, last and commit of the group; entries moved follow
	kindRelocated recordKind = 7 // an entry of before, written again
)

var errMalformed = errors.New("malformed")

// crcOf continues a CRC32C. The table is a constant of hash/crc32 in all but name.
func crcOf(crc uint32, b []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), b)
}

func pad(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// bounds is a row of the table at the start of a segment.
type bounds struct {
	group, first, last, commit uint64
}

// segmentHeader starts a segment file.
type segmentHeader struct {
	sequence    uint64 // of the segment, contiguous
	incarnation uint64 // random, repeated in every round of the segment
	firstRound  uint64 // number of the first round here
	size        uint64 // of the file
	previousEnd uint32 // where the rounds of the segment before end; 0 in the first segment
	table       []bounds
}

func segmentHeaderBytes(groups int) int64 {
	return pad(segmentHeaderSize + int64(groups)*tableRowSize)
}

// encode writes the header with its table to b, which is zero and of segmentHeaderBytes.
func (h *segmentHeader) encode(b []byte) {
	length := segmentHeaderSize + len(h.table)*tableRowSize
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(length))
	binary.LittleEndian.PutUint64(b[16:], h.sequence)
	binary.LittleEndian.PutUint64(b[24:], h.incarnation)
	binary.LittleEndian.PutUint64(b[32:], h.firstRound)
	binary.LittleEndian.PutUint64(b[40:], h.size)
	binary.LittleEndian.PutUint32(b[48:], h.previousEnd)
	binary.LittleEndian.PutUint32(b[52:], uint32(len(h.table)))
	for i, row := range h.table {
		r := b[segmentHeaderSize+i*tableRowSize:]
		binary.LittleEndian.PutUint64(r, row.group)
		binary.LittleEndian.PutUint64(r[8:], row.first)
		binary.LittleEndian.PutUint64(r[16:], row.last)
		binary.LittleEndian.PutUint64(r[24:], row.commit)
	}
	binary.LittleEndian.PutUint32(b[4:], crcOf(0, b[8:length]))
}

// segmentHeaderLength returns how many bytes the header at b takes with its table, before it is checked.
func segmentHeaderLength(b []byte) (int, error) {
	if len(b) < segmentHeaderSize || string(b[:4]) != segmentMagic {
		return 0, fmt.Errorf("%w: no segment header", errMalformed)
	}
	length, count := binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[52:])
	if uint64(length) != segmentHeaderSize+uint64(count)*tableRowSize {
		return 0, fmt.Errorf("%w: length and table of the segment header differ", errMalformed)
	}
	return int(length), nil
}

func decodeSegmentHeader(b []byte) (*segmentHeader, error) {
	length, err := segmentHeaderLength(b)
	if err != nil {
		return nil, err
	}
	if length > len(b) {
		return nil, fmt.Errorf("%w: segment header is cut", errMalformed)
	}
	if crcOf(0, b[8:length]) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, fmt.Errorf("%w: checksum of the segment header", errMalformed)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return nil, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	h := &segmentHeader{
		sequence:    binary.LittleEndian.Uint64(b[16:]),
		incarnation: binary.LittleEndian.Uint64(b[24:]),
		firstRound:  binary.LittleEndian.Uint64(b[32:]),
		size:        binary.LittleEndian.Uint64(b[40:]),
		previousEnd: binary.LittleEndian.Uint32(b[48:]),
	}
	for r := b[segmentHeaderSize:length]; len(r) > 0; r = r[tableRowSize:] {
		h.table = append(h.table, bounds{
			group:  binary.LittleEndian.Uint64(r),
			first:  binary.LittleEndian.Uint64(r[8:]),
			last:   binary.LittleEndian.Uint64(r[16:]),
			commit: binary.LittleEndian.Uint64(r[24:]),
		})
	}
	return h, nil
}

// roundHeader starts a round, at the start of a page.
type roundHeader struct {
	length      uint32 // header and records, without the padding to a page
	payloadCRC  uint32
	sequence    uint64 // of the segment
	number      uint64 // of the round, contiguous over all segments
	incarnation uint64 // of the segment
	page        uint32 // where the round is in its segment
	records     uint32
}

func (h *roundHeader) encode(b []byte) {
	clear(b[:roundHeaderSize])
	copy(b, roundMagic)
	binary.LittleEndian.PutUint32(b[8:], h.length)
	binary.LittleEndian.PutUint32(b[12:], h.payloadCRC)
	binary.LittleEndian.PutUint64(b[16:], h.sequence)
	binary.LittleEndian.PutUint64(b[24:], h.number)
	binary.LittleEndian.PutUint64(b[32:], h.incarnation)
	binary.LittleEndian.PutUint32(b[40:], h.page)
	binary.LittleEndian.PutUint32(b[44:], h.records)
	binary.LittleEndian.PutUint32(b[4:], crcOf(0, b[8:roundHeaderSize]))
}

func decodeRoundHeader(b []byte) (h roundHeader, err error) {
	if len(b) < roundHeaderSize || string(b[:4]) != roundMagic {
		return h, fmt.Errorf("%w: no round header", errMalformed)
	}
	if crcOf(0, b[8:roundHeaderSize]) != binary.LittleEndian.Uint32(b[4:]) {
		return h, fmt.Errorf("%w: checksum of the round header", errMalformed)
	}
	h = roundHeader{
		length:      binary.LittleEndian.Uint32(b[8:]),
		payloadCRC:  binary.LittleEndian.Uint32(b[12:]),
		sequence:    binary.LittleEndian.Uint64(b[16:]),
		number:      binary.LittleEndian.Uint64(b[24:]),
		incarnation: binary.LittleEndian.Uint64(b[32:]),
		page:        binary.LittleEndian.Uint32(b[40:]),
		records:     binary.LittleEndian.Uint32(b[44:]),
	}
	if h.length < roundHeaderSize || [16]byte(b[48:64]) != [16]byte{} {
		return h, fmt.Errorf("%w: fields of the round header", errMalformed)
	}
	return h, nil
}

// record is one decoded record. Extensions and data alias what it was decoded from.
type record struct {
	kind    recordKind
	group   uint64
	a, b, c uint64 // of all kinds but entries
	entry   Entry  // of entries
	length  int    // encoded
}

func (k recordKind) isEntry() bool { return k == kindEntry || k == kindRelocated }

func entrySize(e *Entry) int { return recordHeaderSize + len(e.Extensions) + len(e.Data) }

// encodeEntryHeader writes the header of an entry's record. b goes on with the
// extensions; data is the CRC of the entry's data.
func encodeEntryHeader(b []byte, kind recordKind, group uint64, e *Entry, data uint32) {
	clear(b[:8])
	b[4], b[5] = byte(kind), e.Type
	binary.LittleEndian.PutUint32(b[8:], uint32(len(e.Data)))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(e.Extensions)))
	binary.LittleEndian.PutUint64(b[16:], group)
	binary.LittleEndian.PutUint64(b[24:], e.Index)
	binary.LittleEndian.PutUint64(b[32:], e.Term)
	binary.LittleEndian.PutUint64(b[40:], uint64(e.AppendedAt))
	binary.LittleEndian.PutUint32(b, crc32c.Join(crcOf(0, b[4:]), data, len(e.Data)))
}

// encodeControl writes a record of a kind that is no entry.
func encodeControl(rec []byte, kind recordKind, group, a, b, c uint64) {
	clear(rec[:recordHeaderSize])
	rec[4] = byte(kind)
	binary.LittleEndian.PutUint64(rec[16:], group)
	binary.LittleEndian.PutUint64(rec[24:], a)
	binary.LittleEndian.PutUint64(rec[32:], b)
	binary.LittleEndian.PutUint64(rec[40:], c)
	binary.LittleEndian.PutUint32(rec, crcOf(0, rec[4:recordHeaderSize]))
}

// decodeRecord decodes the record at the start of b, with its checksum.
func decodeRecord(b []byte) (r record, err error) {
	if len(b) < recordHeaderSize {
		return r, fmt.Errorf("%w: record is cut", errMalformed)
	}
	r.kind, r.group = recordKind(b[4]), binary.LittleEndian.Uint64(b[16:])
	dataSize, extSize := uint64(binary.LittleEndian.Uint32(b[8:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	if r.kind < kindEntry || r.kind > kindRelocated {
		return r, fmt.Errorf("%w: record kind %d", errMalformed, r.kind)
	}
	if b[6] != 0 || b[7] != 0 || !r.kind.isEntry() && (dataSize != 0 || extSize != 0 || b[5] != 0) {
		return r, fmt.Errorf("%w: fields of a record", errMalformed)
	}
	if recordHeaderSize+dataSize+extSize > uint64(len(b)) {
		return r, fmt.Errorf("%w: record is cut", errMalformed)
	}
	r.length = recordHeaderSize + int(dataSize) + int(extSize)
	if crcOf(0, b[4:r.length]) != binary.LittleEndian.Uint32(b) {
		return r, fmt.Errorf("%w: checksum of a record", errMalformed)
	}
	x, y, z := binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
	if !r.kind.isEntry() {
		r.a, r.b, r.c = x, y, z
		return r, nil
	}
	dataAt := recordHeaderSize + int(extSize)
	r.entry = Entry{Index: x, Term: y, Type: b[5], AppendedAt: int64(z)}
	if extSize > 0 {
		r.entry.Extensions = b[recordHeaderSize:dataAt:dataAt]
	}
	if dataSize > 0 {
		r.entry.Data = b[dataAt:r.length:r.length]
	}
	return r, nil
}

// checkRound checks the header and the checksum of the round at the start of b, of which
// it needs no padding, and returns its records undecoded.
func checkRound(b []byte) (h roundHeader, payload []byte, err error) {
	h, err = decodeRoundHeader(b)
	if err != nil {
		return h, nil, err
	}
	if uint64(h.length) > uint64(len(b)) {
		return h, nil, fmt.Errorf("%w: round is cut", errMalformed)
	}
	payload = b[roundHeaderSize:h.length]
	if crcOf(0, payload) != h.payloadCRC {
		return h, nil, fmt.Errorf("%w: checksum of the round", errMalformed)
	}
	return h, payload, nil
}

// visitRecords decodes the records of a round and calls visit with each and its offset from the start of the round.
func visitRecords(h roundHeader, payload []byte, visit func(r record, offset int) error) error {
	for range h.records {
		at := int(h.length) - len(payload)
		r, err := decodeRecord(payload)
		if err != nil {
			return err
		}
		if err := visit(r, at); err != nil {
			return err
		}
		payload = payload[r.length:]
	}
	if len(payload) != 0 {
		return fmt.Errorf("%w: %d bytes after the records of a round", errMalformed, len(payload))
	}
	return nil
}
