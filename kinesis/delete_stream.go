package kinesis

import "context"

type deleteStreamInput struct {
	streamRef
	EnforceConsumerDeletion *bool
}

// deleteStream deletes a stream. Its consumers and tags go with it.
func deleteStream(ctx context.Context, s *Server, c *call, in *deleteStreamInput) (*nothing, error) {
	consumers, err := s.consumersOf(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if len(consumers) > 0 && (in.EnforceConsumerDeletion == nil || !*in.EnforceConsumerDeletion) {
		return nil, fail(codeResourceInUse, "Stream %s under account %s has %d registered consumers: deregister them or set EnforceConsumerDeletion.", c.stream, s.opts.Account, len(consumers))
	}
	channels, err := s.channelsOf(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if len(channels) > 0 {
		return nil, fail(codeResourceInUse, "Stream %s under account %s has %d channels: delete them first.", c.stream, s.opts.Account, len(channels))
	}
	defer s.streams.forget(c.stream)
	return nil, s.streamError(c.stream, s.cluster.DeleteStream(ctx, c.stream))
}
