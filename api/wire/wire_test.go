package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

// cut puts bytes into buffers of the given sizes, the rest into the last.
func cut(b []byte, sizes ...int) mem.BufferSlice {
	var out mem.BufferSlice
	for _, n := range sizes {
		n = min(n, len(b))
		out, b = append(out, mem.SliceBuffer(b[:n])), b[n:]
	}
	return append(out, mem.SliceBuffer(b))
}

func unknown[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 7))
	return m
}

func messages() map[string]proto.Message {
	big := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	block := func(n int) *pb.Block {
		return &pb.Block{FirstOrdinal: 1 << 60, Count: 12, TimeMs: -5, Payload: big[:n], Skip: 3}
	}
	return map[string]proto.Message{
		"append":           &pb.AppendRequest{Id: 1 << 63, Stream: "märz", Shard: 4_000_000_000, NoForward: true, StreamId: 1 << 62, Batch: big},
		"later append":     &pb.AppendRequest{Id: 7, Batch: big[:passMin]},
		"small append":     &pb.AppendRequest{Id: 7, Batch: big[:passMin-1]},
		"empty append":     &pb.AppendRequest{},
		"append, unknown":  unknown(&pb.AppendRequest{Id: 7, Batch: big}),
		"read":             &pb.ReadResponse{Blocks: []*pb.Block{block(len(big)), block(100), block(0), block(passMin)}, NextOrdinal: 5, TailOrdinal: 1 << 62, MillisBehind: -1, FirstOrdinal: 4},
		"small at the end": &pb.ReadResponse{Blocks: []*pb.Block{block(len(big)), block(1), {}}},
		"end of shard":     &pb.ReadResponse{Blocks: []*pb.Block{block(passMin)}, EndOfShard: true, Children: []uint32{5, 1 << 30}},
		"sign of life":     &pb.ReadResponse{NextOrdinal: 9},
		"read, unknown":    unknown(&pb.ReadResponse{Blocks: []*pb.Block{unknown(block(passMin))}}),
		"another message":  &pb.AppendResponse{Id: 5, Ranges: []*pb.AppendedRange{{Count: 1}}},
	}
}

// TestSameAsProtobuf holds both directions to the plain codec, however the bytes are cut.
func TestSameAsProtobuf(t *testing.T) {
	c, rng := New(), rand.New(rand.NewPCG(1, 2))
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			sent, err := c.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			back := m.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(sent.Materialize(), back); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(m, back) {
				t.Fatal("protobuf reads something else than was sent")
			}
			plain, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				sizes := make([]int, rng.IntN(6))
				for i := range sizes {
					sizes[i] = rng.IntN(len(plain) + 1)
				}
				if err := c.Unmarshal(cut(plain, sizes...), back); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(m, back) {
					t.Fatalf("cut at %v, something else is read than protobuf sent", sizes)
				}
			}
		})
	}
}

// complete sets every field that the contract has, those of blocks too.
func complete[M proto.Message](m M, payload []byte) M {
	r := m.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		f := r.Descriptor().Fields().Get(i)
		var v protoreflect.Value
		switch f.Kind() {
		case protoreflect.BoolKind:
			v = protoreflect.ValueOfBool(true)
		case protoreflect.Uint32Kind:
			v = protoreflect.ValueOfUint32(7)
		case protoreflect.Uint64Kind:
			v = protoreflect.ValueOfUint64(8)
		case protoreflect.Int64Kind:
			v = protoreflect.ValueOfInt64(9)
		case protoreflect.StringKind:
			v = protoreflect.ValueOfString("text")
		case protoreflect.BytesKind:
			v = protoreflect.ValueOfBytes(payload)
		case protoreflect.MessageKind:
			v = protoreflect.ValueOfMessage(complete(r.NewField(f).List().NewElement().Message().Interface(), payload).ProtoReflect())
		}
		if f.IsList() {
			r.Mutable(f).List().Append(v)
			continue
		}
		r.Set(f, v)
	}
	return m
}

// TestNoFieldIsLost is the one that must fail when a field is added to a message that the codec writes itself, and not to the codec.
func TestNoFieldIsLost(t *testing.T) {
	for _, m := range []proto.Message{complete(&pb.AppendRequest{}, make([]byte, passMin)), complete(&pb.ReadResponse{}, make([]byte, passMin))} {
		sent, err := New().Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for way, unmarshal := range map[string]func(mem.BufferSlice, any) error{"wire": New().Unmarshal, "protobuf": New().plain.Unmarshal} {
			back := m.ProtoReflect().New().Interface()
			if err := unmarshal(sent, back); err != nil || !proto.Equal(m, back) {
				t.Errorf("%s reads %v, %v", way, back, err)
			}
		}
	}
}

// TestPayloadsPassThrough: the payload is sent from where it lies, and received in memory of its own.
func TestPayloadsPassThrough(t *testing.T) {
	batch := bytes.Repeat([]byte{1}, 100_000)
	sent, err := New().Marshal(&pb.AppendRequest{Id: 1, Batch: batch})
	if err != nil {
		t.Fatal(err)
	}
	if last := sent[len(sent)-1].ReadOnlyData(); &last[0] != &batch[0] {
		t.Error("the batch was copied to be sent")
	}
	var got pb.AppendRequest
	if err := New().Unmarshal(sent, &got); err != nil {
		t.Fatal(err)
	}
	if &got.Batch[0] == &batch[0] {
		t.Error("what was received lies in the transport's memory")
	}
}

// TestFieldNumbers holds the numbers that the codec knows to the contract.
func TestFieldNumbers(t *testing.T) {
	check := func(m proto.Message, want map[protoreflect.Name]protoreflect.FieldNumber) {
		for name, number := range want {
			if f := m.ProtoReflect().Descriptor().Fields().ByName(name); f == nil || f.Number() != number {
				t.Errorf("%s: field %s is %v, the codec takes it for %d", m.ProtoReflect().Descriptor().Name(), name, f, number)
			}
		}
	}
	check(&pb.AppendRequest{}, map[protoreflect.Name]protoreflect.FieldNumber{
		"id": appendID, "stream": appendStream, "shard": appendShard, "no_forward": appendNoForward, "batch": appendBatch, "stream_id": appendStreamID,
	})
	check(&pb.ReadResponse{}, map[protoreflect.Name]protoreflect.FieldNumber{
		"blocks": readBlocks, "next_ordinal": readNext, "tail_ordinal": readTail, "millis_behind": readBehind, "end_of_shard": readEnd, "first_ordinal": readFirst,
	})
	check(&pb.Block{}, map[protoreflect.Name]protoreflect.FieldNumber{
		"first_ordinal": blockFirst, "count": blockCount, "time_ms": blockTime, "payload": blockPayload, "skip": blockSkip,
	})
	// A field that the codec does not know would be lost when it is sent.
	for m, known := range map[proto.Message]int{&pb.AppendRequest{}: 6, &pb.ReadResponse{}: 7, &pb.Block{}: 5} {
		if n := m.ProtoReflect().Descriptor().Fields().Len(); n != known {
			t.Errorf("%s has %d fields, marshal.go knows %d", m.ProtoReflect().Descriptor().Name(), n, known)
		}
	}
}

// FuzzUnmarshal: whatever arrives means the same as to protobuf, or fails as it does there.
func FuzzUnmarshal(f *testing.F) {
	for _, m := range messages() {
		plain, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		if len(plain) > 5000 {
			plain = plain[:5000]
		}
		f.Add(plain, uint16(1), uint16(900))
	}
	small := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(small(&pb.AppendRequest{Id: 3, Stream: "s", Shard: 1, NoForward: true, StreamId: 9, Batch: []byte("abc")}), uint16(3), uint16(2))
	f.Add(small(&pb.ReadResponse{Blocks: []*pb.Block{{FirstOrdinal: 1, Count: 2, TimeMs: 3, Payload: []byte("abc"), Skip: 1}, {}}, NextOrdinal: 1}), uint16(3), uint16(2))
	f.Fuzz(func(t *testing.T, b []byte, first, second uint16) {
		for _, c := range []struct {
			fast func(mem.BufferSlice) (proto.Message, bool)
			want proto.Message
		}{
			{func(d mem.BufferSlice) (proto.Message, bool) {
				m := &pb.AppendRequest{}
				return m, unmarshalAppend(d, m)
			}, &pb.AppendRequest{}},
			{func(d mem.BufferSlice) (proto.Message, bool) { m := &pb.ReadResponse{}; return m, unmarshalRead(d, m) }, &pb.ReadResponse{}},
		} {
			got, ok := c.fast(cut(b, int(first), int(second)))
			if !ok {
				continue // protobuf decides
			}
			if err := proto.Unmarshal(b, c.want); err != nil {
				t.Fatalf("%T is read as %v, protobuf refuses it: %v", got, got, err)
			}
			if !proto.Equal(got, c.want) {
				t.Fatalf("read as %v, protobuf reads %v", got, c.want)
			}
		}
	})
}
