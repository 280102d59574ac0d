package sigv4

import (
	"crypto/sha256"
	"strconv"
	"sync"
	"testing"
)

func TestKeyCacheStaysBounded(t *testing.T) {
	var c keyCache
	secretHash := sha256.Sum256([]byte("secret"))
	for i := range 2 * keysMax {
		name := keyName{"key", "20261126", "region-" + strconv.Itoa(i), "kinesis"}
		key := sha256.Sum256([]byte(name.region))
		c.store(name, secretHash, key)
		if got, ok := c.find(name, secretHash); !ok || got != key {
			t.Fatalf("key %d is not found when it was just stored", i)
		}
	}
	if len(c.keys) != keysMax {
		t.Errorf("%d keys are kept, want %d", len(c.keys), keysMax)
	}
}

func TestKeyCacheKeepsKeysApart(t *testing.T) {
	var c keyCache
	name := keyName{"key", "20261126", "us-east-1", "kinesis"}
	secretHash := sha256.Sum256([]byte("secret"))
	c.store(name, secretHash, deriveKey(name, "secret"))
	for what, other := range map[string]keyName{
		"key": {"yek", "20261126", "us-east-1", "kinesis"}, "day": {"key", "20261127", "us-east-1", "kinesis"},
		"region": {"key", "20261126", "us-east-2", "kinesis"}, "service": {"key", "20261126", "us-east-1", "dynamodb"},
	} {
		if _, ok := c.find(other, secretHash); ok {
			t.Errorf("found for another %s", what)
		}
	}
	if _, ok := c.find(name, sha256.Sum256([]byte("another"))); ok {
		t.Error("found for another secret")
	}
}

func TestChangedSecretIsNoticed(t *testing.T) {
	s := newSDKSigner("")
	v := s.verifier()
	for _, secret := range []string{"first", "second", "first"} {
		s.key.SecretAccessKey = secret
		req := newRequest(t, "POST", "https://localhost/", nil)
		s.sign(t, req, nil)
		r := overTheWire(t, req)
		for _, known := range []string{"first", "second"} {
			if err := check(v, r, known, ""); (err == nil) != (known == secret) {
				t.Errorf("signed with %s, verified with %s: %v", secret, known, err)
			}
		}
	}
}

// Whoever knows an access key id but not its secret does not push keys out of the cache.
func TestOnlyGoodSignaturesAreCached(t *testing.T) {
	v := vectorVerifier(t)
	v.Region = ""
	r := vanilla()
	replaceIn("/us-east-1/", "/anywhere/")(&r)
	if err := check(v, r, vectorSecret, ""); err == nil {
		t.Fatal("accepted for another region")
	}
	if len(v.keys.keys) != 0 {
		t.Error("the key of a bad signature is kept")
	}
	if err := check(v, vanilla(), vectorSecret, ""); err != nil {
		t.Fatal(err)
	}
	if len(v.keys.keys) != 1 {
		t.Errorf("%d keys are kept, want 1", len(v.keys.keys))
	}
}

func TestVerifierServesManyAtOnce(t *testing.T) {
	v := vectorVerifier(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, vec := range vectors {
					r := vec.request()
					if err := check(v, r, vectorSecret, r.Header.Get("X-Amz-Security-Token")); err != nil {
						t.Errorf("%s: %v", vec.name, err)
					}
					if err := check(v, r, "another", ""); err == nil {
						t.Errorf("%s: accepted with another secret", vec.name)
					}
				}
			}
		})
	}
	wg.Wait()
}
