package kinesis

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
	"github.com/levada-stream/levada/kinesis/sigv4"
)

// apiError is an error as the API answers it.
type apiError struct {
	code    string
	status  int
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// The error codes of the API that this package answers with.
const (
	codeAccessDenied     = "AccessDeniedException"
	codeDryRun           = "DryRunOperationException"
	codeExpiredIterator  = "ExpiredIteratorException"
	codeExpiredToken     = "ExpiredNextTokenException"
	codeInternal         = "InternalFailure"
	codeInvalidArgument  = "InvalidArgumentException"
	codeKeyNotFound      = "KMSNotFoundException"
	codeLimitExceeded    = "LimitExceededException"
	codeResourceInUse    = "ResourceInUseException"
	codeResourceNotFound = "ResourceNotFoundException"
	codeSerialization    = "SerializationException"
	codeThroughput       = "ProvisionedThroughputExceededException"
	codeUnavailable      = "ServiceUnavailableException"
	codeUnknownOperation = "UnknownOperationException"
	codeValidation       = "ValidationException"
)

func fail(code, format string, args ...any) *apiError {
	return &apiError{code: code, status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

func internalFailure(format string, args ...any) *apiError {
	return &apiError{code: codeInternal, status: http.StatusInternalServerError, message: fmt.Sprintf(format, args...)}
}

func unavailable(format string, args ...any) *apiError {
	return &apiError{code: codeUnavailable, status: http.StatusServiceUnavailable, message: fmt.Sprintf(format, args...)}
}

// closing is the error of a server that is closing.
func closing() *apiError { return unavailable("The node is closing.") }

// asAPIError turns any error into one of the API.
func asAPIError(err error) *apiError {
	var own *apiError
	var signature *sigv4.Error
	var syntax *codec.SyntaxError
	var misfit *codec.TypeError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &signature):
		return &apiError{code: signature.Code, status: signature.Status, message: signature.Message}
	case errors.As(err, &syntax):
		return fail(codeSerialization, "%s", syntax.Error())
	case errors.As(err, &misfit):
		return fail(codeSerialization, "%s", misfit.Text)
	case errors.Is(err, client.ErrClosed):
		return closing()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable("The request took too long.")
	}
	switch client.KindOf(err) {
	case client.Invalid, client.TooLarge, client.Conflict:
		return fail(codeInvalidArgument, "%s", err.Error())
	case client.NotFound, client.ShardClosed:
		return fail(codeResourceNotFound, "%s", err.Error())
	case client.Throttled:
		return fail(codeThroughput, "%s", err.Error())
	case client.LimitReached:
		return fail(codeLimitExceeded, "%s", err.Error())
	case client.Denied:
		return fail(codeAccessDenied, "%s", err.Error())
	case client.Unavailable, client.NotLeader:
		return unavailable("%s", err.Error())
	}
	return internalFailure("%s", err.Error())
}
