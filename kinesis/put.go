package kinesis

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

// putEntry is a record to write, as it stands in a body. Its slices are parts of that.
type putEntry struct {
	data        []byte
	key         []byte
	explicit    string
	hasData     bool
	hasKey      bool
	hasExplicit bool
}

const (
	keyUnitsMax = 256
	// recordBytesMax is the most that a record's data may be in any stream.
	recordBytesMax = 10 << 20
)

// member reads a member of a record and reports whether it is one.
func (e *putEntry) member(r codec.Reader, name []byte) bool {
	switch string(name) {
	case "Data":
		if r.Kind() != codec.Null {
			e.data, e.hasData = r.Blob(), true
			return true
		}
	case "PartitionKey":
		if r.Kind() != codec.Null {
			e.key, e.hasKey = r.Text(), true
			return true
		}
	case "ExplicitHashKey":
		if r.Kind() != codec.Null {
			e.explicit, e.hasExplicit = string(r.Text()), true
			return true
		}
	}
	return false
}

// check adds what is wrong with a record to found, worded as the service does. path is "" or that of the record in a list.
func (e *putEntry) check(path string, spread bool, found *[]string) {
	add := func(value, member, must string) {
		*found = append(*found, "Value "+value+" at '"+path+member+"' failed to satisfy constraint: Member must "+must)
	}
	switch {
	case !e.hasData:
		add("null", "data", "not be null")
	case len(e.data) > recordBytesMax:
		add(fmt.Sprintf("'java.nio.HeapByteBuffer[pos=0 lim=%d cap=%[1]d]'", len(e.data)), "data", fmt.Sprintf("have length less than or equal to %d", recordBytesMax))
	}
	switch n := keyUnits(e.key); {
	case !e.hasKey && spread:
	case !e.hasKey:
		add("null", "partitionKey", "not be null")
	case n == 0:
		add("''", "partitionKey", "have length greater than or equal to 1")
	case n > keyUnitsMax:
		add("'"+string(e.key[:min(len(e.key), 64)])+"…'", "partitionKey", fmt.Sprintf("have length less than or equal to %d", keyUnitsMax))
	}
	if e.hasExplicit && !plainNumber(e.explicit, 39) {
		add("'"+e.explicit[:min(len(e.explicit), 64)]+"'", "explicitHashKey", `satisfy regular expression pattern: 0|([1-9]\d{0,38})`)
	}
}

// keyUnits is the length of a partition key as the service counts it.
func keyUnits(key []byte) (n int) {
	for i := 0; i < len(key); {
		if key[i] < utf8.RuneSelf {
			i++
			n++
			continue
		}
		c, size := utf8.DecodeRune(key[i:])
		i += size
		n += max(1, utf16.RuneLen(c))
	}
	return n
}

// plainNumber reports whether a text is a decimal number of up to so many digits without leading zeros.
func plainNumber(text string, digits int) bool {
	if text == "" || len(text) > digits || text[0] == '0' && len(text) > 1 {
		return false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// record returns the record to write. With spread its keys do not matter, and it is kept without one.
func (e *putEntry) record(spread bool) (client.Record, error) {
	r := client.Record{PartitionKey: string(e.key), Data: e.data}
	switch {
	case spread:
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails: the runtime ends the program instead
		r.PartitionKey, r.ExplicitHashKey = "", &client.HashKey{Hi: binary.BigEndian.Uint64(b[:]), Lo: binary.BigEndian.Uint64(b[8:])}
	case e.hasExplicit:
		key, err := client.ParseHashKey(e.explicit)
		if err != nil {
			return r, fail(codeInvalidArgument, "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", e.explicit)
		}
		r.ExplicitHashKey = &key
	}
	return r, nil
}

// checkSize holds a record against the stream's own limit.
func (k *known) checkSize(e *putEntry) error {
	limit := int(k.stream.GetSettings().GetMaxRecordBytes())
	if len(e.data)+len(e.key) <= limit {
		return nil
	}
	return fail(codeInvalidArgument, "A record of %d bytes with its partition key is larger than the %d that stream %s takes.", len(e.data)+len(e.key), limit, k.stream.GetName())
}

// write writes records in their order and waits until each has its result. With a token, of a request that may be repeated, those of
// different keys are in no order.
func (s *Server) write(ctx context.Context, c *call, k *known, records []client.Record) ([]client.Result, error) {
	stream := k.stream.GetName()
	token, err := idempotencyToken(c)
	if err != nil {
		return nil, err
	}
	if token != "" && k.spreads() {
		settle(records, token)
	}
	refused, err := s.admitWrites(ctx, k, records)
	if err != nil {
		return nil, err
	}
	if token != "" {
		return s.writeOnce(ctx, stream, token, records, refused)
	}
	one, err := s.producers.take(stream)
	if err != nil {
		return nil, s.streamError(stream, err)
	}
	defer s.producers.giveBack(one)
	results := make([]client.Result, len(records))
	var pending sync.WaitGroup
	for i, r := range records {
		if refused[i] != nil {
			results[i].Err = refused[i]
			continue
		}
		pending.Add(1)
		err := one.producer.PutFunc(ctx, r, func(result client.Result) {
			results[i] = placed(result)
			pending.Done()
		})
		if err != nil {
			results[i].Err = err
			pending.Done()
		}
	}
	pending.Wait() // bounded by putRetry
	if slices.ContainsFunc(results, func(r client.Result) bool { return client.IsTooLarge(r.Err) || client.IsInvalid(r.Err) }) {
		// The stream has other limits than it had a moment ago: the next call, which may be this one tried again, is refused before anything is written.
		s.streams.forget(stream)
	}
	return results, nil
}

// errNoPlace is what becomes of a record that is stored where nobody remembers.
var errNoPlace = errors.New("the record is stored, and its sequence number is not known any more")

// placed is a result, but that a record which is stored at an unknown position has failed. A producer must not be told a number that is no record's; it puts
// the record again, which then has a position and is there twice, as after any failure of the original service.
func placed(r client.Result) client.Result {
	if r.Err == nil && r.Sequence.IsZero() {
		r.Err = errNoPlace
	}
	return r
}

// putError words why a record was not written.
func (s *Server) putError(stream string, r client.Result) *apiError {
	var own *apiError
	switch {
	case errors.As(r.Err, &own):
		return own
	case errors.Is(r.Err, client.ErrClosed):
		return closing()
	case client.IsThrottled(r.Err):
		return s.overRate(stream, r.Shard)
	case client.IsNotFound(r.Err):
		return s.noStream(stream)
	case client.IsTooLarge(r.Err), client.IsInvalid(r.Err):
		return fail(codeInvalidArgument, "%s", r.Err.Error())
	case client.IsUnavailable(r.Err):
		return unavailable("%s", r.Err.Error())
	}
	return internalFailure("Internal Service Failure")
}

// errDryRun is what an operation that was only to be tried answers when it would have succeeded.
func errDryRun() *apiError {
	return fail(codeDryRun, "The request would have succeeded, but the DryRun flag is set.")
}
