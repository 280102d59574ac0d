package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"sync"
)

// keysMax bounds the signing keys that are kept: one for each access key, day and region in use.
const keysMax = 1024

// keyName is what a signing key is for.
type keyName struct{ accessKeyID, date, region, service string }

// signingKey is a derived key and the hash of the secret that it was derived from.
type signingKey struct{ secretHash, key [sha256.Size]byte }

// keyCache keeps signing keys, which take four codes to derive and are the same all day. Its zero value is ready.
type keyCache struct {
	mu   sync.RWMutex
	keys map[keyName]signingKey // guarded by mu; 0 <= len <= keysMax
}

// find returns a key, unless it was derived from another secret.
func (c *keyCache) find(name keyName, secretHash [sha256.Size]byte) ([sha256.Size]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.keys[name]
	return k.key, ok && k.secretHash == secretHash
}

// store keeps a key, in the place of any other if there are too many.
func (c *keyCache) store(name keyName, secretHash, key [sha256.Size]byte) {
	// The names are parts of headers, which would be kept as a whole.
	name = keyName{
		strings.Clone(name.accessKeyID), strings.Clone(name.date), strings.Clone(name.region), strings.Clone(name.service),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = map[keyName]signingKey{}
	}
	if _, ok := c.keys[name]; !ok && len(c.keys) >= keysMax {
		for other := range c.keys {
			delete(c.keys, other)
			break
		}
	}
	c.keys[name] = signingKey{secretHash, key}
}

// deriveKey returns the key that signs for a day, a region and a service.
func deriveKey(name keyName, secret string) [sha256.Size]byte {
	key := mac([]byte("AWS4"+secret), []byte(name.date))
	for _, part := range [...]string{name.region, name.service, terminator} {
		key = mac(key[:], []byte(part))
	}
	return key
}

// mac returns the authentication code of a message: HMAC with SHA-256.
func mac(key, message []byte) [sha256.Size]byte {
	var sum [sha256.Size]byte
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}
