package sigv4

import (
	"crypto/sha256"
	"errors"
	"net/http"
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
