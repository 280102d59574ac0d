package kinesis

import "context"

type addTagsToStreamInput struct {
	streamRef
	Tags map[string]string `is:"required;len=1:200;key=1:128;item=0:256"`
}

// addTagsToStream adds tags to a stream.
func addTagsToStream(ctx context.Context, s *Server, c *call, in *addTagsToStreamInput) (*nothing, error) {
	return nil, s.changeStreamTags(ctx, c.stream, func(have map[string]string) (map[string]string, error) { return addTags(have, in.Tags) })
}
