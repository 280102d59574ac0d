package kinesis

import "context"

type listTagsForResourceInput struct{ resourceRef }

type listTagsForResourceOutput struct{ Tags []tagShape }

// listTagsForResource lists the tags of a stream, a consumer or a channel.
func listTagsForResource(ctx context.Context, s *Server, c *call, in *listTagsForResourceInput) (*listTagsForResourceOutput, error) {
	tags, err := s.tagsOf(ctx, c, &in.resourceRef)
	if err != nil {
		return nil, err
	}
	return &listTagsForResourceOutput{tagShapes(tags)}, nil
}
