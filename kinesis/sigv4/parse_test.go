package sigv4

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// vanilla is the simplest vector.
func vanilla() Request { return vectors[0].request() }

// refusalCase is a request that is made wrong, and the answer. What it leaves open is right.
type refusalCase struct {
	name      string
	change    func(r *Request)
	now       string
	region    string
	service   string
	secret    string
	token     string
	presigned bool // start from a presigned request
	want      Error
}

// run makes the request and compares the answer.
func (tc refusalCase) run(t *testing.T) {
	t.Helper()
	v := vectorVerifier(t)
	if tc.now != "" {
		v.Now = clockAt(t, tc.now)
	}
	if tc.region != "" {
		v.Region = tc.region
	}
	if tc.service != "" {
		v.Service = tc.service
	}
	secret := vectorSecret
	if tc.secret != "" {
		secret = tc.secret
	}
	r := vanilla()
	if tc.presigned {
		r = presignedVector()
	}
	if tc.change != nil {
		tc.change(&r)
	}
	err := check(v, r, secret, tc.token)
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if diff := cmp.Diff(&tc.want, got, cmpopts.IgnoreUnexported(Error{})); diff != "" {
		t.Error(diff)
	}
	if missing := got.Code == "MissingAuthenticationTokenException"; errors.Is(err, ErrMissing) != missing {
		t.Errorf("wraps ErrMissing: %t", !missing)
	}
}

// runAll runs cases that have code and status in common.
func runAll(t *testing.T, code string, status int, cases []refusalCase) {
	t.Helper()
	for _, tc := range cases {
		tc.want.Code, tc.want.Status = code, status
		t.Run(tc.name, tc.run)
	}
}

// setHeader returns a change that sets a header, or removes it if the value is "".
func setHeader(name, value string) func(*Request) {
	return func(r *Request) {
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
}

// replaceIn returns a change of the Authorization header and of the query.
func replaceIn(old, replacement string) func(*Request) {
	return func(r *Request) {
		r.RawQuery = strings.Replace(r.RawQuery, old, replacement, 1)
		if a := r.Header.Get("Authorization"); a != "" {
			r.Header.Set("Authorization", strings.Replace(a, old, replacement, 1))
		}
	}
}

func TestRequestsWithoutSignatureAreRefused(t *testing.T) {
	missing := Error{Message: "Missing Authentication Token"}
	runAll(t, "MissingAuthenticationTokenException", 400, []refusalCase{
		{name: "no header, no query", change: setHeader("Authorization", ""), want: missing},
		{name: "no headers at all", change: func(r *Request) { r.Header = nil }, want: missing},
		{name: "a query without the algorithm", presigned: true, change: replaceIn("X-Amz-Algorithm", "X-Amz-Algorith"), want: missing},
	})
}

func TestIncompleteSignaturesAreRefused(t *testing.T) {
	const (
		noCredential    = "Authorization header requires 'Credential' parameter. "
		noSignature     = "Authorization header requires 'Signature' parameter. "
		noSignedHeaders = "Authorization header requires 'SignedHeaders' parameter. "
		noDate          = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
		order           = "SignedHeaders must be lower-case names in alphabetical order, separated by ';', got "
		five            = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got "
	)
	message := func(text string) Error { return Error{Message: text} }
	runAll(t, "IncompleteSignatureException", 400, []refusalCase{
		{name: "nothing in it", change: func(r *Request) {
			r.Header = http.Header{"Authorization": {"X"}}
		}, want: message(noCredential + noSignature + noSignedHeaders + noDate + "Authorization=X")},
		{
			name: "one parameter missing", change: setHeader("Authorization", "AWS4- Signature=b Credential=a"),
			want: message(noSignedHeaders + "Authorization=AWS4- Signature=b Credential=a"),
		},
		{
			name: "one parameter empty", change: setHeader("Authorization", "AWS4- Signature=b,Credential=,SignedHeaders=c"),
			want: message(noCredential + "Authorization=AWS4- Signature=b,Credential=,SignedHeaders=c"),
		},
		{name: "no date", change: setHeader("X-Amz-Date", ""), want: message(noDate + "Authorization=" + vanilla().Header.Get("Authorization"))},
		{
			name: "a long header is not repeated whole", change: setHeader("Authorization", "A "+strings.Repeat("x=\xff", 1000)),
			want: message(noCredential + noSignature + noSignedHeaders + "Authorization=A " + strings.Repeat("x=?", 170) + "..."),
		},
		{
			name: "no equal sign", change: setHeader("Authorization", "AWS4-HMAC-SHA256 Signature=b, Credential, SignedHeaders"),
			want: message("'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Signature=b, Credential, SignedHeaders'."),
		},
		{
			name: "another scheme", change: setHeader("Authorization", "Basic YWxhZGRpbg"),
			want: message("'YWxhZGRpbg' not a valid key=value pair (missing equal-sign) in Authorization header: 'Basic YWxhZGRpbg'."),
		},
		{
			name: "another date format", change: setHeader("X-Amz-Date", "2015-08-30"),
			want: message("Date must be in ISO-8601 'basic format'. Got '2015-08-30'. See http://en.wikipedia.org/wiki/ISO_8601"),
		},
		{
			name: "a date with a fraction", change: setHeader("X-Amz-Date", "20150830T123600.5Z"),
			want: message("Date must be in ISO-8601 'basic format'. Got '20150830T123600.5Z'. See http://en.wikipedia.org/wiki/ISO_8601"),
		},
		{
			name: "another algorithm", change: replaceIn("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA25"),
			want: message("Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now)."),
		},
		{
			name: "too few elements", change: replaceIn("/aws4_request", ""),
			want: message(five + "'AKIDEXAMPLE/20150830/us-east-1/service'"),
		},
		{
			name: "too many elements", change: replaceIn("/aws4_request", "/aws4_request/x/y"),
			want: message(five + "'AKIDEXAMPLE/20150830/us-east-1/service/aws4_request/x/y'"),
		},
		{name: "headers out of order", change: replaceIn("host;x-amz-date", "x-amz-date;host"), want: message(order + "'x-amz-date;host'.")},
		{name: "a header twice", change: replaceIn("host;x-amz-date", "host;host;x-amz-date"), want: message(order + "'host;host;x-amz-date'.")},
		{name: "a header in upper case", change: replaceIn("host;x-amz-date", "Host;x-amz-date"), want: message(order + "'Host;x-amz-date'.")},
		{name: "a header without a name", change: replaceIn("host;x-amz-date", "host;x-amz-date;"), want: message(order + "'host;x-amz-date;'.")},
	})
}

func TestIncompletePresignedRequestsAreRefused(t *testing.T) {
	const lifetime = "X-Amz-Expires must be a number of seconds from 1 to 604800."
	cases := []refusalCase{
		{name: "only the name of the algorithm", change: func(r *Request) { r.RawQuery = "X-Amz-Algorithm" }, want: Error{
			Message: "AWS query-string parameters must include 'X-Amz-Algorithm'. AWS query-string parameters must include 'X-Amz-Credential'. " +
				"AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. " +
				"AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters.",
		}},
		{name: "no date", change: replaceIn("X-Amz-Date", "X-Date"), want: Error{
			Message: "AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters.",
		}},
	}
	for _, seconds := range []string{"0", "604801", "-1", "+1", "1.5", "x", "99999999999999999999"} {
		cases = append(cases, refusalCase{
			name: "good for " + seconds + " seconds", change: replaceIn("X-Amz-Expires=3600", "X-Amz-Expires="+seconds), want: Error{Message: lifetime},
		})
	}
	for i := range cases {
		cases[i].presigned = true
	}
	runAll(t, "IncompleteSignatureException", 400, cases)
}

func TestMalformedQueriesAreRefused(t *testing.T) {
	runAll(t, "MalformedQueryString", 404, []refusalCase{
		{name: "no digits after a percent sign", change: func(r *Request) { r.RawQuery = "a=%zz" }, want: Error{Message: "The query string contains a syntax error."}},
		{name: "cut after a percent sign", change: func(r *Request) { r.RawQuery = "a%2=1" }, want: Error{Message: "The query string contains a syntax error."}},
		{name: "too long", change: func(r *Request) { r.RawQuery = strings.Repeat("a", 32<<10+1) }, want: Error{Message: "The query string is longer than 32768 bytes."}},
	})
}

func TestInvalidSignaturesAreRefused(t *testing.T) {
	const (
		mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
		region   = "Credential should be scoped to a valid region."
		service  = "Credential should be scoped to correct service: 'kinesis'."
		date     = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'."
		hash     = "The provided 'x-amz-content-sha256' header does not match what was computed."
		unsigned = "There were headers present in the request which were not signed: "
	)
	signHash := func(value string) func(*Request) {
		return func(r *Request) {
			r.Header.Set("X-Amz-Content-Sha256", value)
			replaceIn("host;", "host;x-amz-content-sha256;")(r)
		}
	}
	message := func(text string) Error { return Error{Message: text} }
	runAll(t, "InvalidSignatureException", 400, []refusalCase{
		{
			name: "in header and query", change: func(r *Request) { r.RawQuery = "X-Amz-Algorithm" },
			want: message("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."),
		},
		{name: "host not signed", change: replaceIn("host;", ""), want: message("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")},
		{
			name: "another terminator", change: replaceIn("aws4_request", "aws5_request"),
			want: message("Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."),
		},
		{name: "another region", region: "eu-west-1", want: message(region)},
		{name: "another service", service: "kinesis", want: message(service)},
		{name: "another day", change: replaceIn("/20150830/", "/20150829/"), want: message(date)},
		{
			name: "all of them", region: "eu-west-1", service: "kinesis", change: replaceIn("/20150830/", "/20150829/"),
			want: message(region + " " + service + " " + date),
		},
		{
			name: "too old", now: "20150830T125101Z",
			want: message("Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"),
		},
		{
			name: "too new", now: "20150830T122059Z",
			want: message("Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"),
		},
		{
			name: "presigned and too old", presigned: true, now: "20150830T133601Z",
			want: message("Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T133601Z - 60 min.)"),
		},
		{
			name: "presigned for seconds and too old", presigned: true, change: replaceIn("Expires=3600", "Expires=90"), now: "20150830T124000Z",
			want: message("Signature expired: 20150830T123600Z is now earlier than 20150830T123830Z (20150830T124000Z - 90 sec.)"),
		},
		{
			name: "presigned without an end and too old", presigned: true, change: replaceIn("&X-Amz-Expires=3600", ""), now: "20150830T125101Z",
			want: message("Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"),
		},
		{
			name: "presigned and too new", presigned: true, now: "20150830T122059Z",
			want: message("Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"),
		},
		{name: "a signed header is missing", change: replaceIn("host;", "host;my-header1;"), want: message("The header 'my-header1' is signed but was not received.")},
		{name: "the target is not signed", change: setHeader("X-Amz-Target", "Kinesis_20131202.ListStreams"), want: message(unsigned + "x-amz-target.")},
		{name: "presigned and the target is not signed", presigned: true, change: func(r *Request) {
			r.Header = http.Header{"X-Amz-Target": {"a"}, "X-Amz-Date": {vectorTime}, "Accept": {"*/*"}}
		}, want: message(unsigned + "x-amz-date, x-amz-target.")},
		{
			name: "the body is not signed", change: signHash("UNSIGNED-PAYLOAD"),
			want: message("The x-amz-content-sha256 'UNSIGNED-PAYLOAD' is not supported: it must be the SHA-256 hash of the body."),
		},
		{
			name: "the body is signed in chunks", change: signHash("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
			want: message("The x-amz-content-sha256 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' is not supported: it must be the SHA-256 hash of the body."),
		},
		{name: "the hash of another body", change: signHash(strings.Repeat("0", 64)), want: message(hash)},
		{name: "no hash", change: signHash("none"), want: message(hash)},
		{name: "another secret", secret: "x", want: message(mismatch)},
		{name: "another body", change: func(r *Request) { r.BodyHash = sha256.Sum256([]byte("x")) }, want: message(mismatch)},
		{name: "another signature", change: replaceIn("Signature=5", "Signature=6"), want: message(mismatch)},
		{name: "a short signature", change: replaceIn("Signature=5", "Signature="), want: message(mismatch)},
		{name: "a long signature", change: replaceIn("Signature=5", "Signature=55"), want: message(mismatch)},
		{name: "a signature in upper case", change: replaceIn("5fa00fa", "5FA00FA"), want: message(mismatch)},
	})
}

func TestKeysThatAreNotRecognizedAreRefused(t *testing.T) {
	withToken := func(r *Request) {
		for _, v := range vectors {
			if v.name == "get-vanilla-with-session-token" {
				*r = v.request()
			}
		}
	}
	unknown := Error{Message: "The security token included in the request is invalid."}
	runAll(t, "UnrecognizedClientException", 400, []refusalCase{
		{name: "a token for a key that has none", change: withToken, want: unknown},
		{name: "another token", change: withToken, token: vectorToken + "x", want: unknown},
		{name: "no token for a key that has one", token: vectorToken, want: unknown},
	})
	if err := check(vectorVerifier(t), vanilla(), "", ""); !errors.As(err, new(*Error)) || err.Error() != UnknownKey().Error() {
		t.Errorf("a key without a secret: %v", err)
	}
}

func TestSignaturesAreGoodUntilTheLastSecond(t *testing.T) {
	for _, tc := range []struct {
		name, now string
		r         Request
	}{
		{"the oldest", "20150830T125100Z", vanilla()},
		{"the newest", "20150830T122100Z", vanilla()},
		{"the oldest presigned", "20150830T133600Z", presignedVector()},
		{"the newest presigned", "20150830T122100Z", presignedVector()},
	} {
		v := &Verifier{Service: "service", Now: clockAt(t, tc.now)}
		if err := check(v, tc.r, vectorSecret, ""); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	v := &Verifier{Service: "service", Skew: time.Minute, Now: clockAt(t, "20150830T123701Z")}
	if err := check(v, vanilla(), vectorSecret, ""); err == nil {
		t.Error("accepted after 61 seconds with a skew of a minute")
	}
}

// Signers differ in spaces and in order, and proxies add headers.
func TestSignaturesAreReadInEveryFormOfTheHeader(t *testing.T) {
	const (
		credential = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
		headers    = "SignedHeaders=host;x-amz-date"
		signature  = "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
	)
	for _, text := range []string{
		"AWS4-HMAC-SHA256 " + credential + "," + headers + "," + signature,
		"AWS4-HMAC-SHA256 " + credential + " " + headers + " " + signature,
		"AWS4-HMAC-SHA256   " + signature + " ,  " + headers + ", " + credential + ",",
		"AWS4-HMAC-SHA256 " + credential + ", " + headers + ", " + signature + ", Other=a=b",
	} {
		r := vanilla()
		r.Header.Set("Authorization", text)
		r.Header.Set("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678")
		r.Header.Set("X-Amz-User-Agent", "aws-sdk-php")
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		if err := check(vectorVerifier(t), r, vectorSecret, ""); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseSaysWhoseSignatureItIs(t *testing.T) {
	signed := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	want := Credential{AccessKeyID: vectorKeyID, Date: "20150830", Region: "us-east-1", Service: "service", Time: signed}
	withToken, presigned := want, want
	withToken.Token = vectorToken
	presigned.Presigned, presigned.Lifetime = true, time.Hour
	withDate := func(date string) Request {
		r := vanilla()
		r.Header.Del("X-Amz-Date")
		r.Header.Set("Date", date)
		return r
	}
	tokenInHeader := vanilla()
	tokenInHeader.Header.Set("X-Amz-Security-Token", vectorToken)
	presignedWithToken := presignedVector()
	presignedWithToken.RawQuery += "&X-Amz-Security-Token=" + vectorToken
	withBoth := presigned
	withBoth.Token = vectorToken

	for _, tc := range []struct {
		name string
		r    Request
		want Credential
	}{
		{"header", vanilla(), want},
		{"header with a token", tokenInHeader, withToken},
		{"Date in the form of the scheme", withDate(vectorTime), want},
		{"Date in the form of HTTP", withDate("Sun, 30 Aug 2015 12:36:00 GMT"), want},
		{"query", presignedVector(), presigned},
		{"query with a token", presignedWithToken, withBoth},
	} {
		got, err := Parse(tc.r)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(Credential{})); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		if got.timestamp != vectorTime {
			t.Errorf("%s: the time to sign is %s", tc.name, got.timestamp)
		}
	}
}
