package wire

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

// passMin is the length from which a payload of its own in the transport's
// queue costs less than its copy.
const passMin = 4 << 10

// Codec is the codec for servers (grpc.ForceServerCodecV2) and clients
// (grpc.ForceCodecV2). Its name on the wire is that of protobuf.
type Codec struct{ plain encoding.CodecV2 }

// New returns the codec. It is safe for concurrent use.
func New() Codec { return Codec{encoding.GetCodecV2(proto.Name)} }

// Name implements encoding.CodecV2.
func (c Codec) Name() string { return proto.Name }

// Marshal implements encoding.CodecV2.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *pb.AppendRequest:
		if len(m.GetBatch()) >= passMin {
			return marshalAppend(m)
		}
	case *pb.ReadResponse:
		if passes(m) {
			return marshalRead(m)
		}
	}
	return c.plain.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if data.Len() >= passMin {
		switch m := v.(type) {
		case *pb.AppendRequest:
			if unmarshalAppend(data, m) {
				return nil
			}
		case *pb.ReadResponse:
			if unmarshalRead(data, m) {
				return nil
			}
		}
	}
	return c.plain.Unmarshal(data, v)
}
