package kinesis

import "context"

type removeTagsFromStreamInput struct {
	streamRef
	TagKeys []string `is:"required;len=1:50;item=1:128"`
}

// removeTagsFromStream removes tags of a stream, as far as it has them.
func removeTagsFromStream(ctx context.Context, s *Server, c *call, in *removeTagsFromStreamInput) (*nothing, error) {
	return nil, s.changeStreamTags(ctx, c.stream, func(have map[string]string) (map[string]string, error) { return removeTags(have, in.TagKeys), nil })
}
