package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// Position is where a shard log ends: what a snapshot promises the log to hold.
type Position struct {
	Next  uint64   // ordinal of the next record
	Index uint64   // Raft index of the last block, 0 if there is none
	Time  int64    // time of the last block, 0 if there is none
	Chain [16]byte // cumulative hash of all blocks
}

// Identity names the shard that a snapshot belongs to, so that a file in the
// wrong place is refused.
type Identity struct {
	Group    uint64
	StreamID uint64
	Shard    uint32
}

const (
	snapshotMagic        = "LVPS"
	snapshotVersion      = 1
	snapshotHeaderSize   = 128
	snapshotProducerSize = 48
	snapshotSpanSize     = 20
	snapshotMin          = snapshotHeaderSize + 4
	snapshotFlagClosed   = 1

	// SnapshotBytesMax bounds a snapshot that DecodeSnapshot takes in.
	SnapshotBytesMax = 256 << 20
)

var (
	// ErrSnapshot reports bytes that are no snapshot or fail their checks.
	ErrSnapshot = errors.New("partition snapshot is corrupt")
	// ErrSnapshotVersion reports a snapshot that a newer version wrote.
	ErrSnapshotVersion = errors.New("partition snapshot has an unknown version")
	// ErrSnapshotForeign reports a snapshot of another shard.
	ErrSnapshotForeign = errors.New("partition snapshot belongs to another shard")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// EncodeSnapshot returns the snapshot of s, whose log ends at p. Equal states
// give equal bytes.
func EncodeSnapshot(id Identity, p Position, s *State) []byte {
	le := binary.LittleEndian
	size := snapshotMin
	for e := s.producers.order.Front(); e != nil; e = e.Next() {
		size += snapshotProducerSize + snapshotSpanSize*len(e.Value.(*producer).spans)
	}
	b := make([]byte, 0, size)
	b = append(b, snapshotMagic...)
	b = le.AppendUint16(b, snapshotVersion)
	var flags uint16
	if s.closed {
		flags = snapshotFlagClosed
	}
	b = le.AppendUint16(b, flags)
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint64(b, id.Group)
	b = le.AppendUint64(b, id.StreamID)
	b = le.AppendUint32(b, id.Shard)
	b = le.AppendUint32(b, uint32(len(s.producers.byID)))
	b = le.AppendUint64(b, p.Next)
	b = le.AppendUint64(b, p.Index)
	b = le.AppendUint64(b, uint64(p.Time))
	b = append(b, p.Chain[:]...)
	b = le.AppendUint64(b, uint64(s.time))
	b = le.AppendUint64(b, s.trim)
	b = le.AppendUint64(b, uint64(s.producers.windowMillis))
	b = le.AppendUint32(b, uint32(s.producers.limit))
	b = append(b, make([]byte, snapshotHeaderSize-len(b))...)
	for e := s.producers.order.Front(); e != nil; e = e.Next() {
		b = appendProducer(b, e.Value.(*producer))
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendProducer(b []byte, p *producer) []byte {
	le := binary.LittleEndian
	b = append(b, p.id[:]...)
	b = le.AppendUint64(b, p.highest)
	b = le.AppendUint64(b, p.oldest)
	b = le.AppendUint64(b, uint64(p.seen))
	b = le.AppendUint32(b, uint32(len(p.spans)))
	b = le.AppendUint32(b, 0)
	for _, s := range p.spans {
		b = le.AppendUint32(b, s.count)
		b = le.AppendUint64(b, s.first)
		b = le.AppendUint64(b, uint64(s.time))
	}
	return b
}

// DecodeSnapshot decodes and fully checks a snapshot. The error wraps
// ErrSnapshot or ErrSnapshotVersion. Nothing returned aliases b.
func DecodeSnapshot(b []byte) (Identity, Position, *State, error) {
	if err := checkSnapshotFrame(b); err != nil {
		return Identity{}, Position{}, nil, err
	}
	le := binary.LittleEndian
	id := Identity{Group: le.Uint64(b[16:]), StreamID: le.Uint64(b[24:]), Shard: le.Uint32(b[32:])}
	producers := le.Uint32(b[36:])
	p := Position{Next: le.Uint64(b[40:]), Index: le.Uint64(b[48:]), Time: int64(le.Uint64(b[56:])), Chain: [16]byte(b[64:80])}
	s := &State{next: p.Next, time: int64(le.Uint64(b[80:])), trim: le.Uint64(b[88:])}
	flags := le.Uint16(b[6:])
	s.closed = flags&snapshotFlagClosed != 0
	window, limit := le.Uint64(b[96:]), le.Uint32(b[104:])
	switch {
	case flags&^snapshotFlagClosed != 0 || !isZero(b[108:snapshotHeaderSize]):
		return Identity{}, Position{}, nil, snapshotError("a reserved field is in use")
	case s.time < 0 || s.time > seqno.MaxTime || p.Time < 0 || p.Time > s.time || s.trim > s.next || s.next > 1<<63:
		return Identity{}, Position{}, nil, snapshotError("times or positions contradict each other")
	case window == 0 || window > uint64(365*24*time.Hour/time.Millisecond) || limit == 0 || limit > 1<<31-1 || producers > limit:
		return Identity{}, Position{}, nil, snapshotError("producer limits are out of range")
	}
	s.producers = newProducerTable(int64(window), int(limit))
	rest := b[snapshotHeaderSize : len(b)-4]
	for range producers {
		var err error
		if rest, err = s.decodeProducer(rest); err != nil {
			return Identity{}, Position{}, nil, err
		}
	}
	if len(rest) != 0 {
		return Identity{}, Position{}, nil, snapshotError("%d bytes follow the last producer", len(rest))
	}
	return id, p, s, nil
}

func checkSnapshotFrame(b []byte) error {
	if len(b) < snapshotMin || string(b[:4]) != snapshotMagic {
		return snapshotError("%d bytes hold no snapshot", len(b))
	}
	le := binary.LittleEndian
	if v := le.Uint16(b[4:]); v != snapshotVersion {
		return fmt.Errorf("%w: %d, this program knows %d", ErrSnapshotVersion, v, snapshotVersion)
	}
	if n := le.Uint64(b[8:]); n != uint64(len(b)) {
		return snapshotError("length is %d, header says %d", len(b), n)
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != le.Uint32(b[len(body):]) {
		return snapshotError("checksum mismatch")
	}
	return nil
}

// decodeProducer adds the producer at the start of b to the table and returns
// what follows it.
func (s *State) decodeProducer(b []byte) ([]byte, error) {
	if len(b) < snapshotProducerSize {
		return nil, snapshotError("a producer is cut")
	}
	le := binary.LittleEndian
	p := &producer{
		id: record.ProducerID(b[:16]), highest: le.Uint64(b[16:]), oldest: le.Uint64(b[24:]),
		seen: int64(le.Uint64(b[32:])),
	}
	n := le.Uint32(b[40:])
	reserved := le.Uint32(b[44:])
	b = b[snapshotProducerSize:]
	if n == 0 || n > rememberedSpans || uint64(len(b)) < uint64(n)*snapshotSpanSize || reserved != 0 {
		return nil, snapshotError("a producer has %d positions", n)
	}
	var covered uint64
	for range n {
		sp := span{le.Uint32(b), le.Uint64(b[4:]), int64(le.Uint64(b[12:]))}
		end := sp.first + uint64(sp.count)
		if sp.count == 0 || end < sp.first || end > s.next || sp.time < 0 || sp.time > s.time {
			return nil, snapshotError("a producer's position is out of range")
		}
		covered += uint64(sp.count)
		p.spans = append(p.spans, sp)
		b = b[snapshotSpanSize:]
	}
	last := s.producers.order.Back()
	switch {
	case p.id.IsZero() || s.producers.byID[p.id] != nil:
		return nil, snapshotError("a producer has no id, or that of another")
	case p.oldest == 0 || p.highest == ^uint64(0) || p.oldest+covered != p.highest+1 || p.oldest+covered < covered:
		return nil, snapshotError("a producer's sequence numbers contradict its positions")
	case p.seen < 0 || p.seen > s.time || (last != nil && last.Value.(*producer).seen > p.seen):
		return nil, snapshotError("producers are out of order")
	}
	s.producers.add(p)
	return b, nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func snapshotError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSnapshot, fmt.Sprintf(format, args...))
}
