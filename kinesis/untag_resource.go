package kinesis

import "context"

type untagResourceInput struct {
	resourceRef
	TagKeys []string `is:"required;len=1:50;item=1:128"`
}

// untagResource removes tags of a stream, a consumer or a channel, as far as it has them.
func untagResource(ctx context.Context, s *Server, c *call, in *untagResourceInput) (*nothing, error) {
	return nil, s.changeTags(ctx, c, &in.resourceRef, func(have map[string]string) (map[string]string, error) { return removeTags(have, in.TagKeys), nil })
}
