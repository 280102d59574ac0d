// Package seqno holds sequence numbers: the 128-bit names of records.
//
// Layout, most significant bit first:
//
//	version 4 | time 44 (ms since the Unix epoch) | ordinal 64 | shard 16
//
// A number is unique in its stream and strictly increases along a shard,
// because the ordinal does and the time never goes back. The version is 5, the
// smallest nibble for which every number has 39 decimal digits, so that
// numbers of one version compare as text as they do as integers.
package seqno

import (
	"errors"
	"math/big"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
)

// Version is the layout version stored in the top four bits.
const Version = 5

// MaxTime is the largest time in milliseconds that fits, in the year 2527.
const MaxTime = 1<<44 - 1

// ErrMalformed reports text that is not a sequence number.
var ErrMalformed = errors.New("sequence number must be the 39-digit decimal string that a put returned")

// Number is a sequence number. The zero value is no number and sorts first.
type Number struct {
	Hi, Lo uint64
}

// New composes a number. timeMillis is cut to 44 bits, the caller keeps it in
// [0, MaxTime]; ordinal is the record's position in its shard, from 0; shard
// is the shard's number in its stream, of which the low 16 bits are kept.
func New(timeMillis int64, ordinal uint64, shard uint32) Number {
	return Number{
		Hi: Version<<60 | uint64(timeMillis)&MaxTime<<16 | ordinal>>48,
		Lo: ordinal<<16 | uint64(shard)&0xffff,
	}
}

// Parse reads the decimal form. Any version but ours is malformed.
func Parse(text string) (Number, error) {
	k, err := hashkey.Parse(text)
	if err != nil || k.Hi>>60 != Version {
		return Number{}, ErrMalformed
	}
	return Number(k), nil
}

// IsZero reports whether n is no number.
func (n Number) IsZero() bool { return n == Number{} }

// Millis returns the record's time in milliseconds since the Unix epoch.
func (n Number) Millis() int64 { return int64(n.Hi >> 16 & MaxTime) }

// Time returns the record's time.
func (n Number) Time() time.Time { return time.UnixMilli(n.Millis()) }

// Ordinal returns the record's position in its shard, from 0.
func (n Number) Ordinal() uint64 { return n.Hi<<48 | n.Lo>>16 }

// Shard returns the low 16 bits of the shard's number.
func (n Number) Shard() uint16 { return uint16(n.Lo) }

// Compare returns -1, 0 or +1 as n is before, equal to or after o.
func (n Number) Compare(o Number) int { return hashkey.Key(n).Compare(hashkey.Key(o)) }

// String returns the decimal form: 39 digits, or "0" for the zero value.
func (n Number) String() string { return hashkey.Key(n).String() }

// Big returns n as an integer.
func (n Number) Big() *big.Int {
	return new(big.Int).SetBytes(hashkey.Key(n).AppendBytes(nil))
}
