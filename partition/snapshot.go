package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
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
	snapshotVersion      = 2 // of 1, the zero bytes stand for what is new
	snapshotVersionMax   = 3 // of one with repeatable calls
	snapshotHeaderSize   = 128
	snapshotProducerSize = 48
	snapshotScopeSize    = 2 * hashkey.Size
	snapshotSpanSize     = 28
	snapshotSpanSizeV1   = 20
	snapshotMin          = snapshotHeaderSize + 4
	snapshotFlagClosed   = 1
	snapshotFlagPending  = 2
	producerFlagScoped   = 1

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
		p := e.Value.(*producer)
		size += snapshotProducerSize + snapshotSpanSize*len(p.spans)
		if p.scoped {
			size += snapshotScopeSize
		}
	}
	version, calls := uint16(snapshotVersion), s.repeatables.order
	if calls.Len() > 0 {
		version = snapshotVersionMax
		size += calls.Len()*repeatableSize + s.repeatables.runs*runSize
	}
	b := make([]byte, 0, size)
	b = append(b, snapshotMagic...)
	b = le.AppendUint16(b, version)
	var flags uint16
	if s.closed {
		flags |= snapshotFlagClosed
	}
	if s.pending {
		flags |= snapshotFlagPending
	}
	b = le.AppendUint16(b, flags)
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint64(b, id.Group)
	b = le.AppendUint64(b, id.StreamID)
	b = le.AppendUint32(b, id.Shard)
	b = le.AppendUint32(b, uint32(s.producers.order.Len()))
	b = le.AppendUint64(b, p.Next)
	b = le.AppendUint64(b, p.Index)
	b = le.AppendUint64(b, uint64(p.Time))
	b = append(b, p.Chain[:]...)
	b = le.AppendUint64(b, uint64(s.time))
	b = le.AppendUint64(b, s.trim)
	b = le.AppendUint64(b, uint64(s.producers.windowMillis))
	b = le.AppendUint32(b, uint32(s.producers.limit))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(s.sealed))
	b = le.AppendUint32(b, uint32(calls.Len()))
	b = le.AppendUint32(b, 0)
	for e := s.producers.order.Front(); e != nil; e = e.Next() {
		b = appendProducer(b, e.Value.(*producer))
	}
	for e := calls.Front(); e != nil; e = e.Next() {
		b = appendRepeatable(b, e.Value.(*repeatable))
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
	if p.scoped {
		b = le.AppendUint32(b, producerFlagScoped)
		b = p.scope.Start.AppendBytes(b)
		b = p.scope.End.AppendBytes(b)
	} else {
		b = le.AppendUint32(b, 0)
	}
	for _, s := range p.spans {
		b = le.AppendUint32(b, s.count)
		b = le.AppendUint64(b, s.first)
		b = le.AppendUint64(b, uint64(s.time))
		b = le.AppendUint64(b, s.ancestor)
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
	s.closed, s.pending, s.sealed = flags&snapshotFlagClosed != 0, flags&snapshotFlagPending != 0, int64(le.Uint64(b[112:]))
	version := le.Uint16(b[4:])
	if version == 1 && s.closed {
		s.sealed = s.time
	}
	calls := le.Uint32(b[120:])
	window, limit := le.Uint64(b[96:]), le.Uint32(b[104:])
	switch {
	case flags&^(snapshotFlagClosed|snapshotFlagPending) != 0 || !isZero(b[108:112]) || !isZero(b[124:snapshotHeaderSize]) || (calls > 0) != (version == snapshotVersionMax),
		version == 1 && (s.pending || !isZero(b[112:120])):
		return Identity{}, Position{}, nil, snapshotError("a reserved field is in use")
	case s.sealed < 0 || s.sealed > s.time || !s.closed && s.sealed != 0 || s.pending && s.next > 0:
		return Identity{}, Position{}, nil, snapshotError("the seal and what is stored contradict each other")
	case s.time < 0 || s.time > seqno.MaxTime || p.Time < 0 || p.Time > s.time || s.trim > s.next || s.next > 1<<63:
		return Identity{}, Position{}, nil, snapshotError("times or positions contradict each other")
	case window == 0 || window > uint64(365*24*time.Hour/time.Millisecond) || limit == 0 || limit > 1<<31-1 || producers > limit:
		return Identity{}, Position{}, nil, snapshotError("producer limits are out of range")
	}
	s.producers = newProducerTable(int64(window), int(limit))
	rest := b[snapshotHeaderSize : len(b)-4]
	for range producers {
		var p *producer
		var err error
		if p, rest, err = decodeProducer(rest, version, s.next, s.time); err == nil {
			err = s.producers.take(p)
		}
		if err != nil {
			return Identity{}, Position{}, nil, err
		}
	}
	var err error
	if s.repeatables, rest, err = decodeRepeatables(rest, calls, s.next, s.time); err != nil {
		return Identity{}, Position{}, nil, err
	}
	if len(rest) != 0 {
		return Identity{}, Position{}, nil, snapshotError("%d bytes follow the end", len(rest))
	}
	return id, p, s, nil
}

func checkSnapshotFrame(b []byte) error {
	if len(b) < snapshotMin || string(b[:4]) != snapshotMagic {
		return snapshotError("%d bytes hold no snapshot", len(b))
	}
	le := binary.LittleEndian
	if v := le.Uint16(b[4:]); v == 0 || v > snapshotVersionMax {
		return fmt.Errorf("%w: %d, this program knows 1 to %d", ErrSnapshotVersion, v, snapshotVersionMax)
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

// decodeProducer decodes and checks the producer at the start of b, in a shard that ends at next and whose
// clock shows now, and returns what follows it.
func decodeProducer(b []byte, version uint16, next uint64, now int64) (*producer, []byte, error) {
	if len(b) < snapshotProducerSize {
		return nil, nil, snapshotError("a producer is cut")
	}
	le := binary.LittleEndian
	p := &producer{
		id: record.ProducerID(b[:16]), highest: le.Uint64(b[16:]), oldest: le.Uint64(b[24:]),
		seen: int64(le.Uint64(b[32:])),
	}
	n, flags := le.Uint32(b[40:]), le.Uint32(b[44:])
	b = b[snapshotProducerSize:]
	if p.scoped = flags == producerFlagScoped && version > 1; p.scoped {
		if len(b) < snapshotScopeSize {
			return nil, nil, snapshotError("a producer is cut")
		}
		p.scope = hashkey.Range{Start: hashkey.FromBytes(b), End: hashkey.FromBytes(b[hashkey.Size:])}
		b = b[snapshotScopeSize:]
	}
	spanSize := snapshotSpanSize
	if version == 1 {
		spanSize = snapshotSpanSizeV1
	}
	if n == 0 || n > rememberedSpans || len(b) < int(n)*spanSize || flags != 0 && !p.scoped {
		return nil, nil, snapshotError("a producer has %d positions and flags %#x", n, flags)
	}
	var covered uint64
	for range n {
		sp := span{count: le.Uint32(b), first: le.Uint64(b[4:]), time: int64(le.Uint64(b[12:]))}
		if version > 1 {
			sp.ancestor = le.Uint64(b[20:])
		}
		if end := sp.first + uint64(sp.count); sp.count == 0 || end < sp.first || sp.ancestor > 1<<32 || sp.ancestor == 0 && end > next || sp.time < 0 || sp.time > now {
			return nil, nil, snapshotError("a producer's position is out of range")
		}
		covered += uint64(sp.count)
		p.spans = append(p.spans, sp)
		b = b[spanSize:]
	}
	switch {
	case p.id.IsZero() || p.scoped && p.scope.Start.Compare(p.scope.End) > 0:
		return nil, nil, snapshotError("a producer has no id, or an impossible scope")
	case p.oldest == 0 || p.highest == ^uint64(0) || p.oldest+covered != p.highest+1 || p.oldest+covered < covered:
		return nil, nil, snapshotError("a producer's sequence numbers contradict its positions")
	case p.seen < 0 || p.seen > now:
		return nil, nil, snapshotError("a producer was seen after the end")
	}
	return p, b, nil
}

// take adds a decoded producer, which must have been seen no earlier than those before it.
func (t *producerTable) take(p *producer) error {
	if last := t.order.Back(); last != nil && last.Value.(*producer).seen > p.seen {
		return snapshotError("producers are out of order")
	}
	if !t.push(p) {
		return snapshotError("a producer has two numberings for the same keys")
	}
	return nil
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
