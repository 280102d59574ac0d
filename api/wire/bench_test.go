package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

const (
	benchBytes = 256 << 10
	// frameBytes is how gRPC cuts what it sends and receives.
	frameBytes = 16 << 10
)

func benchPayload(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// benchMessages are a full batch on its way in, and pages on their way out: of one full block, and of 64 small ones.
func benchMessages() map[string]proto.Message {
	page := &pb.ReadResponse{NextOrdinal: 1 << 40, TailOrdinal: 1<<40 + 5, MillisBehind: 3}
	for i := range 64 {
		page.Blocks = append(page.Blocks, &pb.Block{FirstOrdinal: 1<<40 + uint64(i), Count: 4, TimeMs: 1_700_000_000_000, Payload: benchPayload(benchBytes / 64)})
	}
	return map[string]proto.Message{
		"append": &pb.AppendRequest{Id: 12345, Batch: benchPayload(benchBytes)},
		"read/blocks=1": &pb.ReadResponse{
			NextOrdinal: 1 << 40, TailOrdinal: 1<<40 + 5, MillisBehind: 3,
			Blocks: []*pb.Block{{FirstOrdinal: 1 << 40, Count: 250, TimeMs: 1_700_000_000_000, Payload: benchPayload(benchBytes)}},
		},
		"read/blocks=64": page,
	}
}

func perMessage(b *testing.B, bench func(b *testing.B, c encoding.CodecV2, m proto.Message)) {
	all := benchMessages()
	for _, name := range []string{"append", "read/blocks=1", "read/blocks=64"} {
		for _, c := range []struct {
			name string
			encoding.CodecV2
		}{{"wire", New()}, {"protobuf", New().plain}} {
			b.Run("message="+name+"/codec="+c.name, func(b *testing.B) {
				b.SetBytes(benchBytes)
				b.ReportAllocs()
				bench(b, c.CodecV2, all[name])
			})
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	perMessage(b, func(b *testing.B, c encoding.CodecV2, m proto.Message) {
		for b.Loop() {
			out, err := c.Marshal(m)
			if err != nil {
				b.Fatal(err)
			}
			out.Free() // as the transport does once it is sent
		}
	})
}

// BenchmarkUnmarshal reads a message as it arrives, in frames.
func BenchmarkUnmarshal(b *testing.B) {
	perMessage(b, func(b *testing.B, c encoding.CodecV2, m proto.Message) {
		plain, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		var frames mem.BufferSlice
		for rest := plain; len(rest) > 0; {
			n := min(frameBytes, len(rest))
			frames, rest = append(frames, mem.SliceBuffer(rest[:n])), rest[n:]
		}
		for b.Loop() {
			if err := c.Unmarshal(frames, m.ProtoReflect().New().Interface()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCopy is what no codec can do without that hands out memory of its own: a copy of as many bytes into new memory.
func BenchmarkCopy(b *testing.B) {
	from := benchPayload(benchBytes)
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		bytes.Clone(from)
	}
}
