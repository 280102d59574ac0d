package client

import (
	"crypto/md5"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// saltPartsMax is the largest number of parts that a salt, one byte, is drawn from.
const saltPartsMax = 255

// salted returns the record with another hash key if its own is one of those that the stream spreads: one of a few keys, each
// in turn. Consumers see the same partition key. A record with an explicit hash key is left as it is.
func (p *Producer) salted(m *partitionMap, rec record.Record) record.Record {
	if len(m.salted) == 0 || rec.HasExplicitHash || p.opts.Shard != nil {
		return rec
	}
	parts := m.salted[rec.HashKey()]
	if parts < 2 {
		return rec
	}
	rec.ExplicitHash, rec.HasExplicitHash = saltedKey(rec.Key, byte(p.salt.Add(1)%uint64(parts))), true
	return rec
}

// saltedKey is the hash key of a partition key with a salt: see SaltedKey in the API.
func saltedKey(key []byte, salt byte) hashkey.Key {
	b := make([]byte, 0, len(key)+2)
	b = append(append(b, key...), 0, salt)
	sum := md5.Sum(b)
	return hashkey.FromBytes(sum[:])
}
