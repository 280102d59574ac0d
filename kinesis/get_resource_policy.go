package kinesis

import "context"

type getResourcePolicyInput struct{ policyResource }

type getResourcePolicyOutput struct{ Policy string }

// noPolicy is what there is where nothing was set.
const noPolicy = "{}"

// getResourcePolicy returns the policy of a stream or a consumer.
func getResourcePolicy(ctx context.Context, s *Server, c *call, in *getResourcePolicyInput) (*getResourcePolicyOutput, error) {
	text, err := s.policyText(ctx, c, &in.policyResource)
	if err != nil {
		return nil, err
	}
	if text == "" {
		text = noPolicy
	}
	return &getResourcePolicyOutput{text}, nil
}
