package kinesis

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/levada-stream/levada/client"
)

const (
	// tokenHeader makes a request that writes one that may be repeated: PutRecord and PutRecords look at it.
	tokenHeader   = "X-Levada-Idempotency-Token"
	tokenBytesMax = 128
)

// idempotencyToken returns what makes a request one that may be repeated, "" if it is none: its token, which is its account's own.
func idempotencyToken(c *call) (string, error) {
	all := c.r.Header.Values(tokenHeader)
	if len(all) == 0 {
		return "", nil
	}
	token := all[0]
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(all) > 1 || token == "" || len(token) > tokenBytesMax || strings.ContainsFunc(token, odd) {
		return "", fail(codeInvalidArgument, "The header %s must stand once and have 1 to %d printable characters of ASCII.", tokenHeader, tokenBytesMax)
	}
	return c.caller.key.Account + "/" + token, nil
}

// settle chooses the places of records that go anywhere, the same at each repetition.
func settle(records []client.Record, token string) {
	for i := range records {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte(token), uint64(i)))
		records[i].ExplicitHashKey = &client.HashKey{Hi: binary.BigEndian.Uint64(sum[:]), Lo: binary.BigEndian.Uint64(sum[8:])}
	}
}

// writeOnce writes the records of a request that may be repeated, but those that are refused.
func (s *Server) writeOnce(ctx context.Context, stream, token string, records []client.Record, refused []*apiError) ([]client.Result, error) {
	results, err := s.cluster.PutRepeatable(ctx, stream, token, records, func(i int) bool { return refused[i] != nil }, putRetry)
	if err != nil {
		return nil, s.streamError(stream, err)
	}
	for i, e := range refused {
		if e != nil {
			results[i].Err = e
		}
	}
	return results, nil
}
