package configs

import (
	"os"
	"strings"
	"testing"
	"time"
)

const goodKeys = `keys:
  - id: AKID1
    secret: s1
    name: one
    account: "123456789012"
    allow:
      - actions: ["Put*"]
        streams: ["orders", "orders-*"]
`

func TestKinesisKeysFollowTheirFile(t *testing.T) {
	path := write(t, goodKeys)
	var faults []error
	k, err := WatchKinesisKeys(path, func(err error) { faults = append(faults, err) })
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Now()
	k.now = func() time.Time { return clock }
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		clock = clock.Add(2 * recheckInterval)
	}
	one, ok := k.Find("AKID1")
	if !ok || one.Secret.Reveal() != "s1" || one.Account != "123456789012" || len(one.Allow) != 1 || len(one.Allow[0].Streams) != 2 {
		t.Errorf("%+v, %t", one, ok)
	}
	change(strings.Replace(goodKeys, "AKID1", "AKID-OTHER", 1))
	if _, ok := k.Find("AKID1"); ok {
		t.Error("a key that was taken out of the file is still there")
	}
	if _, ok := k.Find("AKID-OTHER"); !ok {
		t.Error("a key that was put into the file is not there")
	}
	change("keys: []\n")
	for range 3 {
		if _, ok := k.Find("AKID-OTHER"); !ok {
			t.Error("a bad file ended the use of the last good keys")
		}
		clock = clock.Add(2 * recheckInterval)
	}
	if len(faults) != 1 {
		t.Errorf("one bad file was reported %d times: %v", len(faults), faults)
	}
}

func TestBadKinesisKeys(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "",
		"no keys":         "keys: []\n",
		"unknown member":  strings.Replace(goodKeys, "name:", "nom:", 1),
		"no id":           strings.Replace(goodKeys, "AKID1", `""`, 1),
		"no secret":       strings.Replace(goodKeys, "s1", `""`, 1),
		"no name":         strings.Replace(goodKeys, "one", `""`, 1),
		"bad account":     strings.Replace(goodKeys, "123456789012", "12345", 1),
		"nothing allowed": goodKeys[:strings.Index(goodKeys, "    allow:")],
		"no actions":      strings.Replace(goodKeys, `["Put*"]`, "[]", 1),
		"one twice":       goodKeys + strings.TrimPrefix(goodKeys, "keys:\n"),
	} {
		if keys, err := parseKinesisKeys([]byte(text)); err == nil {
			t.Errorf("%s: taken as %d keys", name, len(keys))
		}
	}
	if keys, err := parseKinesisKeys([]byte(goodKeys)); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
}
