package sigv4

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	hostHeader         = "host"
	authorityHeader    = ":authority" // the same in HTTP/2, where the SDK for JavaScript signs it under this name
	signatureParameter = "X-Amz-Signature"
)

// appendCanonicalRequest appends the form of a request that is hashed and signed:
//
//	method, path, query, the signed headers one a line, an empty line, their names, the hash of the body
func appendCanonicalRequest(b []byte, r *Request, c *Credential) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r.Path)
	b = append(b, '\n')
	b = appendQuery(b, r.RawQuery, c.Presigned)
	b = append(b, '\n')
	b, err := appendHeaders(b, r, c.signedHeaders)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	b = append(b, c.signedHeaders...)
	b = append(b, '\n')
	return hex.AppendEncode(b, r.BodyHash[:]), nil
}

// appendPath appends a path without empty and dot segments, each of the others encoded once more than it is.
func appendPath(b []byte, path string) []byte {
	start := len(b)
	for rest := path; rest != ""; {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		switch segment {
		case "", ".":
		case "..":
			if i := bytes.LastIndexByte(b[start:], '/'); i >= 0 {
				b = b[:start+i]
			}
		default:
			b = append(b, '/')
			b = appendEncoded(b, segment)
		}
	}
	if len(b) == start || strings.HasSuffix(path, "/") {
		b = append(b, '/')
	}
	return b
}

// parameter is one of a query, encoded.
type parameter struct{ name, value string }

// appendQuery appends the parameters of a query, sorted. The signature of a presigned URL is not among them.
func appendQuery(b []byte, raw string, presigned bool) []byte {
	var all []parameter
	var buf []byte
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		buf = appendReencoded(buf[:0], name)
		end := len(buf)
		buf = appendReencoded(buf, value)
		p := parameter{string(buf[:end]), string(buf[end:])}
		if presigned && p.name == signatureParameter {
			continue
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y parameter) int {
		return cmp.Or(strings.Compare(x.name, y.name), strings.Compare(x.value, y.value))
	})
	for i, p := range all {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return b
}

// appendReencoded decodes a part of a query and encodes it in the only form that the scheme has for it. Parse has refused what
// cannot be decoded.
func appendReencoded(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = fromHex(s[i+1])<<4 | fromHex(s[i+2])
			i += 2
		}
		b = appendEncodedByte(b, c)
	}
	return b
}

func appendEncoded(b []byte, s string) []byte {
	for i := range len(s) {
		b = appendEncodedByte(b, s[i])
	}
	return b
}

// appendEncodedByte encodes everything but the unreserved characters of RFC 3986.
func appendEncodedByte(b []byte, c byte) []byte {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
		return append(b, c)
	}
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// fromHex returns the value of a hexadecimal digit.
func fromHex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// appendHeaders appends the signed headers, a line each, and refuses a request with headers that should be among them.
func appendHeaders(b []byte, r *Request, signed string) ([]byte, error) {
	var space [64]byte
	key, guarded := space[:0], 0
	for rest := signed; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, ";")
		key = appendHeaderKey(key[:0], name)
		if mustBeSigned(name) {
			guarded++
		}
		b = append(b, name...)
		b = append(b, ':')
		values, ok := r.Header[string(key)]
		switch {
		case name == hostHeader || name == authorityHeader:
			b = appendValue(b, r.Host)
		case ok:
			for i, value := range values {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendValue(b, value)
			}
		case name == "content-length":
			b = strconv.AppendInt(b, r.BodyLength, 10)
		default:
			return nil, invalid("The header '" + shown(name) + "' is signed but was not received.")
		}
		b = append(b, '\n')
	}
	// The list has no repetition and all of it was received: if as many as there are were counted, it has them all.
	for name := range r.Header {
		if mustBeSigned(name) {
			guarded--
		}
	}
	if guarded != 0 {
		return nil, unsignedHeaders(r.Header, signed)
	}
	return b, nil
}

// appendHeaderKey appends the canonical form of a lower-case name.
func appendHeaderKey(b []byte, name string) []byte {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		b = append(b, c)
		upper = c == '-'
	}
	return b
}

// mustBeSigned reports whether a request may have a header only if it is signed.
func mustBeSigned(name string) bool {
	const prefix = "x-amz-"
	return len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) && !strings.EqualFold(name, "x-amz-user-agent")
}

// unsignedHeaders is the refusal of headers that should have been signed.
func unsignedHeaders(header http.Header, signed string) *Error {
	listed := strings.Split(signed, ";")
	var left []string
	for name := range header {
		lower := strings.ToLower(name)
		if _, ok := slices.BinarySearch(listed, lower); !ok && mustBeSigned(name) {
			left = append(left, lower)
		}
	}
	slices.Sort(left)
	return invalid("There were headers present in the request which were not signed: " + shown(strings.Join(left, ", ")) + ".")
}

// appendValue appends the value of a header without space around it and with single spaces inside.
func appendValue(b []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	if !strings.Contains(value, "  ") {
		return append(b, value...)
	}
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' { // the first is no space
			b = append(b, value[i])
		}
	}
	return b
}
