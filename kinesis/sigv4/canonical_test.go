package sigv4

import (
	"net/http"
	"testing"
)

func TestPathsHaveOneForm(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"", "/"},
		{"/", "/"},
		{"//", "/"},
		{"/a", "/a"},
		{"/a/", "/a/"},
		{"//a//b//", "/a/b/"},
		{"/./a/.", "/a"},
		{"/a/../b", "/b"},
		{"/a/..", "/"},
		{"/../../a", "/a"},
		{"/a/b/../c/", "/a/c/"},
		{"/a%20b", "/a%2520b"},
		{"/%2e%2E/a", "/%252e%252E/a"},
		{"/a:b@c$d", "/a%3Ab%40c%24d"},
		{"/é", "/%C3%A9"},
		{"*", "/%2A"},
	} {
		if got := string(appendPath([]byte("before/"), tc.path)); got != "before/"+tc.want {
			t.Errorf("%q: got %q, want %q", tc.path, got, "before/"+tc.want)
		}
	}
}

func TestQueriesHaveOneForm(t *testing.T) {
	for _, tc := range []struct{ raw, want string }{
		{"", ""},
		{"&&", ""},
		{"a", "a="},
		{"a=", "a="},
		{"=a", "=a"},
		{"a=b=c", "a=b%3Dc"},
		{"b=1&a=2", "a=2&b=1"},
		{"a=2&a=10&a=1", "a=1&a=10&a=2"},
		{"a-b=1&a=2", "a=2&a-b=1"},
		{"a=1&B=2", "B=2&a=1"},
		{"a%3a=1&a1=2", "a%3A=1&a1=2"},
		{"a=b+c&d=%2b", "a=b%20c&d=%2B"},
		{"%61=%7E%7a%c3%A9é", "a=~z%C3%A9%C3%A9"},
		{"a;b=c", "a%3Bb=c"},
		{"a=1&X-Amz-Signature=2", "X-Amz-Signature=2&a=1"},
	} {
		if got := string(appendQuery(nil, tc.raw, false)); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.raw, got, tc.want)
		}
	}
	if got := string(appendQuery(nil, "X-Amz-Signature=2&b=&X-Amz-Date=1", true)); got != "X-Amz-Date=1&b=" {
		t.Errorf("the query of a presigned URL is %q", got)
	}
}

func TestHeadersHaveOneForm(t *testing.T) {
	r := Request{
		Host: "example.com:4567",
		Header: http.Header{
			"Content-Type":     {" application/json\t"},
			"X-Amz-Date":       {vectorTime},
			"X-Amz-User-Agent": {"anything"},
			"X-Amzn-Trace-Id":  {"Root=1"},
			"X-1-B_c":          {"one", "", "  two   words  "},
			"User-Agent":       {"anything"},
		},
		BodyLength: 17,
	}
	got, err := appendHeaders(nil, &r, "content-length;content-type;host;x-1-b_c;x-amz-date")
	want := "content-length:17\ncontent-type:application/json\nhost:example.com:4567\nx-1-b_c:one,,two words\nx-amz-date:" + vectorTime + "\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}

	r.Header.Set("Content-Length", "18")
	if got, err := appendHeaders(nil, &r, "content-length;host;x-amz-date"); err != nil || string(got) != "content-length:18\nhost:example.com:4567\nx-amz-date:"+vectorTime+"\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
