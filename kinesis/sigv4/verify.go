package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// skewDefault is the real service's.
const skewDefault = 15 * time.Minute

// Verifier verifies signatures. Its fields stay as they are from its first use on. It is safe for concurrent use and is not to
// be copied.
type Verifier struct {
	// Region is the one that requests must be signed for, "" for any.
	Region string
	// Service is the one that requests must be signed for.
	Service string
	// Skew is how far the time of a signature may be from the time here. 0 means 15 minutes.
	Skew time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	keys keyCache
}

// Verify reports whether a request is signed as c, which Parse made of it, says: with the secret of the access key and, if the
// key is a temporary one, its session token. An empty secret is nobody's. The error is an *Error.
func (v *Verifier) Verify(r Request, c Credential, secret, token string) error {
	if secret == "" {
		return UnknownKey()
	}
	if err := v.checkTime(&c); err != nil {
		return err
	}
	if err := v.checkScope(&c); err != nil {
		return err
	}
	if err := checkBodyHash(&r); err != nil {
		return err
	}
	var space [2 << 10]byte // more than the SDKs' requests take
	canonical, err := appendCanonicalRequest(space[:0], &r, &c)
	if err != nil {
		return err
	}
	name := keyName{c.AccessKeyID, c.Date, c.Region, c.Service}
	secretHash := sha256.Sum256([]byte(secret))
	key, cached := v.keys.find(name, secretHash)
	if !cached {
		key = deriveKey(name, secret)
	}
	if !matches(key, stringToSign(&c, canonical), c.signature) {
		return invalid(messageMismatch)
	}
	if !cached { // only now, so that requests of others cannot fill the cache
		v.keys.store(name, secretHash, key)
	}
	if subtle.ConstantTimeCompare([]byte(c.Token), []byte(token)) != 1 {
		return UnknownKey()
	}
	return nil
}

// checkTime refuses a signature of a time that is too far away.
func (v *Verifier) checkTime(c *Credential) error {
	clock, skew := v.Now, v.Skew
	if clock == nil {
		clock = time.Now
	}
	if skew <= 0 {
		skew = skewDefault
	}
	now := clock().UTC().Truncate(time.Second) // signatures have no fractions
	if latest := now.Add(skew); c.Time.After(latest) {
		return invalid("Signature not yet current: " + c.Time.Format(timeLayout) + " is still later than " + latest.Format(timeLayout) +
			" (" + now.Format(timeLayout) + " + " + span(skew) + ")")
	}
	lifetime := skew
	if c.Lifetime > 0 {
		lifetime = c.Lifetime
	}
	if earliest := now.Add(-lifetime); c.Time.Before(earliest) {
		return invalid("Signature expired: " + c.Time.Format(timeLayout) + " is now earlier than " + earliest.Format(timeLayout) +
			" (" + now.Format(timeLayout) + " - " + span(lifetime) + ")")
	}
	return nil
}

// span writes a duration as the service does.
func span(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.FormatInt(int64(d/time.Minute), 10) + " min."
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + " sec."
}

// checkScope refuses a signature for another region, service or day, with all that is wrong.
func (v *Verifier) checkScope(c *Credential) error {
	var wrong []string
	if v.Region != "" && c.Region != v.Region {
		wrong = append(wrong, "Credential should be scoped to a valid region.")
	}
	if c.Service != v.Service {
		wrong = append(wrong, "Credential should be scoped to correct service: '"+v.Service+"'.")
	}
	if day, _, _ := strings.Cut(c.timestamp, "T"); c.Date != day {
		wrong = append(wrong, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+
			shown(c.Date)+"' != '"+day+"', from '"+c.timestamp+"'.")
	}
	if wrong == nil {
		return nil
	}
	return invalid(strings.Join(wrong, " "))
}

// checkBodyHash refuses a header that tells another hash of the body than it has, or none.
func checkBodyHash(r *Request) error {
	values := r.Header["X-Amz-Content-Sha256"]
	if len(values) == 0 {
		return nil
	}
	value := values[0]
	var space [2 * sha256.Size]byte
	switch {
	case value == string(hex.AppendEncode(space[:0], r.BodyHash[:])):
		return nil
	case value == "UNSIGNED-PAYLOAD", strings.HasPrefix(value, "STREAMING-"):
		return invalid("The x-amz-content-sha256 '" + shown(value) + "' is not supported: it must be the SHA-256 hash of the body.")
	}
	return invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
}

// stringToSign is the message whose code under the signing key is the signature.
func stringToSign(c *Credential, canonical []byte) []byte {
	hash := sha256.Sum256(canonical)
	b := make([]byte, 0, 256)
	b = append(b, algorithm+"\n"...)
	b = append(b, c.timestamp...)
	b = append(b, '\n')
	b = append(b, c.scope...)
	b = append(b, '\n')
	return hex.AppendEncode(b, hash[:])
}

// matches reports whether a signature is that of a message. Its time tells nothing about where they differ.
func matches(key [sha256.Size]byte, message []byte, signature string) bool {
	var want, got [2 * sha256.Size]byte
	sum := mac(key[:], message)
	hex.Encode(want[:], sum[:])
	copy(got[:], signature)
	return len(signature) == len(got) && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}
