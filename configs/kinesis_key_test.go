package configs

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func soundKey() KinesisKey {
	return KinesisKey{
		ID: "LV23456789ABCDEFGHIJ", Secret: "a<b>&c", Token: "t", Name: "orders-service", Account: "123456789012", Tenant: "shop",
		Allow:   []KinesisPermission{{Actions: []string{"Put*", "kinesis:DescribeStream"}, Streams: []string{"orders", "orders-*"}}, {Actions: []string{"*"}, Streams: []string{"*"}}},
		Created: time.UnixMilli(1_795_417_200_123).UTC(),
	}
}

// TestKeyDocument holds the bytes in the control state and docs/formats/kinesis-keys.md together.
func TestKeyDocument(t *testing.T) {
	name, value, err := soundKey().Document()
	if err != nil || name != "kinesis.key.LV23456789ABCDEFGHIJ" {
		t.Fatal(name, err)
	}
	page, err := os.ReadFile("../docs/formats/kinesis-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "\n"+string(value)+"\n") {
		t.Errorf("the page does not show\n%s", value)
	}
	back, err := ParseKinesisKey(name, value)
	if diff := cmp.Diff(soundKey(), back); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if text := fmt.Sprintf("%v %+v %#v", back, back, back); strings.Contains(text, "a<b>") {
		t.Errorf("a key shows its secret where it is printed: %s", text)
	}
}

func TestDocumentsThatAreNoKeys(t *testing.T) {
	name, value, err := soundKey().Document()
	if err != nil {
		t.Fatal(err)
	}
	good := string(value)
	for what, c := range map[string][2]string{
		"another name":                       {"kinesis.channel.x", good},
		"no id":                              {KinesisKeyPrefix, good},
		"nothing":                            {name, ""},
		"no JSON":                            {name, "{"},
		"more than one":                      {name, good + good},
		"an unknown member":                  {name, strings.Replace(good, `"tenant"`, `"only_from":"10.0.0.0/8","tenant"`, 1)},
		"an unknown one within a permission": {name, strings.Replace(good, `"streams"`, `"not_streams":[],"streams"`, 1)},
		"no secret":                          {name, strings.Replace(good, "a<b>&c", "", 1)},
		"no actions":                         {name, strings.Replace(good, `["*"]`, `[]`, 1)},
		"null":                               {name, "null"},
	} {
		if k, err := ParseKinesisKey(c[0], []byte(c[1])); err == nil {
			t.Errorf("%s: taken as %+v", what, k)
		}
	}
}

func TestKeyLimits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	many := func(n int, one string) []string {
		return strings.Split(strings.TrimSuffix(strings.Repeat(one+",", n), ","), ",")
	}
	allow := func(actions, streams []string) func(k *KinesisKey) {
		return func(k *KinesisKey) { k.Allow = []KinesisPermission{{actions, streams}} }
	}
	all := []string{"*"}
	for _, c := range []struct {
		says   string // "" if it is sound
		change func(k *KinesisKey)
	}{
		{"", func(*KinesisKey) {}},
		{"id:", func(k *KinesisKey) { k.ID = "a/b" }},
		{"id:", func(k *KinesisKey) { k.ID = "" }},
		{"", func(k *KinesisKey) { k.ID = long(128) }},
		{"id:", func(k *KinesisKey) { k.ID = long(129) }},
		{"name: \"\" must be 1 to 128", func(k *KinesisKey) { k.Name = "" }},
		{"name:", func(k *KinesisKey) { k.Name = "two words" }},
		{"name:", func(k *KinesisKey) { k.Name = "a:b" }},
		{"", func(k *KinesisKey) { k.Name = "a.b-c_d@e+f=g,h" }},
		{"tenant:", func(k *KinesisKey) { k.Tenant = "ä" }},
		{"", func(k *KinesisKey) { k.Tenant = "" }},
		{"tenant:", func(k *KinesisKey) { k.Tenant = long(129) }},
		{"secret: has 0 bytes", func(k *KinesisKey) { k.Secret = "" }},
		{"", func(k *KinesisKey) { k.Secret = Secret(long(256)) }},
		{"secret: has 257 bytes, it must have 1 to 256", func(k *KinesisKey) { k.Secret = Secret(long(257)) }},
		{"token: has 4097 bytes, the limit is 4096", func(k *KinesisKey) { k.Token = Secret(long(4097)) }},
		{"account:", func(k *KinesisKey) { k.Account = "12345678901x" }},
		{"allow: is empty", func(k *KinesisKey) { k.Allow = nil }},
		{"allow: has 101 entries, the limit is 100", func(k *KinesisKey) { k.Allow = make([]KinesisPermission, 101) }},
		{"allow: entry 1: has 0 actions", allow(nil, all)},
		{"allow: entry 1: has 0 streams", allow(all, nil)},
		{"", allow(many(100, "*"), all)},
		{"allow: entry 1: has 101 streams, it must have 1 to 100", allow(all, many(101, "a"))},
		{"allow: entry 1: \"\" of its actions", allow([]string{""}, all)},
		{"allow: entry 1: \"kinesis:\" of its actions", allow([]string{"kinesis:"}, all)},
		{"allow: entry 1: \"a b\" of its streams", allow(all, []string{"a b"})},
		{"allow: entry 1: \"s3:Get*\" of its actions", allow([]string{"s3:Get*"}, all)},
		{"", allow(all, []string{long(128)})},
		{"must be 1 to 128 letters", allow(all, []string{long(129)})},
		{"allow: makes a key of", func(k *KinesisKey) {
			k.Allow = nil
			for range 100 {
				k.Allow = append(k.Allow, KinesisPermission{many(50, long(8)), many(50, long(8))})
			}
		}},
	} {
		k := soundKey()
		c.change(&k)
		_, _, err := k.Document()
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}

func FuzzParseKinesisKey(f *testing.F) {
	_, value, err := soundKey().Document()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, value []byte) {
		k, err := ParseKinesisKey(KinesisKeyPrefix+"A", value)
		if err != nil {
			return
		}
		name, again, err := k.Document()
		if err != nil {
			return // escapes made it too large
		}
		if back, err := ParseKinesisKey(name, again); err != nil || cmp.Diff(k, back) != "" {
			t.Errorf("%q: %v", value, err)
		}
	})
}
