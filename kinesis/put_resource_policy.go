package kinesis

import "context"

type putResourcePolicyInput struct {
	policyResource
	Policy *string `is:"required;len=1:20480"`
}

// putResourcePolicy sets who may do what with a stream or a consumer. A policy that says what would not be enforced is refused.
func putResourcePolicy(ctx context.Context, s *Server, c *call, in *putResourcePolicyInput) (*nothing, error) {
	if _, err := parsePolicy(*in.Policy, *in.ResourceARN); err != nil {
		return nil, fail(codeInvalidArgument, "The policy is not valid: %s.", err.Error())
	}
	return nil, s.changePolicy(ctx, c, &in.policyResource, *in.Policy)
}
