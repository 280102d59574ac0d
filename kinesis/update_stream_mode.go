package kinesis

import (
	"context"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

type updateStreamModeInput struct {
	StreamARN           *string            `is:"required;len=1:2048;match=streamARN"`
	StreamModeDetails   *streamModeDetails `is:"required"`
	WarmThroughputMiBps *int64             `is:"range=0:"`
	StreamId            *string            `is:"len=1:24"`
}

func (in *updateStreamModeInput) locate(s *Server) (string, error) {
	return s.resolve(&streamRef{StreamARN: in.StreamARN})
}

// updateStreamMode changes who decides on a stream's number of shards: its owner, or the load.
func updateStreamMode(ctx context.Context, s *Server, c *call, in *updateStreamModeInput) (*nothing, error) {
	onDemand := *in.StreamModeDetails.StreamMode == modeOnDemand
	if !onDemand && in.WarmThroughputMiBps != nil {
		return nil, fail(codeValidation, "WarmThroughputMiBps can be given for a stream in ON_DEMAND mode only.")
	}
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	defer s.streams.forget(c.stream)
	switch {
	case onDemand && (!k.onDemand() || in.WarmThroughputMiBps != nil):
		err = s.warm(ctx, c, k, valueOf(in.WarmThroughputMiBps), "UpdateStreamMode")
	case !onDemand && k.onDemand():
		_, err = s.cluster.SetScaling(ctx, c.stream, &levadav1.Scaling{Mode: "off"}, "UpdateStreamMode")
		err = s.streamError(c.stream, err)
	}
	if err != nil {
		return nil, err
	}
	_, err = changeDoc(ctx, s, c.stream, docStream, func(doc *streamDoc, _ bool) error {
		if !onDemand {
			doc.WarmMiBps, doc.Distribution = 0, ""
		}
		if in.WarmThroughputMiBps != nil {
			doc.WarmMiBps = *in.WarmThroughputMiBps
		}
		return nil
	})
	return nil, err
}
