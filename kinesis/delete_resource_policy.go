package kinesis

import "context"

type deleteResourcePolicyInput struct{ policyResource }

// deleteResourcePolicy removes the policy of a stream or a consumer.
func deleteResourcePolicy(ctx context.Context, s *Server, c *call, in *deleteResourcePolicyInput) (*nothing, error) {
	text, err := s.policyText(ctx, c, &in.policyResource)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, fail(codeResourceNotFound, "No resource policy found for resource ARN %s", *in.ResourceARN)
	}
	return nil, s.changePolicy(ctx, c, &in.policyResource, "")
}
