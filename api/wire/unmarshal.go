package wire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

// fields walks over the fields of a message that lies in several buffers. Once
// it meets what it does not know, bad is set and nothing more is read.
type fields struct {
	in   *mem.Reader
	left int // bytes of the message not yet read
	bad  bool
	part [][]byte // scratch of bytes
}

// next returns the number and the type of the next field; ok is false at the end, and when bad.
func (f *fields) next() (protowire.Number, protowire.Type, bool) {
	if f.bad || f.left == 0 {
		return 0, 0, false
	}
	number, kind := protowire.DecodeTag(f.varint())
	return number, kind, !f.bad
}

// varint reads one number; 0 when bad.
func (f *fields) varint() uint64 {
	before := f.in.Remaining()
	v, err := binary.ReadUvarint(f.in)
	f.left -= before - f.in.Remaining()
	if err != nil || f.left < 0 {
		f.bad = true
		return 0
	}
	return v
}

// length reads the length of a field and takes these bytes out of what is left.
func (f *fields) length() int {
	n := f.varint()
	if n > uint64(max(f.left, 0)) {
		f.bad = true
		return 0
	}
	f.left -= int(n)
	return int(n)
}

// bytes reads a field of bytes into memory of its own.
func (f *fields) bytes() []byte {
	n := f.length()
	if f.bad || n == 0 {
		return nil
	}
	parts, err := f.in.Peek(n, f.part[:0])
	if err != nil {
		f.bad = true
		return nil
	}
	f.part = parts
	out := bytes.Join(parts, nil) // does not clear the memory first
	if _, err := f.in.Discard(n); err != nil {
		f.bad = true
	}
	return out
}

// unmarshalAppend reports false if the message is better left to protobuf: it then says nothing about m.
func unmarshalAppend(data mem.BufferSlice, m *pb.AppendRequest) bool {
	in := data.Reader()
	defer func() { _ = in.Close() }() // it only gives buffers back
	proto.Reset(m)
	f := fields{in: in, left: in.Remaining()}
	for number, kind, ok := f.next(); ok; number, kind, ok = f.next() {
		switch {
		case number == appendID && kind == protowire.VarintType:
			m.Id = f.varint()
		case number == appendStream && kind == protowire.BytesType:
			text := f.bytes()
			f.bad = f.bad || !utf8.Valid(text)
			m.Stream = string(text)
		case number == appendShard && kind == protowire.VarintType:
			m.Shard = uint32(f.varint())
		case number == appendNoForward && kind == protowire.VarintType:
			m.NoForward = protowire.DecodeBool(f.varint())
		case number == appendStreamID && kind == protowire.VarintType:
			m.StreamId = f.varint()
		case number == appendBatch && kind == protowire.BytesType:
			m.Batch = f.bytes()
		case number == appendStreamID && kind == protowire.VarintType:
			m.StreamId = f.varint()
		default:
			return false
		}
	}
	return !f.bad
}

// unmarshalRead is unmarshalAppend's sibling.
func unmarshalRead(data mem.BufferSlice, m *pb.ReadResponse) bool {
	in := data.Reader()
	defer func() { _ = in.Close() }() // it only gives buffers back
	proto.Reset(m)
	f := fields{in: in, left: in.Remaining()}
	for number, kind, ok := f.next(); ok; number, kind, ok = f.next() {
		switch {
		case number == readBlocks && kind == protowire.BytesType:
			inner := fields{in: in, left: f.length(), part: f.part, bad: f.bad}
			m.Blocks = append(m.Blocks, inner.block())
			f.bad, f.part = inner.bad, inner.part
		case number == readNext && kind == protowire.VarintType:
			m.NextOrdinal = f.varint()
		case number == readTail && kind == protowire.VarintType:
			m.TailOrdinal = f.varint()
		case number == readBehind && kind == protowire.VarintType:
			m.MillisBehind = int64(f.varint())
		case number == readEnd && kind == protowire.VarintType:
			m.EndOfShard = protowire.DecodeBool(f.varint())
		case number == readFirst && kind == protowire.VarintType:
			m.FirstOrdinal = f.varint()
		default:
			return false
		}
	}
	return !f.bad
}

// block reads the fields of one block.
func (f *fields) block() *pb.Block {
	b := &pb.Block{}
	for number, kind, ok := f.next(); ok; number, kind, ok = f.next() {
		switch {
		case number == blockFirst && kind == protowire.VarintType:
			b.FirstOrdinal = f.varint()
		case number == blockCount && kind == protowire.VarintType:
			b.Count = uint32(f.varint())
		case number == blockTime && kind == protowire.VarintType:
			b.TimeMs = int64(f.varint())
		case number == blockPayload && kind == protowire.BytesType:
			b.Payload = f.bytes()
		case number == blockSkip && kind == protowire.VarintType:
			b.Skip = uint32(f.varint())
		default:
			f.bad = true
		}
	}
	return b
}
