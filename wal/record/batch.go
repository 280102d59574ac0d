package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
)

const (
	// HeaderSize is the length in bytes of a batch header.
	HeaderSize = 48
	// MaxBatchBytes is the largest batch, header included; a record of MaxDataBytes fits.
	MaxBatchBytes = 11 << 20
	// MaxRecords is the largest number of records in a batch.
	MaxRecords = 100_000

	magic       = "LVB1"
	flagPinned  = 1
	offLength   = 4
	offCRC      = 8
	offFlags    = 12
	offProducer = 16
	offFirst    = 32
	offCount    = 40
	offZero     = 44
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ProducerID names a producer session: the bytes of a UUID. The zero value is
// no producer, whose batches are not de-duplicated.
type ProducerID [16]byte

// IsZero reports whether p is no producer.
func (p ProducerID) IsZero() bool { return p == ProducerID{} }

// Repeatable reports whether p names a call that may be repeated, not a session: it has the form of a UUID of version 8, which is
// made of what the call is.
func (p ProducerID) Repeatable() bool { return p[6]>>4 == 8 && p[8]>>6 == 2 }

// RepeatableID returns the id of a call that a digest stands for.
func RepeatableID(digest [16]byte) ProducerID {
	p := ProducerID(digest)
	p[6], p[8] = p[6]&0x0f|0x80, p[8]&0x3f|0x80
	return p
}

// String returns the usual text form of a UUID.
func (p ProducerID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:])
}

// Batch is an encoded batch that was parsed or built: its methods assume a
// whole header and a length that matches. It is immutable.
type Batch []byte

// Len returns the length in bytes, header included.
func (b Batch) Len() int { return len(b) }

// Count returns the number of records, at least 1.
func (b Batch) Count() int { return int(binary.LittleEndian.Uint32(b[offCount:])) }

// Producer returns the producer's id, zero if there is none.
func (b Batch) Producer() ProducerID { return ProducerID(b[offProducer:offFirst]) }

// FirstSequence returns the producer's sequence number of the first record,
// from 1; the other records follow without gap. It is 0 when there is no producer.
func (b Batch) FirstSequence() uint64 { return binary.LittleEndian.Uint64(b[offFirst:]) }

// Pinned reports whether the batch names its shard itself, so that its hash
// keys are not checked against the shard's range.
func (b Batch) Pinned() bool { return b[offFlags]&flagPinned != 0 }

// Checksum returns the CRC32C that the header carries.
func (b Batch) Checksum() uint32 { return binary.LittleEndian.Uint32(b[offCRC:]) }

// Records yields the records in order with their index from 0; they alias the
// batch. It stops early at a malformed record, which Parse never lets through.
func (b Batch) Records() iter.Seq2[int, Record] {
	return func(yield func(int, Record) bool) {
		rest := []byte(b[HeaderSize:])
		for i := range b.Count() {
			r, after, err := next(rest)
			if err != nil || !yield(i, r) {
				return
			}
			rest = after
		}
	}
}

// Tail returns the batch without its first skip records, its sequence number
// advanced by as many: what remains of a batch whose head is a duplicate. It
// copies. It returns b itself for skip <= 0 and nil when nothing remains.
func (b Batch) Tail(skip int) Batch {
	skip = max(skip, 0)
	return b.Part(skip, b.Count()-skip)
}

// Part returns the batch with count of its records only, from the one after skip on, its sequence number advanced by as many. It copies, but
// returns b itself for all of it and nil when it has no such records.
func (b Batch) Part(skip, count int) Batch {
	if skip < 0 || count < 1 || skip+count > b.Count() {
		return nil
	}
	if parts := b.Cut([]int{skip, count}, func(i int) bool { return i == 1 }); parts != nil {
		return parts[1]
	}
	return nil
}

// Cut cuts the batch, from its first record on, into batches of so many records each, as Part does; those that are not to be kept are nil. It looks at each
// record once, however many parts there are. It returns nil for more records than there are.
func (b Batch) Cut(counts []int, keep func(i int) bool) []Batch {
	parts := make([]Batch, len(counts))
	rest, skip := []byte(b[HeaderSize:]), 0
	for i, count := range counts {
		if count == b.Count() && skip == 0 {
			if keep(i) {
				parts[i] = b
			}
			rest, skip = nil, count
			continue
		}
		from := rest
		for range count {
			_, after, err := next(rest)
			if err != nil {
				return nil
			}
			rest = after
		}
		if keep(i) {
			parts[i] = b.part(from[:len(from)-len(rest)], skip, count)
		}
		skip += count
	}
	return parts
}

// part makes a batch of count encoded records that follow the first skip of b.
func (b Batch) part(records []byte, skip, count int) Batch {
	out := make([]byte, HeaderSize, HeaderSize+len(records))
	out = append(out, records...)
	first := b.FirstSequence()
	if !b.Producer().IsZero() {
		first += uint64(skip)
	}
	return finish(out, b.Producer(), first, b.Pinned(), count)
}

// Parse decodes and fully checks the batch at the start of buf: checksum,
// header rules, and every record. The batch aliases buf; rest is what follows it.
// The error wraps ErrShort, ErrCorrupt or ErrInvalid.
func Parse(buf []byte) (b Batch, rest []byte, err error) {
	b, rest, err = ParseTrusted(buf)
	if err != nil {
		return nil, nil, err
	}
	if crc32.Checksum(b[offFlags:], castagnoli) != b.Checksum() {
		return nil, nil, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	if err := b.validate(); err != nil {
		return nil, nil, err
	}
	return b, rest, nil
}

// ParseTrusted cuts the batch at the start of buf by its length, for bytes that
// were parsed before and that another checksum covers since. It checks magic
// and lengths only. The error wraps ErrShort or ErrCorrupt.
func ParseTrusted(buf []byte) (b Batch, rest []byte, err error) {
	if n := min(len(buf), len(magic)); string(buf[:n]) != magic[:n] {
		return nil, nil, fmt.Errorf("%w: no batch starts here", ErrCorrupt)
	}
	if len(buf) < HeaderSize {
		return nil, nil, fmt.Errorf("%w: %d bytes hold no header", ErrShort, len(buf))
	}
	length := binary.LittleEndian.Uint32(buf[offLength:])
	if length < HeaderSize || length > MaxBatchBytes {
		return nil, nil, fmt.Errorf("%w: length %d", ErrCorrupt, length)
	}
	if uint64(length) > uint64(len(buf)) {
		return nil, nil, fmt.Errorf("%w: %d bytes of %d", ErrShort, len(buf), length)
	}
	b = Batch(buf[:length:length])
	if n := b.Count(); n < 1 || n > MaxRecords {
		return nil, nil, fmt.Errorf("%w: record count %d", ErrCorrupt, n)
	}
	return b, buf[length:], nil
}

func (b Batch) validate() error {
	if flags := b[offFlags]; flags&^flagPinned != 0 || b[13]|b[14]|b[15] != 0 {
		return invalid("flags", 0, "of the batch are unknown: %#x", b[offFlags:offProducer])
	}
	if binary.LittleEndian.Uint32(b[offZero:]) != 0 {
		return invalid("structure", 0, "batch header has a reserved field in use")
	}
	first, count := b.FirstSequence(), uint64(b.Count())
	switch {
	case b.Producer().IsZero() && first != 0:
		return invalid("sequence", 0, "is %d without a producer", first)
	case !b.Producer().IsZero() && first == 0:
		return invalid("sequence", 0, "of a producer starts at 1")
	case first+count < first:
		return invalid("sequence", 0, "overflows")
	}
	rest := []byte(b[HeaderSize:])
	for range count {
		r, after, err := next(rest)
		if err != nil {
			return err
		}
		if err := r.validateKey(); err != nil {
			return err
		}
		rest = after
	}
	if len(rest) != 0 {
		return invalid("structure", 0, "batch has %d bytes after its last record", len(rest))
	}
	return nil
}

// finish fills in the header of buf, whose records are in place.
func finish(buf []byte, p ProducerID, first uint64, pinned bool, count int) Batch {
	copy(buf, magic)
	binary.LittleEndian.PutUint32(buf[offLength:], uint32(len(buf)))
	clear(buf[offFlags:offProducer])
	if pinned {
		buf[offFlags] = flagPinned
	}
	copy(buf[offProducer:], p[:])
	if p.IsZero() {
		first = 0
	}
	binary.LittleEndian.PutUint64(buf[offFirst:], first)
	binary.LittleEndian.PutUint32(buf[offCount:], uint32(count))
	binary.LittleEndian.PutUint32(buf[offZero:], 0)
	binary.LittleEndian.PutUint32(buf[offCRC:], crc32.Checksum(buf[offFlags:], castagnoli))
	return Batch(buf)
}
