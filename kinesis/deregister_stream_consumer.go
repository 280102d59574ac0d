package kinesis

import "context"

type deregisterStreamConsumerInput struct {
	consumerRef
	StreamId *string `is:"len=1:24"`
}

// deregisterStreamConsumer ends a consumer. What is being pushed to it goes on until the subscription's end.
func deregisterStreamConsumer(ctx context.Context, s *Server, c *call, in *deregisterStreamConsumerInput) (*nothing, error) {
	one, err := s.consumer(ctx, c, &in.consumerRef)
	if err != nil {
		return nil, err
	}
	return nil, removeDoc(ctx, s, c.stream, docConsumerPrefix+one.name)
}
