package kinesis

import (
	"errors"
	"io"
	"math/big"
	"net"
	"syscall"

	"github.com/aws/smithy-go"
)

// codeOf returns the code of an error of the API, or what else it is.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return err.Error()
}

// kindOf sorts an error: the code of one of the API, or what became of the connection.
func kindOf(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return "in order"
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, net.ErrClosed):
		return "connection closed by the SDK" // it does that now and then in the middle of an answer, without any fault too
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection ended"
	}
	return err.Error()
}

// bigOf reads a decimal number.
func bigOf(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		panic("no number: " + text)
	}
	return n
}
