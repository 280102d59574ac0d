package client

import (
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// HashKey is the 128-bit key that routes a record to a shard.
type HashKey = hashkey.Key

// SequenceNumber names a record in its stream.
type SequenceNumber = seqno.Number

// ParseHashKey reads the decimal form of a hash key.
func ParseHashKey(text string) (HashKey, error) { return hashkey.Parse(text) }

// ParseSequence reads the decimal form of a sequence number.
func ParseSequence(text string) (SequenceNumber, error) { return seqno.Parse(text) }

// NewSequence returns the sequence number that a record of that time in unix ms, ordinal and shard has.
func NewSequence(ms int64, ordinal uint64, shard uint32) SequenceNumber {
	return seqno.New(ms, ordinal, shard)
}

// Record is one record, to write or as read.
type Record struct {
	// PartitionKey routes the record: 1 to 256 characters of UTF-8. It may be empty if there is an ExplicitHashKey.
	PartitionKey string
	// ExplicitHashKey routes the record in the partition key's stead, if not nil.
	ExplicitHashKey *HashKey
	// Data is the payload. Put copies it. In a record as read it aliases the
	// message received, of which it keeps up to a megabyte alive: copy what is
	// kept for long.
	Data []byte

	// The rest is set by reads and ignored by Put.

	// Shard is the shard's number in the stream.
	Shard uint32
	// Ordinal is the record's position in its shard, from 0.
	Ordinal uint64
	// Sequence is the record's sequence number.
	Sequence SequenceNumber
	// ApproxArrival is the leader's time when it took the record, in milliseconds.
	ApproxArrival time.Time
}

// HashKey returns the key that routes the record.
func (r Record) HashKey() HashKey {
	if r.ExplicitHashKey != nil {
		return *r.ExplicitHashKey
	}
	return hashkey.FromPartitionKey([]byte(r.PartitionKey))
}

// encodable returns r in the codec's form. Key and Data alias r's.
func (r Record) encodable() record.Record {
	out := record.Record{Key: stringBytes(r.PartitionKey), Data: r.Data}
	if r.ExplicitHashKey != nil {
		out.ExplicitHash, out.HasExplicitHash = *r.ExplicitHashKey, true
	}
	return out
}

// Result is what became of one record.
type Result struct {
	// Shard is where the record was sent.
	Shard uint32
	// Sequence is the record's sequence number; zero if Err is set.
	Sequence SequenceNumber
	// Duplicate says that an earlier attempt of this producer had stored the
	// record; Sequence is the original one.
	Duplicate bool
	// Err is an *Error, or nil when the record is stored.
	Err error
}
