package kinesis

import "context"

type describeStreamConsumerInput struct {
	consumerRef
	StreamId *string `is:"len=1:24"`
}

type describeStreamConsumerOutput struct{ ConsumerDescription consumerDescription }

// describeStreamConsumer describes a consumer.
func describeStreamConsumer(ctx context.Context, s *Server, c *call, in *describeStreamConsumerInput) (*describeStreamConsumerOutput, error) {
	one, err := s.consumer(ctx, c, &in.consumerRef)
	if err != nil {
		return nil, err
	}
	shape := s.consumerShapeOf(c.stream, one)
	return &describeStreamConsumerOutput{consumerDescription{
		ConsumerARN: shape.ConsumerARN, ConsumerCreationTimestamp: shape.ConsumerCreationTimestamp,
		ConsumerName: shape.ConsumerName, ConsumerStatus: shape.ConsumerStatus, StreamARN: s.streamARN(c.stream),
	}}, nil
}
