package kinesis

import (
	"net/http"
	"strings"
	"testing"

	"github.com/levada-stream/levada/client"
)

func TestIdempotencyTokens(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string // "" without a header
		bad    bool
	}{
		{nil, "", false},
		{[]string{"a"}, "123456789012/a", false},
		{[]string{" ~!/:"}, "123456789012/ ~!/:", false},
		{[]string{strings.Repeat("x", 128)}, "123456789012/" + strings.Repeat("x", 128), false},
		{[]string{""}, "", true},
		{[]string{strings.Repeat("x", 129)}, "", true},
		{[]string{"ä"}, "", true},
		{[]string{"a\tb"}, "", true},
		{[]string{"a\x7f"}, "", true},
		{[]string{"a", "a"}, "", true},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.values != nil {
			r.Header[tokenHeader] = c.values
		}
		got, err := idempotencyToken(&call{r: r, caller: caller{key: Key{Account: "123456789012"}}})
		e, _ := err.(*apiError)
		if got != c.want || (e != nil) != c.bad || e != nil && e.code != codeInvalidArgument {
			t.Errorf("%q: %q, %v", c.values, got, err)
		}
	}
}

func TestSettledRecordsStayWhereTheyAre(t *testing.T) {
	places := func(token string) (all []client.HashKey) {
		records := make([]client.Record, 3)
		settle(records, token)
		for _, r := range records {
			all = append(all, *r.ExplicitHashKey)
		}
		return all
	}
	a, again, other := places("a"), places("a"), places("b")
	for i := range a {
		if a[i] != again[i] || a[i] == other[i] || a[i] == a[(i+1)%3] {
			t.Errorf("record %d: %v, again %v, with another token %v", i, a[i], again[i], other[i])
		}
	}
}
