package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// sdkSigner signs with the SDK for Go.
type sdkSigner struct {
	key             aws.Credentials
	service, region string
	at              time.Time
}

func newSDKSigner(token string) *sdkSigner {
	return &sdkSigner{
		key:     aws.Credentials{AccessKeyID: vectorKeyID, SecretAccessKey: vectorSecret, SessionToken: token},
		service: "kinesis", region: "ap-southeast-2", at: time.Date(2026, 11, 26, 23, 59, 30, 0, time.UTC),
	}
}

// verifier returns one that accepts what s signs.
func (s *sdkSigner) verifier() *Verifier {
	return &Verifier{Region: s.region, Service: s.service, Now: func() time.Time { return s.at }}
}

// sign signs a request in its header.
func (s *sdkSigner) sign(t testing.TB, req *http.Request, body []byte) {
	t.Helper()
	hash := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(t.Context(), s.key, req, hex.EncodeToString(hash[:]), s.service, s.region, s.at); err != nil {
		t.Fatal(err)
	}
}

// presign returns a request that is signed in its query, with no other headers than a holder of the URL has to send.
func (s *sdkSigner) presign(t testing.TB, req *http.Request, body []byte) *http.Request {
	t.Helper()
	hash := sha256.Sum256(body)
	query := req.URL.Query()
	query.Set("X-Amz-Expires", "300")
	req.URL.RawQuery = query.Encode()
	uri, signed, err := v4.NewSigner().PresignHTTP(t.Context(), s.key, req, hex.EncodeToString(hash[:]), s.service, s.region, s.at)
	if err != nil {
		t.Fatal(err)
	}
	out := newRequest(t, req.Method, uri, body)
	for name, values := range signed {
		if key := http.CanonicalHeaderKey(name); key != "Host" && key != "Content-Length" {
			out.Header[key] = values
		}
	}
	return out
}

func newRequest(t testing.TB, method, uri string, body []byte) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, uri, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// overTheWire returns a request as a server reads it.
func overTheWire(t testing.TB, req *http.Request) Request {
	t.Helper()
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return FromHTTP(got, body)
}

// Characters for random parts of requests. Names of parameters, and values of those that occur twice, are unreserved: the SDK
// sorts what is decoded, the scheme what is encoded.
const (
	unreserved = "abcXYZ019-._~"
	printable  = unreserved + "  !\"#$%&'()*+,/:;<=>?@[]^`{|}"
	anything   = printable + "\x00\x7féሴ\U0001f980"
)

func randomText(rng *rand.Rand, alphabet string, least, most int) string {
	letters := []rune(alphabet)
	text := make([]rune, least+rng.IntN(most-least+1))
	for i := range text {
		text[i] = letters[rng.IntN(len(letters))]
	}
	return string(text)
}

func pick(rng *rand.Rand, of ...string) string { return of[rng.IntN(len(of))] }

// randomRequest makes a request that is not signed yet.
func randomRequest(t *testing.T, rng *rand.Rand) (*http.Request, []byte) {
	path := ""
	for range rng.IntN(4) {
		path += "/p" + url.PathEscape(randomText(rng, anything, 0, 6)) // the p makes it no empty and no dot segment
	}
	path += pick(rng, "", "/")
	query := url.Values{}
	for range rng.IntN(4) {
		query.Set(randomText(rng, unreserved, 0, 5), randomText(rng, anything, 0, 8))
	}
	for range rng.IntN(3) {
		query.Add("twice", randomText(rng, unreserved, 0, 4))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	body := make([]byte, rng.IntN(300)*rng.IntN(2))
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	uri := "https://" + pick(rng, "kinesis.ap-southeast-2.amazonaws.com", "localhost:4567", "[::1]:4567") + path
	req := newRequest(t, pick(rng, "GET", "POST", "PUT", "DELETE"), uri, body)
	for range rng.IntN(5) {
		req.Header.Set(pick(rng, "X-Amz-Target", "X-Amz-Client-Token", "X-Amz-Meta-Note", "Content-Type", "Accept-Language"), randomText(rng, printable, 0, 12))
	}
	for range rng.IntN(3) {
		req.Header.Add("X-Custom", randomText(rng, printable, 0, 12))
	}
	if rng.IntN(2) == 0 {
		hash := sha256.Sum256(body)
		req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(hash[:]))
	}
	return req, body
}

// tampered is a signed request with one thing changed.
type tampered struct {
	what string
	r    Request
}

// tamper changes everything that a signature covers, one thing at a time.
func tamper(r Request, c Credential) []tampered {
	var all []tampered
	change := func(what string, do func(r *Request)) {
		other := r
		other.Header = r.Header.Clone()
		do(&other)
		all = append(all, tampered{what, other})
	}
	change("method", func(r *Request) { r.Method += "X" })
	change("path", func(r *Request) { r.Path += "x" })
	change("host", func(r *Request) { r.Host += "x" })
	change("body", func(r *Request) { r.BodyHash[5] ^= 1 })
	change("query, by another parameter", func(r *Request) { r.RawQuery += "&new" })
	change("headers, by another of AWS", func(r *Request) { r.Header.Set("X-Amz-New", "1") })
	if r.RawQuery != "" {
		pairs := strings.Split(r.RawQuery, "&")
		for i := range pairs {
			change("parameter "+pairs[i], func(r *Request) {
				other := slices.Clone(pairs)
				other[i] += "0"
				r.RawQuery = strings.Join(other, "&")
			})
			change("query, without "+pairs[i], func(r *Request) {
				r.RawQuery = strings.Join(slices.Delete(slices.Clone(pairs), i, i+1), "&")
			})
		}
	}
	for name := range strings.SplitSeq(c.signedHeaders, ";") {
		key := http.CanonicalHeaderKey(name)
		if r.Header[key] == nil {
			continue // the host
		}
		change("header "+name, func(r *Request) { r.Header[key][0] += "0" })
		change("header "+name+", by another value", func(r *Request) { r.Header.Add(key, "0") })
		if name != "content-length" { // the body tells it, too
			change("headers, without "+name, func(r *Request) { delete(r.Header, key) })
		}
	}
	return append(all, tamperCredential(r, c)...)
}

// tamperCredential changes what a request says of its signature.
func tamperCredential(r Request, c Credential) []tampered {
	later := c.Time.Add(time.Second).Format(timeLayout)
	last := c.signature[len(c.signature)-1:]
	flipped := "0"
	if last == "0" {
		flipped = "1"
	}
	slash := "/"
	if c.Presigned {
		slash = "%2F"
	}
	var all []tampered
	for _, p := range []struct{ what, old, replacement string }{
		{"signature", c.signature, strings.TrimSuffix(c.signature, last) + flipped},
		{"day", slash + c.Date + slash, slash + "20261125" + slash},
		{"region", slash + c.Region + slash, slash + "us-east-1" + slash},
		{"service", slash + c.Service + slash, slash + "dynamodb" + slash},
		{"signed headers", "host", "hosu"},
		{"time", c.timestamp, later},
	} {
		other := r
		other.Header = r.Header.Clone()
		if c.Presigned {
			other.RawQuery = strings.Replace(r.RawQuery, p.old, p.replacement, 1)
		} else {
			other.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), p.old, p.replacement, 1))
		}
		if p.what == "time" && !c.Presigned {
			other.Header.Set("X-Amz-Date", later)
		}
		all = append(all, tampered{p.what, other})
	}
	return all
}

// checkTamper makes sure that a request verifies and that nothing else does.
func checkTamper(t *testing.T, s *sdkSigner, r Request) {
	t.Helper()
	v := s.verifier()
	c, err := Parse(r)
	if err != nil {
		t.Fatalf("parse: %v\n%+v", err, r)
	}
	if err := v.Verify(r, c, vectorSecret, s.key.SessionToken); err != nil {
		canonical, _ := appendCanonicalRequest(nil, &r, &c)
		t.Fatalf("verify: %v\n%+v\n%s", err, r, canonical)
	}
	if err := v.Verify(r, c, vectorSecret+"x", s.key.SessionToken); err == nil {
		t.Error("accepted with another secret")
	}
	if err := v.Verify(r, c, vectorSecret, s.key.SessionToken+"x"); err == nil {
		t.Error("accepted with another token")
	}
	anyRegion := s.verifier()
	anyRegion.Region = ""
	for _, m := range tamper(r, c) {
		for _, v := range []*Verifier{v, anyRegion} {
			if err := check(v, m.r, vectorSecret, s.key.SessionToken); err == nil {
				t.Errorf("accepted after a change of %s:\n%+v", m.what, m.r)
			} else if !errors.As(err, new(*Error)) {
				t.Errorf("%s: %v is no *Error", m.what, err)
			}
		}
	}
}

// What the SDK signs verifies, and with any one thing changed it does not. One seed alone: -run 'TestWhatTheSDKSigns/^seed=17$'.
func TestWhatTheSDKSignsVerifiesAndNothingElse(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			token := ""
			if rng.IntN(2) == 0 {
				token = randomText(rng, unreserved+"+/=", 1, 40)
			}
			s := newSDKSigner(token)
			t.Run("header", func(t *testing.T) {
				req, body := randomRequest(t, rng)
				s.sign(t, req, body)
				checkTamper(t, s, overTheWire(t, req))
			})
			t.Run("query", func(t *testing.T) {
				req, body := randomRequest(t, rng)
				checkTamper(t, s, overTheWire(t, s.presign(t, req, body)))
			})
		})
	}
}
