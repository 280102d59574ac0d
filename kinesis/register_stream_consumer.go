package kinesis

import (
	"context"
)

type registerStreamConsumerInput struct {
	StreamARN    *string           `is:"required;len=1:2048;match=streamARN"`
	ConsumerName *string           `is:"required;len=1:128;match=streamName"`
	Tags         map[string]string `is:"len=0:200;key=1:128;item=0:256"`
	StreamId     *string           `is:"len=1:24"`
}

func (in *registerStreamConsumerInput) locate(s *Server) (string, error) {
	return s.resolve(&streamRef{StreamARN: in.StreamARN})
}

type registerStreamConsumerOutput struct{ Consumer consumerShape }

// registerStreamConsumer registers a consumer for enhanced fan-out.
func registerStreamConsumer(ctx context.Context, s *Server, c *call, in *registerStreamConsumerInput) (*registerStreamConsumerOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	one := consumer{name: *in.ConsumerName}
	var err error
	one.doc, err = changeDoc(ctx, s, c.stream, docConsumerPrefix+one.name, func(doc *consumerDoc, exists bool) error {
		if exists {
			return fail(codeResourceInUse, "Consumer %s under stream %s already exists for account %s.", one.name, c.stream, s.opts.Account)
		}
		*doc = consumerDoc{Created: s.opts.Now().UnixMilli(), Tags: in.Tags}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &registerStreamConsumerOutput{s.consumerShapeOf(c.stream, &one)}, nil
}
