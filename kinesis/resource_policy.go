package kinesis

import "context"

// policyResource names what has a policy: a stream or a consumer.
type policyResource struct{ resourceRef }

func (r *policyResource) locate(s *Server) (string, error) {
	stream, err := r.resourceRef.locate(s)
	if err == nil && stream == "" {
		err = fail(codeInvalidArgument, "The resource %s cannot have a policy.", *r.ResourceARN)
	}
	return stream, err
}

// changePolicy sets the policy of a stream or a consumer, "" for none.
func (s *Server) changePolicy(ctx context.Context, c *call, r *policyResource, text string) error {
	a, _ := parseARN(*r.ResourceARN)
	if _, name, created, _ := a.stream(); name != "" {
		_, err := changeDoc(ctx, s, c.stream, docConsumerPrefix+name, func(doc *consumerDoc, exists bool) error {
			if !exists || doc.Created/1000 != created {
				return s.noConsumer(s.opts.Account, *r.ResourceARN)
			}
			doc.Policy = text
			return nil
		})
		return err
	}
	_, err := changeDoc(ctx, s, c.stream, docStream, func(doc *streamDoc, _ bool) error {
		doc.Policy = text
		return nil
	})
	return err
}

// policyText returns the policy of a stream or a consumer, "" for none.
func (s *Server) policyText(ctx context.Context, c *call, r *policyResource) (string, error) {
	a, _ := parseARN(*r.ResourceARN)
	if _, name, _, _ := a.stream(); name != "" {
		one, err := s.consumer(ctx, c, &consumerRef{ConsumerARN: r.ResourceARN})
		if err != nil {
			return "", err
		}
		return one.doc.Policy, nil
	}
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return "", err
	}
	return k.doc.Policy, nil
}
