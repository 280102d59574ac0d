package kinesis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	testKeyID  = "AKIDTEST"
	testSecret = "the secret of the test's key"
)

// signedServer serves operations that answer with their names, to those who sign.
func signedServer(t *testing.T, names ...string) *httptest.Server {
	t.Helper()
	s, err := New(nil, Options{Account: "000000000000", Region: "us-east-1", Keys: func(id string) (Key, bool, error) {
		return Key{ID: testKeyID, Secret: testSecret}, id == testKeyID, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	clear(s.operations) // there is no cluster for them
	for _, name := range names {
		s.operations[name] = &operation{name: name, bodyMax: controlBodyMax, run: func(_ context.Context, _ *Server, c *call) error {
			return c.reply(&struct{ Operation, Body string }{c.op.name, string(c.body)})
		}}
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server
}

// presign returns what the SDK makes of a request for whoever is to send it. It moves what it can of the header into the query unless told not to.
func presign(t *testing.T, url, target, body string, at time.Time, inHeader bool) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeJSON)
	if target != "" {
		req.Header.Set(targetHeader, target)
	}
	hash := sha256.Sum256([]byte(body))
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableHeaderHoisting = inHeader })
	key := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret}
	uri, header, err := signer.PresignHTTP(t.Context(), key, req, hex.EncodeToString(hash[:]), "kinesis", "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	out, err := http.NewRequestWithContext(t.Context(), http.MethodPost, uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		if key := http.CanonicalHeaderKey(name); key != "Host" && key != "Content-Length" {
			out.Header[key] = values
		}
	}
	return out
}

func TestPresignedRequestsNameTheirOperationInHeaderOrQuery(t *testing.T) {
	server := signedServer(t, "ListStreams", "DeleteStream")
	const target, body = targetPrefix + "ListStreams", `{"Limit":1}`
	now := time.Now()
	for _, c := range []struct {
		name     string
		target   string
		inHeader bool
		at       time.Time
		change   func(r *http.Request)
		status   int
		code     string
	}{
		{name: "in the query", target: target, at: now, status: 200},
		{name: "in the header", target: target, inHeader: true, at: now, status: 200},
		{name: "another in the query", target: target, at: now, status: 400, code: "InvalidSignatureException", change: func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "ListStreams", "DeleteStream", 1)
		}},
		{name: "another in the header, beside that in the query", target: target, at: now, status: 400, code: "InvalidSignatureException", change: func(r *http.Request) {
			r.Header.Set(targetHeader, targetPrefix+"DeleteStream")
		}},
		{name: "another in the query, beside that in the header", target: target, inHeader: true, at: now, status: 400, code: "InvalidSignatureException", change: func(r *http.Request) {
			r.URL.RawQuery += "&X-Amz-Target=" + targetPrefix + "DeleteStream"
		}},
		{name: "nowhere", at: now, status: 400, code: codeUnknownOperation},
		{name: "expired", target: target, at: now.Add(-time.Hour), status: 400, code: "InvalidSignatureException"},
		{name: "no signature", target: target, at: now, status: 400, code: "IncompleteSignatureException", change: func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Signature", "X-Amz-Signatur", 1)
		}},
		{name: "not signed", target: target, at: now, status: 400, code: "MissingAuthenticationTokenException", change: func(r *http.Request) {
			r.URL.RawQuery = targetHeader + "=" + target
		}},
		{name: "an unknown key", target: target, at: now, status: 400, code: "UnrecognizedClientException", change: func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, testKeyID, "AKIDOTHER", 1)
		}},
	} {
		r := presign(t, server.URL, c.target, body, c.at, c.inHeader)
		if c.target != "" && c.inHeader == r.URL.Query().Has(targetHeader) {
			t.Fatalf("%s: the request is %s %v", c.name, r.URL, r.Header)
		}
		if c.change != nil {
			c.change(r)
		}
		got, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(got.Body)
		got.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Operation, Body string
			Type            string `json:"__type"`
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatalf("%s: %s: %v", c.name, text, err)
		}
		if got.StatusCode != c.status || answer.Type != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, got.StatusCode, text, c.status, c.code)
		}
		if c.code == "" && (answer.Operation != "ListStreams" || answer.Body != body) {
			t.Errorf("%s: answered with %s", c.name, text)
		}
	}
}
