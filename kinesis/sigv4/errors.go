package sigv4

import (
	"errors"
	"net/http"
	"strings"
)

// Error is a refusal, as the service answers it. Every error of this package is one.
type Error struct {
	Code    string // such as "InvalidSignatureException"
	Message string
	Status  int // of HTTP

	cause error
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap returns ErrMissing or nil.
func (e *Error) Unwrap() error { return e.cause }

// ErrMissing is what a refusal wraps if the request is not signed at all.
var ErrMissing = errors.New("the request is not signed")

// The codes of refusals.
const (
	codeMissing        = "MissingAuthenticationTokenException"
	codeIncomplete     = "IncompleteSignatureException"
	codeInvalid        = "InvalidSignatureException"
	codeUnrecognized   = "UnrecognizedClientException"
	codeMalformedQuery = "MalformedQueryString"
)

const messageMismatch = "The request signature we calculated does not match the signature you provided. " +
	"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// UnknownKey is the refusal of an access key that does not exist, and of a session token that is not the key's.
func UnknownKey() *Error {
	return refusal(codeUnrecognized, "The security token included in the request is invalid.")
}

func missing() *Error {
	e := refusal(codeMissing, "Missing Authentication Token")
	e.cause = ErrMissing
	return e
}

// incomplete refuses what cannot be read as a signature.
func incomplete(message string) *Error { return refusal(codeIncomplete, message) }

// invalid refuses a signature that is not good here and now.
func invalid(message string) *Error { return refusal(codeInvalid, message) }

func malformedQuery(message string) *Error { return refusal(codeMalformedQuery, message) }

// refusal is the only place where codes get their status. The real service answers 400 whatever is wrong with a signature; 403 is what it says
// to a request of which it does not know the format, and what other services say.
func refusal(code, message string) *Error {
	status := http.StatusBadRequest
	if code == codeMalformedQuery {
		status = http.StatusNotFound
	}
	return &Error{Code: code, Message: message, Status: status}
}

// shownBytesMax bounds what a message repeats of a request.
const shownBytesMax = 512

// shown returns a part of a request for a message: not too long, and text that any encoding of the answer can hold.
func shown(s string) string {
	if len(s) > shownBytesMax {
		s = s[:shownBytesMax] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
