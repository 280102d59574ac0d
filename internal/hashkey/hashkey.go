// Package hashkey holds the 128-bit hash keys that route records to shards.
//
// A partition key is hashed with MD5 to an unsigned 128-bit integer; a shard
// owns one contiguous inclusive range of those integers. All values are
// immutable and comparable with ==. The package does no I/O.
package hashkey

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
)

// Key is an unsigned 128-bit hash key. The zero value is the smallest key.
type Key struct {
	Hi, Lo uint64
}

// Max is the largest key, 2^128-1.
var Max = Key{^uint64(0), ^uint64(0)}

// Size is the length in bytes of the binary form: 16 bytes, big-endian.
const Size = 16

// ErrMalformed reports text that is not a decimal integer in [0, 2^128-1].
var ErrMalformed = errors.New("hash key must be a decimal integer between 0 and 340282366920938463463374607431768211455")

// FromPartitionKey returns the MD5 hash of a partition key's UTF-8 bytes as a
// big-endian integer, as Amazon Kinesis does.
func FromPartitionKey(partitionKey []byte) Key {
	sum := md5.Sum(partitionKey)
	return FromBytes(sum[:])
}

// FromBytes decodes the first 16 bytes of b, big-endian. It panics if b is shorter.
func FromBytes(b []byte) Key {
	return Key{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// AppendBytes appends the 16-byte binary form to b.
func (k Key) AppendBytes(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, k.Hi)
	return binary.BigEndian.AppendUint64(b, k.Lo)
}

// Parse reads a decimal integer. It returns ErrMalformed for anything else.
func Parse(text string) (Key, error) {
	if text == "" || len(text) > 39 || (len(text) > 1 && text[0] == '0') {
		return Key{}, ErrMalformed
	}
	var k Key
	for i := range len(text) {
		d := text[i] - '0'
		if d > 9 {
			return Key{}, ErrMalformed
		}
		loHi, loLo := bits.Mul64(k.Lo, 10)
		hiHi, hiLo := bits.Mul64(k.Hi, 10)
		hi, carry := bits.Add64(hiLo, loHi, 0)
		lo, c := bits.Add64(loLo, uint64(d), 0)
		hi, carry2 := bits.Add64(hi, 0, c)
		if hiHi != 0 || carry != 0 || carry2 != 0 {
			return Key{}, ErrMalformed
		}
		k = Key{hi, lo}
	}
	return k, nil
}

func (k Key) big() *big.Int {
	return new(big.Int).SetBytes(k.AppendBytes(nil))
}

// String returns the decimal form without leading zeros.
func (k Key) String() string { return k.big().String() }

// Compare returns -1, 0 or +1 as k is less than, equal to or greater than o.
func (k Key) Compare(o Key) int {
	switch {
	case k.Hi < o.Hi || (k.Hi == o.Hi && k.Lo < o.Lo):
		return -1
	case k == o:
		return 0
	}
	return 1
}

// Range is the inclusive range [Start, End] of hash keys that a shard owns.
// 0 <= Start <= End <= Max.
type Range struct {
	Start, End Key
}

// Full is the whole key space.
var Full = Range{End: Max}

// Contains reports whether k lies in r.
func (r Range) Contains(k Key) bool {
	return r.Start.Compare(k) <= 0 && k.Compare(r.End) <= 0
}

// String returns "[start, end]" in decimal.
func (r Range) String() string { return fmt.Sprintf("[%s, %s]", r.Start, r.End) }

// SplitEven cuts the whole key space into n contiguous ranges, n >= 1, whose
// widths differ by at most one, in ascending order.
func SplitEven(n int) []Range { return Full.SplitEven(n) }

// SplitEven cuts r into n contiguous ranges, n >= 1, whose widths differ by at most one, in
// ascending order. It returns nil if r has fewer than n keys.
func (r Range) SplitEven(n int) []Range {
	start, width := r.Start.big(), r.width()
	if width.Cmp(big.NewInt(int64(n))) < 0 {
		return nil
	}
	ranges := make([]Range, n)
	for i := range ranges {
		x := new(big.Int).Mul(width, big.NewInt(int64(i)))
		x.Add(x.Div(x, big.NewInt(int64(n))), start)
		var buf [Size]byte
		ranges[i].Start = FromBytes(x.FillBytes(buf[:]))
		ranges[i].End = r.End
		if i > 0 {
			ranges[i-1].End = ranges[i].Start.Prev()
		}
	}
	return ranges
}

// width returns the number of keys, 1 to 2^128.
func (r Range) width() *big.Int {
	w := new(big.Int).Sub(r.End.big(), r.Start.big())
	return w.Add(w, big.NewInt(1))
}

// Prev returns k-1; of the smallest key it is the largest.
func (k Key) Prev() Key {
	lo, borrow := bits.Sub64(k.Lo, 1, 0)
	return Key{k.Hi - borrow, lo}
}

// Next returns k+1; of the largest key it is the smallest.
func (k Key) Next() Key {
	lo, carry := bits.Add64(k.Lo, 1, 0)
	return Key{k.Hi + carry, lo}
}

// MarshalText returns the decimal form.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the decimal form.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = Parse(string(text))
	return err
}
