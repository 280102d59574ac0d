package sigv4

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A server sees a request in another way than its client does: the host is :authority in HTTP/2, a chunked body has no length.
func TestRequestsVerifyAsAServerReceivesThem(t *testing.T) {
	s := newSDKSigner("")
	v := s.verifier()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = check(v, FromHTTP(r, body), vectorSecret, "")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, r.Proto)
	})
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = proto == "HTTP/2.0"
		server.StartTLS()
		defer server.Close()
		for name, tc := range map[string]struct {
			target  string
			body    string
			chunked bool
		}{
			"no body":            {"/", "", false},
			"a body":             {"/", "{}", false},
			"a chunked body":     {"/", strings.Repeat("x", 100_000), true},
			"a path and a query": {"/a%20b/%E1%88%B4/c:d?x=1+2&y=%2B&x=0", "{}", false},
		} {
			t.Run(proto+" "+name, func(t *testing.T) {
				req := newRequest(t, http.MethodPost, server.URL+tc.target, []byte(tc.body))
				req.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
				req.Header.Set("Content-Type", "application/x-amz-json-1.1")
				if tc.chunked {
					req.ContentLength = -1
				}
				s.sign(t, req, []byte(tc.body))
				resp, err := server.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				answer, err := io.ReadAll(resp.Body)
				if err != nil || string(answer) != proto {
					t.Errorf("got %q, %v; want %q", answer, err, proto)
				}
			})
		}
	}
}

func TestFromHTTPTakesThePathOfTheRequestLine(t *testing.T) {
	for _, tc := range []struct{ target, want string }{
		{"/", "/"},
		{"/a%2Fb%20c?x=/y", "/a%2Fb%20c"},
		{"/ሴ", "/ሴ"},
		{"//a//b", "//a//b"},
		{"http://example.com/a%2Fb?x", "/a%2Fb"},
	} {
		if got := FromHTTP(httptest.NewRequest(http.MethodPost, tc.target, nil), nil).Path; got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.target, got, tc.want)
		}
	}
	body := []byte("body")
	got := FromHTTP(httptest.NewRequest(http.MethodPut, "http://example.com/?a=b", bytes.NewReader(body)), body)
	if got.Method != "PUT" || got.RawQuery != "a=b" || got.Host != "example.com" || got.BodyLength != 4 || got.BodyHash != sha256.Sum256(body) {
		t.Errorf("got %+v", got)
	}
}
