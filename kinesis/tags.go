package kinesis

import (
	"context"
	"maps"
	"slices"
	"strings"
)

const (
	tagsMax = 50
	// tagReserved begins the keys that nobody may use.
	tagReserved = "aws:"
	// tagLimits is the key of the tag by which a stream has a limits profile of its own.
	tagLimits = "levada:limits"
)

// checkTags refuses tags that the API's constraints let through and the service does not.
func checkTags(tags map[string]string) error {
	if len(tags) > tagsMax {
		return fail(codeInvalidArgument, "A request may have %d tags, not %d.", tagsMax, len(tags))
	}
	for key, value := range tags {
		if key == tagLimits && !LimitsProfile(value).valid() {
			return fail(codeInvalidArgument, "The value of the tag %s must be %s or %s, not %s.", tagLimits, LimitsNone, LimitsKinesis, value)
		}
		if strings.HasPrefix(key, tagReserved) {
			return fail(codeInvalidArgument, "Tag keys that begin with %s are reserved: %s.", tagReserved, key)
		}
	}
	return nil
}

// addTags returns tags with others added, those of the same key replaced.
func addTags(have, add map[string]string) (map[string]string, error) {
	if err := checkTags(add); err != nil {
		return nil, err
	}
	all := map[string]string{}
	maps.Copy(all, have)
	maps.Copy(all, add)
	if len(all) > tagsMax {
		return nil, fail(codeInvalidArgument, "A resource may have %d tags; it has %d, and with these it would have %d.", tagsMax, len(have), len(all))
	}
	return all, nil
}

// removeTags returns tags without those of some keys.
func removeTags(have map[string]string, keys []string) map[string]string {
	all := maps.Clone(have)
	for _, key := range keys {
		delete(all, key)
	}
	return all
}

type tagShape struct {
	Key   string
	Value string
}

// tagShapes lists tags by their keys.
func tagShapes(tags map[string]string) []tagShape {
	out := []tagShape{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, tagShape{key, tags[key]})
	}
	return out
}

// resourceRef names a stream, or a consumer or channel, by its ARN.
type resourceRef struct {
	ResourceARN *string `is:"required;len=1:2048;match=resourceARN"`
	StreamId    *string `is:"len=1:24"`
}

func (r *resourceRef) locate(s *Server) (string, error) {
	a, ok := parseARN(*r.ResourceARN)
	if !ok {
		return "", fail(codeInvalidArgument, "The ARN %s is not valid.", *r.ResourceARN)
	}
	if a.account != s.opts.Account || a.region != s.opts.Region {
		return "", fail(codeResourceNotFound, "Resource %s not found.", *r.ResourceARN)
	}
	if stream, _, _, ok := a.stream(); ok {
		return stream, nil
	}
	if _, ok := a.channel(); ok {
		return "", nil
	}
	return "", fail(codeInvalidArgument, "The ARN %s is not valid.", *r.ResourceARN)
}

// tagsOf returns the tags of a resource.
func (s *Server) tagsOf(ctx context.Context, c *call, r *resourceRef) (map[string]string, error) {
	a, _ := parseARN(*r.ResourceARN)
	if id, ok := a.channel(); ok {
		ch, err := s.channel(ctx, id, *r.ResourceARN)
		if err != nil {
			return nil, err
		}
		return ch.doc.Tags, nil
	}
	if _, name, _, _ := a.stream(); name != "" {
		one, err := s.consumer(ctx, c, &consumerRef{ConsumerARN: r.ResourceARN})
		if err != nil {
			return nil, err
		}
		return one.doc.Tags, nil
	}
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	return k.doc.Tags, nil
}

// changeTags changes the tags of a resource.
func (s *Server) changeTags(ctx context.Context, c *call, r *resourceRef, change func(map[string]string) (map[string]string, error)) error {
	if _, err := s.tagsOf(ctx, c, r); err != nil {
		return err // it does not exist
	}
	a, _ := parseARN(*r.ResourceARN)
	if id, ok := a.channel(); ok {
		_, err := changeDoc(ctx, s, "", docChannelPrefix+id, func(doc *channelDoc, exists bool) (err error) {
			if !exists {
				return s.noChannel(*r.ResourceARN)
			}
			doc.Tags, err = change(doc.Tags)
			return err
		})
		return err
	}
	if _, name, created, _ := a.stream(); name != "" {
		_, err := changeDoc(ctx, s, c.stream, docConsumerPrefix+name, func(doc *consumerDoc, exists bool) (err error) {
			if !exists || doc.Created/1000 != created {
				return s.noConsumer(s.opts.Account, *r.ResourceARN)
			}
			doc.Tags, err = change(doc.Tags)
			return err
		})
		return err
	}
	return s.changeStreamTags(ctx, c.stream, change)
}

func (s *Server) changeStreamTags(ctx context.Context, stream string, change func(map[string]string) (map[string]string, error)) error {
	_, err := changeDoc(ctx, s, stream, docStream, func(doc *streamDoc, _ bool) (err error) {
		doc.Tags, err = change(doc.Tags)
		return err
	})
	return err
}
