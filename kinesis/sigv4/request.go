package sigv4

import (
	"crypto/sha256"
	"net/http"
	"strings"
)

// Request is what a signature is about.
type Request struct {
	Method string
	// Path is escaped, as it was on the wire.
	Path     string
	RawQuery string
	// Host is the header Host, in HTTP/2 the pseudo-header :authority.
	Host string
	// Header is keyed in the canonical form of net/http. It is only read.
	Header http.Header
	// BodyLength stands in for a signed Content-Length that Header does not have: HTTP/2 can do without, and a chunked body
	// loses it.
	BodyLength int64
	// BodyHash is the SHA-256 of the body.
	BodyHash [sha256.Size]byte
}

// FromHTTP takes what is signed from a request that a server received, and from its whole body. The result shares the header map.
func FromHTTP(r *http.Request, body []byte) Request {
	return Request{
		Method: r.Method, Path: wirePath(r), RawQuery: r.URL.RawQuery, Host: r.Host, Header: r.Header,
		BodyLength: int64(len(body)), BodyHash: sha256.Sum256(body),
	}
}

// wirePath returns the path as the client escaped it. A parsed URL no longer tells if characters that should have been escaped
// were, and handlers in front may have changed it.
func wirePath(r *http.Request) string {
	if path, _, _ := strings.Cut(r.RequestURI, "?"); strings.HasPrefix(path, "/") {
		return path
	}
	return r.URL.EscapedPath() // the request line had a whole URL, or the request is a client's
}
