package wire

import (
	"slices"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

// Field numbers of api/levada/v1 that the codec reads and writes itself; TestFieldNumbers holds them to it.
const (
	appendID, appendStream, appendShard, appendNoForward, appendBatch, appendStreamID = 1, 2, 3, 4, 5, 6

	readBlocks, readNext, readTail, readBehind, readEnd, readFirst = 1, 2, 3, 4, 5, 7

	blockFirst, blockCount, blockTime, blockPayload, blockSkip = 1, 2, 3, 4, 5
)

// marshalAppend encodes all but the batch as usual and puts the batch behind it.
func marshalAppend(m *pb.AppendRequest) (mem.BufferSlice, error) {
	rest := pb.AppendRequest{Id: m.GetId(), Stream: m.GetStream(), Shard: m.GetShard(), NoForward: m.GetNoForward(), StreamId: m.GetStreamId()}
	rest.ProtoReflect().SetUnknown(m.ProtoReflect().GetUnknown())
	head, err := proto.Marshal(&rest)
	if err != nil {
		return nil, err
	}
	head = protowire.AppendTag(head, appendBatch, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(m.GetBatch())))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(m.GetBatch())}, nil
}

// passes reports whether a page has a payload that is worth passing on by itself.
func passes(m *pb.ReadResponse) bool {
	return slices.ContainsFunc(m.GetBlocks(), func(b *pb.Block) bool { return len(b.GetPayload()) >= passMin })
}

// blockHeadMax bounds the encoding of a block without payload and unknown fields.
const blockHeadMax = 64

// flatLen estimates how much of a page is not passed on.
func flatLen(m *pb.ReadResponse) int {
	n := 0
	for _, b := range m.GetBlocks() {
		n += blockHeadMax
		if len(b.GetPayload()) < passMin {
			n += len(b.GetPayload())
		}
	}
	return n
}

// marshalRead encodes all but the blocks as usual and puts the blocks behind it, each
// with its payload at its end. Blocks with little in them go together.
func marshalRead(m *pb.ReadResponse) (mem.BufferSlice, error) {
	rest := pb.ReadResponse{
		NextOrdinal: m.GetNextOrdinal(), TailOrdinal: m.GetTailOrdinal(), MillisBehind: m.GetMillisBehind(),
		EndOfShard: m.GetEndOfShard(), Children: m.GetChildren(), FirstOrdinal: m.GetFirstOrdinal(),
	}
	rest.ProtoReflect().SetUnknown(m.ProtoReflect().GetUnknown())
	flat, err := proto.Marshal(&rest)
	if err != nil {
		return nil, err
	}
	var out mem.BufferSlice
	flat = slices.Grow(flat, flatLen(m))
	for _, b := range m.GetBlocks() {
		lead := pb.Block{FirstOrdinal: b.GetFirstOrdinal(), Count: b.GetCount(), TimeMs: b.GetTimeMs(), Skip: b.GetSkip()}
		lead.ProtoReflect().SetUnknown(b.ProtoReflect().GetUnknown())
		payload := b.GetPayload()
		size := proto.Size(&lead) + protowire.SizeTag(blockPayload) + protowire.SizeBytes(len(payload))
		flat = protowire.AppendTag(flat, readBlocks, protowire.BytesType)
		flat = protowire.AppendVarint(flat, uint64(size))
		if flat, err = (proto.MarshalOptions{}).MarshalAppend(flat, &lead); err != nil {
			return nil, err
		}
		flat = protowire.AppendTag(flat, blockPayload, protowire.BytesType)
		flat = protowire.AppendVarint(flat, uint64(len(payload)))
		if len(payload) < passMin {
			flat = append(flat, payload...)
			continue
		}
		out = append(out, mem.SliceBuffer(flat), mem.SliceBuffer(payload))
		flat = flat[len(flat):] // what was cut off is not written again
	}
	if len(flat) > 0 {
		out = append(out, mem.SliceBuffer(flat))
	}
	return out, nil
}
