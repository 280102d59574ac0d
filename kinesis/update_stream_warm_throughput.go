package kinesis

import "context"

type updateStreamWarmThroughputInput struct {
	streamRef
	WarmThroughputMiBps *int64 `is:"required;range=0:10240"`
}

type updateStreamWarmThroughputOutput struct {
	StreamARN      string
	StreamName     string
	WarmThroughput warmThroughput
}

// updateStreamWarmThroughput makes an on-demand stream ready for a rate before it comes: it begins to split shards until there is one for
// each MiB/s. There are never fewer from then on; above that their number follows the load.
func updateStreamWarmThroughput(ctx context.Context, s *Server, c *call, in *updateStreamWarmThroughputInput) (*updateStreamWarmThroughputOutput, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if !k.onDemand() {
		return nil, fail(codeValidation, "Stream %s under account %s is not in ON_DEMAND mode.", c.stream, s.opts.Account)
	}
	now := int64(k.stream.GetOpenShards())
	defer s.streams.forget(c.stream)
	if err := s.warm(ctx, c, k, *in.WarmThroughputMiBps, "UpdateStreamWarmThroughput"); err != nil {
		return nil, err
	}
	if _, err := changeDoc(ctx, s, c.stream, docStream, func(doc *streamDoc, _ bool) error {
		doc.WarmMiBps = *in.WarmThroughputMiBps
		return nil
	}); err != nil {
		return nil, err
	}
	return &updateStreamWarmThroughputOutput{s.streamARN(c.stream), c.stream, warmThroughput{CurrentMiBps: now, TargetMiBps: *in.WarmThroughputMiBps}}, nil
}
