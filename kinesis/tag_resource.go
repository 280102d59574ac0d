package kinesis

import "context"

type tagResourceInput struct {
	resourceRef
	Tags map[string]string `is:"required;len=1:200;key=1:128;item=0:256"`
}

// tagResource adds tags to a stream, a consumer or a channel.
func tagResource(ctx context.Context, s *Server, c *call, in *tagResourceInput) (*nothing, error) {
	return nil, s.changeTags(ctx, c, &in.resourceRef, func(have map[string]string) (map[string]string, error) { return addTags(have, in.Tags) })
}
