package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/levada-stream/levada/internal/hashkey"
)

const (
	// MaxKeyBytes is the largest partition key in bytes of UTF-8.
	MaxKeyBytes = 1024
	// MaxKeyChars is the largest partition key in Unicode characters.
	MaxKeyChars = 256
	// MaxDataBytes is the largest record payload, 10 MiB.
	MaxDataBytes = 10 << 20

	recordHeaderSize = 8
	flagExplicitHash = 1
)

var (
	// ErrShort reports that the bytes end before the batch does.
	ErrShort = errors.New("record batch is cut short")
	// ErrCorrupt reports bytes that are no batch, or whose checksum fails.
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrInvalid reports a well-formed record or batch that breaks a rule;
	// the detail is an *InvalidError.
	ErrInvalid = errors.New("record batch is invalid")
	// ErrFull reports that a record fits a batch, but not this one any more.
	ErrFull = errors.New("record batch is full")
)

// InvalidError says which rule a record or batch breaks. It unwraps to ErrInvalid.
type InvalidError struct {
	Field  string // "key", "data", "flags", "count", "sequence", "structure"
	Limit  uint64 // the limit that was passed, 0 if none was
	Reason string
}

// Error returns the field and the reason.
func (e *InvalidError) Error() string { return "record " + e.Field + " " + e.Reason }

// Unwrap returns ErrInvalid.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

func invalid(field string, limit uint64, format string, args ...any) error {
	return &InvalidError{Field: field, Limit: limit, Reason: fmt.Sprintf(format, args...)}
}

// Record is one record. When it comes from a batch its slices alias the batch.
type Record struct {
	// Key is the partition key: UTF-8, 1 to MaxKeyChars characters, or none for a record that an explicit hash key routes.
	Key []byte
	// ExplicitHash replaces the key's hash when HasExplicitHash is set.
	ExplicitHash    hashkey.Key
	HasExplicitHash bool
	// Data is the payload, 0 to MaxDataBytes bytes.
	Data []byte
}

// HashKey returns the key that routes the record: the explicit one, or the hash of the partition key.
func (r Record) HashKey() hashkey.Key {
	if r.HasExplicitHash {
		return r.ExplicitHash
	}
	return hashkey.FromPartitionKey(r.Key)
}

// Size returns the bytes that the record takes in a batch.
func (r Record) Size() int {
	n := recordHeaderSize + len(r.Key) + len(r.Data)
	if r.HasExplicitHash {
		n += hashkey.Size
	}
	return n
}

// Validate returns an *InvalidError if the record cannot be in any batch.
func (r Record) Validate() error {
	if err := r.validateKey(); err != nil {
		return err
	}
	if len(r.Data) > MaxDataBytes {
		return invalid("data", MaxDataBytes, "has %d bytes, at most %d are allowed", len(r.Data), MaxDataBytes)
	}
	return nil
}

func (r Record) validateKey() error {
	key := r.Key
	switch {
	case len(key) == 0 && !r.HasExplicitHash:
		return invalid("key", 0, "is empty")
	case len(key) > MaxKeyBytes:
		return invalid("key", MaxKeyChars, "has %d bytes, at most %d are allowed", len(key), MaxKeyBytes)
	case !utf8.Valid(key):
		return invalid("key", 0, "is not UTF-8")
	case len(key) > MaxKeyChars && utf8.RuneCount(key) > MaxKeyChars:
		return invalid("key", MaxKeyChars, "has %d characters, at most %d are allowed", utf8.RuneCount(key), MaxKeyChars)
	}
	return nil
}

func appendRecord(b []byte, r Record) []byte {
	var flags byte
	if r.HasExplicitHash {
		flags = flagExplicitHash
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Data)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Key)))
	b = append(b, flags, 0)
	if r.HasExplicitHash {
		b = r.ExplicitHash.AppendBytes(b)
	}
	b = append(b, r.Key...)
	return append(b, r.Data...)
}

// next decodes the record at the start of b and what follows it. It checks
// the structure only; the key's rules are validateKey's.
func next(b []byte) (Record, []byte, error) {
	if len(b) < recordHeaderSize {
		return Record{}, nil, invalid("structure", 0, "header is cut at the end of the batch")
	}
	dataLen := uint64(binary.LittleEndian.Uint32(b))
	keyLen := uint64(binary.LittleEndian.Uint16(b[4:]))
	flags, zero := b[6], b[7]
	if flags&^flagExplicitHash != 0 || zero != 0 {
		return Record{}, nil, invalid("flags", 0, "has unknown flags %#02x %#02x", flags, zero)
	}
	if dataLen > MaxDataBytes {
		return Record{}, nil, invalid("data", MaxDataBytes, "has %d bytes, at most %d are allowed", dataLen, MaxDataBytes)
	}
	var r Record
	b = b[recordHeaderSize:]
	if flags&flagExplicitHash != 0 {
		if len(b) < hashkey.Size {
			return Record{}, nil, invalid("structure", 0, "hash key is cut at the end of the batch")
		}
		r.HasExplicitHash, r.ExplicitHash = true, hashkey.FromBytes(b)
		b = b[hashkey.Size:]
	}
	if uint64(len(b)) < keyLen+dataLen {
		return Record{}, nil, invalid("structure", 0, "body is cut at the end of the batch")
	}
	r.Key = b[:keyLen:keyLen]
	r.Data = b[keyLen : keyLen+dataLen : keyLen+dataLen]
	return r, b[keyLen+dataLen:], nil
}
