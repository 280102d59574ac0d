package partition

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/levada-stream/levada/internal/fault"
)

const (
	partVersion    = 1
	partHeaderSize = 8
	partBaseSize   = 40
	partTrimmed    = 1

	// FetchBytesMax bounds what a peer is asked for at once. An answer is
	// larger only if it is one block that is.
	FetchBytesMax = 8 << 20
)

// ErrPart reports an answer to a fetch that is no part of a log.
var ErrPart = errors.New("fetched part of the log is malformed")

// part is the answer to a fetch.
type part struct {
	trimmed bool     // the log begins later than asked for, at base
	base    Position // where the log stands before the first block; set if trimmed
	blocks  []byte   // encoded blocks, as the log's ReadRaw gives them; may be empty
}

func (p *part) encode() []byte {
	b := make([]byte, partHeaderSize, partHeaderSize+partBaseSize+len(p.blocks))
	b[0] = partVersion
	if p.trimmed {
		b[1] = partTrimmed
		le := binary.LittleEndian
		b = le.AppendUint64(b, p.base.Next)
		b = le.AppendUint64(b, p.base.Index)
		b = le.AppendUint64(b, uint64(p.base.Time))
		b = append(b, p.base.Chain[:]...)
	}
	return append(b, p.blocks...)
}

// decodePart decodes an answer; its blocks alias b.
func decodePart(b []byte) (part, error) {
	if len(b) < partHeaderSize || b[0] != partVersion || b[1]&^partTrimmed != 0 || !isZero(b[2:partHeaderSize]) {
		return part{}, fmt.Errorf("%w: bad header", ErrPart)
	}
	p := part{trimmed: b[1]&partTrimmed != 0, blocks: b[partHeaderSize:]}
	if !p.trimmed {
		return p, nil
	}
	if len(p.blocks) < partBaseSize {
		return part{}, fmt.Errorf("%w: cut in the base", ErrPart)
	}
	le, base := binary.LittleEndian, p.blocks
	p.base = Position{Next: le.Uint64(base), Index: le.Uint64(base[8:]), Time: int64(le.Uint64(base[16:])), Chain: [16]byte(base[24:40])}
	p.blocks = p.blocks[partBaseSize:]
	return p, nil
}

// ServeFetch answers a peer that lacks the log from ordinal from on: with about
// maxBytes of blocks that were applied here, beginning with the one that holds
// from or, when from is trimmed, with the first that can still be read. The
// answer is decoded by Restore of the peer; its blocks are checked there.
func (r *Replica) ServeFetch(from uint64, maxBytes int) ([]byte, error) {
	v := r.current()
	if from > v.next {
		return nil, fault.New(fault.Unavailable, "this replica has applied %d records, %d are asked for", v.next, from)
	}
	var p part
	if from < v.trim || from < r.log.First() {
		if base := fromLog(r.log.Start()); base.Next > from {
			p.trimmed, p.base = true, base
			from = base.Next
		}
	}
	if from < v.next {
		blocks, _, err := r.log.ReadRaw(from, v.next, min(max(maxBytes, 1), FetchBytesMax))
		if err != nil {
			return nil, readFault(err)
		}
		p.blocks = blocks
	}
	return p.encode(), nil
}
