package kinesis

import (
	"errors"
	"math/big"

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

// bigOf reads a decimal number.
func bigOf(text string) *big.Int {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		panic("no number: " + text)
	}
	return n
}
