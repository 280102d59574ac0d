package history

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// Value identifies one record that a test wrote, by what its payload says
// about itself. The zero Value stands for a payload that is none of ours.
type Value struct {
	// Producer numbers the producers of a run from 1.
	Producer uint32
	// Key numbers the partition keys; see KeyText.
	Key uint32
	// Counter counts the records of one producer from 1; a later record has a higher one.
	Counter uint64
}

// ErrValue reports a payload that no test wrote, or that was altered since.
var ErrValue = errors.New("payload is not one that a test wrote")

// String returns "producer 1 key 2 counter 3".
func (v Value) String() string {
	return fmt.Sprintf("producer %d key %d counter %d", v.Producer, v.Key, v.Counter)
}

// KeyText returns the partition key with this number.
func KeyText(key uint32) string { return fmt.Sprintf("key-%05d", key) }

const (
	checksumDigits = 8
	filler         = "abcdefghijklmnopqrstuvwxyz0123456789"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns a payload of at least size bytes for v:
// "CHECKSUM PRODUCER KEY COUNTER FILLER", the checksum covering what follows it.
func Encode(v Value, size int) []byte {
	b := make([]byte, 0, max(size, 48))
	b = append(b, "00000000 "...)
	b = strconv.AppendUint(b, uint64(v.Producer), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(v.Key), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, v.Counter, 10)
	b = append(b, ' ')
	for i := int(v.Counter % uint64(len(filler))); len(b) < size; i = 0 {
		b = append(b, filler[i:min(len(filler), i+size-len(b))]...)
	}
	copy(b, checksum(b))
	return b
}

// checksum returns the digits that belong at the start of payload.
func checksum(payload []byte) []byte {
	var sum [checksumDigits / 2]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(payload[checksumDigits:], castagnoli))
	return hex.AppendEncode(nil, sum[:])
}

// Decode is the inverse of Encode. It returns ErrValue for any other payload.
func Decode(payload []byte) (Value, error) {
	if len(payload) < checksumDigits {
		return Value{}, ErrValue
	}
	if string(payload[:checksumDigits]) != string(checksum(payload)) {
		return Value{}, ErrValue
	}
	fields := bytes.SplitN(payload[checksumDigits:], []byte{' '}, 5)
	if len(fields) != 5 {
		return Value{}, ErrValue
	}
	producer, err1 := strconv.ParseUint(string(fields[1]), 10, 32)
	key, err2 := strconv.ParseUint(string(fields[2]), 10, 32)
	counter, err3 := strconv.ParseUint(string(fields[3]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || producer == 0 {
		return Value{}, ErrValue
	}
	return Value{Producer: uint32(producer), Key: uint32(key), Counter: counter}, nil
}
