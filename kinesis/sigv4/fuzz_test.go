package sigv4

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever a request holds, it is refused with an answer of the API if its maker does not know the secret.
func FuzzUnknownSecretIsNeverAccepted(f *testing.F) {
	for _, v := range vectors {
		r := v.request()
		name, value := "Content-Type", ""
		if len(v.header) > 0 {
			name, value = v.header[0][0], v.header[0][1]
		}
		f.Add(r.Method, r.Path, r.RawQuery, r.Host, r.Header.Get("Authorization"), vectorTime, name, value, []byte(v.body))
	}
	p := presignedVector()
	f.Add(p.Method, p.Path, p.RawQuery, p.Host, "", "", "X-Amz-Security-Token", vectorToken, []byte{})
	f.Add("POST", "/..//.", "a=%zz&&=+", "", "AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;host,Signature=%", "20261126T000000Z", "X-Amz-Content-Sha256", "STREAMING-", []byte("{}"))

	f.Fuzz(func(t *testing.T, method, path, query, host, authorization, date, name, value string, body []byte) {
		r := Request{
			Method: method, Path: path, RawQuery: query, Host: host, Header: http.Header{},
			BodyLength: int64(len(body)), BodyHash: sha256.Sum256(body),
		}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		if date == "" {
			r.Header.Del("X-Amz-Date")
		}
		r.Header.Add(name, value)
		c, err := Parse(r)
		if err == nil { // let it get as far as it can
			v := &Verifier{Service: c.Service, Now: func() time.Time { return c.Time }}
			err = v.Verify(r, c, "a secret that no request was signed with", c.Token)
		}
		if err == nil {
			t.Fatal("accepted")
		}
		var refused *Error
		if !errors.As(err, &refused) || refused.Code == "" || refused.Message == "" || refused.Status < 400 || refused.Status > 499 {
			t.Errorf("%#v is not an answer", err)
		}
	})
}

// What the SDK signs verifies, whatever it is, and with any one thing changed it does not. Which one that is the input says.
func FuzzWhatTheSDKSigns(f *testing.F) {
	f.Add("orders/..", "name", "a value/+%\x00é", "Kinesis_20131202.ListStreams", "", []byte("{}"), false, uint8(0))
	f.Add("", "", "", "  two  spaces  ", "token+/=", []byte{}, true, uint8(7))
	f.Add("%2F%25", "a&b=c", "ü", "\xff\t", "", []byte{0xff, 0}, false, uint8(20))
	f.Fuzz(func(t *testing.T, segment, name, value, header, token string, body []byte, presigned bool, which uint8) {
		if strings.ContainsFunc(header+token, func(c rune) bool { return c < ' ' || c == 0x7f }) || strings.TrimSpace(token) != token {
			return // not to be sent, or not as it is
		}
		if strings.HasPrefix(name, "X-Amz-") {
			return // it would be taken for a part of the signature
		}
		if presigned {
			name = "name" // the SDK sorts what is decoded, the scheme what is encoded
		}
		s := newSDKSigner(token)
		uri := "https://localhost:4567/p" + url.PathEscape(segment) + "?" + url.Values{name: {value}}.Encode()
		req := newRequest(t, http.MethodPost, uri, body)
		req.Header.Set("X-Amz-Target", header)
		req.Header.Set("X-Custom", header)
		if presigned {
			req = s.presign(t, req, body)
		} else {
			s.sign(t, req, body)
		}
		r, v := overTheWire(t, req), s.verifier()
		c, err := Parse(r)
		if err == nil {
			err = v.Verify(r, c, vectorSecret, token)
		}
		if err != nil {
			t.Fatalf("%v\n%+v", err, r)
		}
		changes := tamper(r, c)
		m := changes[int(which)%len(changes)]
		if err := check(v, m.r, vectorSecret, token); err == nil {
			t.Errorf("accepted after a change of %s:\n%+v", m.what, m.r)
		}
	})
}

// A query has one canonical form, in whatever order its parameters stand and however they are encoded.
func FuzzCanonicalQuery(f *testing.F) {
	f.Add("b=2&a=1&a=0&=&&c", false)
	f.Add("X-Amz-Signature=abc&X-Amz-Date=1&x=%41%zz%4", true)
	f.Add("a=+%20~-_.%7E&%C3%A9=\xff", false)
	f.Fuzz(func(t *testing.T, raw string, presigned bool) {
		want := string(appendQuery(nil, raw, presigned))
		if again := string(appendQuery(nil, want, presigned)); again != want {
			t.Errorf("%q becomes %q, and that %q", raw, want, again)
		}
		pairs := strings.Split(raw, "&")
		slices.Reverse(pairs)
		if turned := string(appendQuery(nil, strings.Join(pairs, "&"), presigned)); turned != want {
			t.Errorf("%q becomes %q, turned round %q", raw, want, turned)
		}
		if strings.ContainsFunc(want, func(c rune) bool { return c > '~' || c <= ' ' || c == '+' }) {
			t.Errorf("%q becomes %q", raw, want)
		}
		decoded, err := url.ParseQuery(want)
		if err != nil {
			t.Fatalf("%q becomes %q, which is no query: %v", raw, want, err)
		}
		if _, signature := decoded[signatureParameter]; presigned && signature {
			t.Errorf("%q keeps its signature: %q", raw, want)
		}
	})
}
