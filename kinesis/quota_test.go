package kinesis

import (
	"errors"
	"testing"
)

func TestStreamsChooseTheirLimits(t *testing.T) {
	for _, c := range []struct {
		server LimitsProfile
		tag    string
		want   bool
	}{
		{LimitsNone, "", false}, {LimitsKinesis, "", true}, {LimitsNone, "kinesis", true}, {LimitsKinesis, "none", false}, {LimitsKinesis, "kinesis", true},
	} {
		s, k := testServer(), &known{}
		s.opts.Limits = c.server
		if c.tag != "" {
			k.doc.Tags = map[string]string{tagLimits: c.tag}
			if err := checkTags(k.doc.Tags); err != nil {
				t.Error(err)
			}
		}
		if got := s.limited(k); got != c.want {
			t.Errorf("server %s, tag %q: limited %v", c.server, c.tag, got)
		}
	}
	var refused *apiError
	if err := checkTags(map[string]string{tagLimits: "some"}); !errors.As(err, &refused) || refused.code != codeInvalidArgument {
		t.Errorf("a profile that there is not: %v", err)
	}
}
