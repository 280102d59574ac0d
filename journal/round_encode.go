package journal

import (
	"github.com/levada-stream/levada/internal/crc32c"
	"github.com/levada-stream/levada/internal/vfs"
)

const (
	// gatherMin is the size from which an entry's data is written from where it is, if the file allows:
	// below it the copy is cheaper than one more buffer in the system call.
	gatherMin = 16 << 10
	// stagingKeep is how much staging memory is kept between rounds.
	stagingKeep = 8 << 20
)

// roundEncoder builds one round. Small things are copied into an aligned
// buffer that is reused; large data is referred to, unless the file needs
// aligned buffers.
type roundEncoder struct {
	staging []byte   // aligned; the length is what is used
	open    int      // start of the part of staging that no chunk refers to yet
	chunks  [][]byte // the round, in order
	length  int      // of the round so far
	crc     uint32   // of the payload so far
	records uint32
	gather  bool
}

// start begins a round of at most need bytes. Chunks of the last round are invalid from now on.
func (e *roundEncoder) start(need int64, gather bool) {
	if room := pad(need); int64(cap(e.staging)) < room || cap(e.staging) > stagingKeep && room <= stagingKeep {
		e.staging = vfs.AlignedBuffer(int(max(room, min(2*room, stagingKeep))))
	}
	e.staging = e.staging[:roundHeaderSize]
	clear(e.chunks)
	e.chunks, e.open = e.chunks[:0], 0
	e.length, e.crc, e.records, e.gather = roundHeaderSize, 0, 0, gather
}

// grow returns n more bytes of staging.
func (e *roundEncoder) grow(n int) []byte {
	at := len(e.staging)
	e.staging = e.staging[:at+n]
	e.length += n
	return e.staging[at:]
}

func (e *roundEncoder) control(kind recordKind, group, a, b, c uint64) {
	rec := e.grow(recordHeaderSize)
	encodeControl(rec, kind, group, a, b, c)
	e.crc = crcOf(e.crc, rec)
	e.records++
}

// entry adds an entry and returns where its record starts in the round.
func (e *roundEncoder) entry(kind recordKind, group uint64, entry *Entry) int {
	at := e.length
	head := e.grow(recordHeaderSize + len(entry.Extensions))
	copy(head[recordHeaderSize:], entry.Extensions)
	data := entry.Sum
	if !entry.Summed {
		data = crcOf(0, entry.Data) // once, for the record and for the round
	}
	encodeEntryHeader(head, kind, group, entry, data)
	e.crc = crc32c.Join(crcOf(e.crc, head), data, len(entry.Data))
	e.records++
	if e.gather && len(entry.Data) >= gatherMin {
		e.cut()
		e.chunks = append(e.chunks, entry.Data)
		e.length += len(entry.Data)
	} else {
		copy(e.grow(len(entry.Data)), entry.Data)
	}
	return at
}

// cut ends the chunk of staging that is being filled.
func (e *roundEncoder) cut() {
	if e.open < len(e.staging) {
		e.chunks = append(e.chunks, e.staging[e.open:len(e.staging):len(e.staging)])
		e.open = len(e.staging)
	}
}

// finish completes the header and pads to a page. The chunks are valid until the next start.
func (e *roundEncoder) finish(h roundHeader) [][]byte {
	h.length, h.payloadCRC, h.records = uint32(e.length), e.crc, e.records
	h.encode(e.staging)
	clear(e.grow(int(pad(int64(e.length))) - e.length))
	e.cut()
	return e.chunks
}
