package kinesis

import "context"

type listTagsForStreamInput struct {
	streamRef
	ExclusiveStartTagKey *string `is:"len=1:128"`
	Limit                *int64  `is:"range=1:50"`
}

type listTagsForStreamOutput struct {
	HasMoreTags bool
	Tags        []tagShape
}

// listTagsForStream lists the tags of a stream by their keys.
func listTagsForStream(ctx context.Context, s *Server, c *call, in *listTagsForStreamInput) (*listTagsForStreamOutput, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	out := &listTagsForStreamOutput{Tags: []tagShape{}}
	for _, tag := range tagShapes(k.doc.Tags) {
		switch {
		case in.ExclusiveStartTagKey != nil && tag.Key <= *in.ExclusiveStartTagKey:
		case len(out.Tags) == pageSize(in.Limit, tagsMax):
			out.HasMoreTags = true
		default:
			out.Tags = append(out.Tags, tag)
		}
	}
	return out, nil
}
