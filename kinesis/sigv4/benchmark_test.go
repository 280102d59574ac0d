package sigv4

import (
	"bytes"
	"net/http"
	"testing"
)

// BenchmarkVerify does all that a server does for one request of an SDK, the hash of its body included.
func BenchmarkVerify(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100B", 100}, {"500KB", 500_000}} {
		b.Run("body="+size.name, func(b *testing.B) {
			s := newSDKSigner("")
			v := s.verifier()
			body := bytes.Repeat([]byte("x"), size.bytes)
			req := newRequest(b, http.MethodPost, "https://kinesis.ap-southeast-2.amazonaws.com/", body)
			req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			req.Header.Set("Amz-Sdk-Invocation-Id", "6a7c6f4e-3f0b-4e43-9c31-1f9f4b6c8f5d")
			req.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
			s.sign(b, req, body)
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for b.Loop() {
				r := FromHTTP(req, body)
				c, err := Parse(r)
				if err != nil {
					b.Fatal(err)
				}
				if err := v.Verify(r, c, vectorSecret, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
