package kinesis

import "context"

type updateStreamRecordDistributionStrategyInput struct {
	StreamARN                  *string `is:"required;len=1:2048;match=streamARN"`
	RecordDistributionStrategy *string `is:"required;enum=distribution"`
	StreamId                   *string `is:"len=1:24"`
}

func (in *updateStreamRecordDistributionStrategyInput) locate(s *Server) (string, error) {
	return s.resolve(&streamRef{StreamARN: in.StreamARN})
}

// updateStreamRecordDistributionStrategy sets whether records go to shards by their keys or anywhere. Other nodes follow within a second.
func updateStreamRecordDistributionStrategy(ctx context.Context, s *Server, c *call, in *updateStreamRecordDistributionStrategyInput) (*nothing, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if *in.RecordDistributionStrategy == distributionAuto && !k.onDemand() {
		return nil, fail(codeInvalidArgument, "The RecordDistributionStrategy AUTO is for streams in ON_DEMAND mode only.")
	}
	_, err = changeDoc(ctx, s, c.stream, docStream, func(doc *streamDoc, _ bool) error {
		doc.Distribution = *in.RecordDistributionStrategy
		return nil
	})
	return nil, err
}
