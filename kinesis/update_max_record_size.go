package kinesis

import (
	"context"

	"github.com/levada-stream/levada/client"
)

type updateMaxRecordSizeInput struct {
	StreamARN          *string `is:"required;len=1:2048;match=streamARN"`
	MaxRecordSizeInKiB *int64  `is:"required;range=1024:10240"`
	StreamId           *string `is:"len=1:24"`
}

func (in *updateMaxRecordSizeInput) locate(s *Server) (string, error) {
	return s.resolve(&streamRef{StreamARN: in.StreamARN})
}

// updateMaxRecordSize sets how large a record of a stream may be.
func updateMaxRecordSize(ctx context.Context, s *Server, c *call, in *updateMaxRecordSizeInput) (*nothing, error) {
	most := recordBytesOf(in.MaxRecordSizeInKiB)
	defer s.streams.forget(c.stream)
	_, err := s.cluster.UpdateStream(ctx, c.stream, client.StreamChange{MaxRecordBytes: &most})
	return nil, s.streamError(c.stream, err)
}
