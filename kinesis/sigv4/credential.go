package sigv4

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	// timeLayout is the form of every time in the scheme, in UTC.
	timeLayout = "20060102T150405Z"
	// lifetimeSecondsMax is the longest that a presigned URL is good for: a week.
	lifetimeSecondsMax = 7 * 24 * 60 * 60
	// queryBytesMax is several times what a presigned URL with a long session token has. It bounds the work for requests of
	// nobody knows whom.
	queryBytesMax = 32 << 10
)

// Credential is what a request says it is signed with. Nothing of it is true before Verify says so.
type Credential struct {
	AccessKeyID string
	Date        string // of the signing key, YYYYMMDD
	Region      string
	Service     string
	Token       string    // the session token, "" for none
	Time        time.Time // when it was signed, by the signer's clock, in UTC
	Presigned   bool      // the signature is in the query
	// Lifetime is how long after Time a presigned request is good, 0 if it does not say.
	Lifetime time.Duration

	timestamp     string // Time in timeLayout
	scope         string // date/region/service/terminator
	signedHeaders string // lower-case names in ascending order, separated by semicolons; host or :authority is one of them
	signature     string
}

// statement is what a header or a query says about a signature, word for word. A text that is absent is "".
type statement struct {
	algorithm, credential, signedHeaders, signature, date, token, expires string

	inQuery bool // the query has X-Amz-Algorithm, with or without a value
}

// Parse reads what a request says it is signed with. The error is an *Error, one that wraps ErrMissing if the request is not
// signed at all.
func Parse(r Request) (Credential, error) {
	s, err := scanQuery(r.RawQuery)
	if err != nil {
		return Credential{}, err
	}
	authorization := r.Header.Get("Authorization")
	switch {
	case s.inQuery && authorization != "":
		return Credential{}, invalid("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case s.inQuery:
		return parseQuery(r.Header, s)
	case authorization != "":
		return parseHeader(r.Header, authorization)
	}
	return Credential{}, missing()
}

// parseHeader reads an Authorization header. Like the real service it takes spaces, commas or both between the parameters.
func parseHeader(header http.Header, authorization string) (Credential, error) {
	var s statement
	var rest string
	s.algorithm, rest, _ = strings.Cut(authorization, " ")
	for rest != "" {
		var field string
		field, rest = nextField(rest)
		if field == "" {
			continue
		}
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return Credential{}, incomplete("'" + shown(field) + "' not a valid key=value pair (missing equal-sign) in Authorization header: '" + shown(authorization) + "'.")
		}
		switch name {
		case "Credential":
			s.credential = value
		case "SignedHeaders":
			s.signedHeaders = value
		case "Signature":
			s.signature = value
		}
	}
	s.date = header.Get("X-Amz-Date")
	if s.date == "" {
		s.date = isoDate(header.Get("Date"))
	}
	s.token = header.Get("X-Amz-Security-Token")

	var lacks strings.Builder
	for _, p := range [...]struct{ name, value string }{
		{"Credential", s.credential}, {"Signature", s.signature}, {"SignedHeaders", s.signedHeaders},
	} {
		if p.value == "" {
			lacks.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if s.date == "" {
		lacks.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if lacks.Len() > 0 {
		return Credential{}, incomplete(lacks.String() + "Authorization=" + shown(authorization))
	}
	return s.read()
}

// nextField cuts a text at its first comma or space.
func nextField(text string) (field, rest string) {
	i := strings.IndexAny(text, ", ")
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i+1:]
}

// isoDate turns the date of an HTTP header into timeLayout. What is no such date stays as it is.
func isoDate(date string) string {
	t, err := http.ParseTime(date)
	if err != nil {
		return date
	}
	return t.UTC().Format(timeLayout)
}

// scanQuery finds the parameters of a presigned URL. Of several of one name the first that is not empty counts.
func scanQuery(raw string) (statement, error) {
	var s statement
	if len(raw) > queryBytesMax {
		return s, malformedQuery("The query string is longer than " + strconv.Itoa(queryBytesMax) + " bytes.")
	}
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return s, malformedQuery("The query string contains a syntax error.")
		}
		var field *string
		switch name {
		case "X-Amz-Algorithm":
			field, s.inQuery = &s.algorithm, true
		case "X-Amz-Credential":
			field = &s.credential
		case "X-Amz-SignedHeaders":
			field = &s.signedHeaders
		case signatureParameter:
			field = &s.signature
		case "X-Amz-Date":
			field = &s.date
		case "X-Amz-Security-Token":
			field = &s.token
		case "X-Amz-Expires":
			field = &s.expires
		}
		if field != nil && *field == "" {
			*field = value
		}
	}
	return s, nil
}

// parseQuery reads what scanQuery found.
func parseQuery(header http.Header, s statement) (Credential, error) {
	var lacks strings.Builder
	for _, p := range [...]struct{ name, value string }{
		{"X-Amz-Algorithm", s.algorithm},
		{"X-Amz-Credential", s.credential},
		{signatureParameter, s.signature},
		{"X-Amz-SignedHeaders", s.signedHeaders},
		{"X-Amz-Date", s.date},
	} {
		if p.value == "" {
			lacks.WriteString("AWS query-string parameters must include '" + p.name + "'. ")
		}
	}
	if lacks.Len() > 0 {
		return Credential{}, incomplete(lacks.String() + "Re-examine the query-string parameters.")
	}
	if s.token == "" {
		s.token = header.Get("X-Amz-Security-Token")
	}
	c, err := s.read()
	if err != nil {
		return Credential{}, err
	}
	c.Presigned = true
	if s.expires != "" {
		seconds, err := strconv.ParseUint(s.expires, 10, 32)
		if err != nil || seconds < 1 || seconds > lifetimeSecondsMax {
			return Credential{}, incomplete("X-Amz-Expires must be a number of seconds from 1 to " + strconv.Itoa(lifetimeSecondsMax) + ".")
		}
		c.Lifetime = time.Duration(seconds) * time.Second
	}
	return c, nil
}

// read takes a complete statement apart. The order of its checks is the real service's.
func (s *statement) read() (Credential, error) {
	signed, err := time.Parse(timeLayout, s.date)
	if err != nil || len(s.date) != len(timeLayout) { // Parse takes fractions of a second, too
		return Credential{}, incomplete("Date must be in ISO-8601 'basic format'. Got '" + shown(s.date) + "'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	if err := checkSignedHeaders(s.signedHeaders); err != nil {
		return Credential{}, err
	}
	if s.algorithm != algorithm {
		return Credential{}, incomplete("Unsupported AWS 'algorithm': '" + shown(s.algorithm) + "' (only " + algorithm + " for now).")
	}
	fields := strings.SplitN(s.credential, "/", 6)
	if len(fields) != 5 {
		return Credential{}, incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + shown(s.credential) + "'")
	}
	if fields[4] != terminator {
		return Credential{}, invalid("Credential should be scoped with a valid terminator: '" + terminator + "', not '" + shown(fields[4]) + "'.")
	}
	return Credential{
		AccessKeyID: fields[0], Date: fields[1], Region: fields[2], Service: fields[3], Token: s.token, Time: signed,
		timestamp: s.date, scope: s.credential[len(fields[0])+1:], signedHeaders: s.signedHeaders, signature: s.signature,
	}, nil
}

// checkSignedHeaders makes sure that a list of headers is in its only form. Without repetition, what it makes of a request is no
// larger than the request.
func checkSignedHeaders(list string) error {
	host, last := false, ""
	for name := range strings.SplitSeq(list, ";") {
		if name <= last || name != strings.ToLower(name) {
			return incomplete("SignedHeaders must be lower-case names in alphabetical order, separated by ';', got '" + shown(list) + "'.")
		}
		host = host || name == hostHeader || name == authorityHeader
		last = name
	}
	if !host {
		return invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	return nil
}
