package configs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// KinesisKey is an access key of the Kinesis-compatible API, as it stands in the file that kinesis.keys_file names or, as a document, in the control state.
type KinesisKey struct {
	ID      string              `yaml:"id"`
	Secret  Secret              `yaml:"secret"`
	Token   Secret              `yaml:"token"`   // of a temporary key
	Name    string              `yaml:"name"`    // whose it is
	Account string              `yaml:"account"` // twelve digits; empty: the cluster's own
	Tenant  string              `yaml:"tenant"`
	Allow   []KinesisPermission `yaml:"allow"`

	Created time.Time `yaml:"-"` // of a key in the control state, in whole milliseconds
}

// KinesisPermission allows actions on streams; both may have * and ? in them.
type KinesisPermission struct {
	Actions []string `yaml:"actions" json:"actions"`
	Streams []string `yaml:"streams" json:"streams"`
}

// Limits of keys, in the file and in the control state.
const (
	keyNameBytesMax   = 128 // id, name, tenant
	keySecretBytesMax = 256
	keyTokenBytesMax  = 4096
	permissionsMax    = 100
	patternsMax       = 100 // on each side of a permission
	patternBytesMax   = 128
	keyDocumentMax    = 64 << 10 // what the control state takes
)

// Validate returns what is wrong with a key, beginning with the name of the field.
func (k KinesisKey) Validate() error {
	for _, f := range []struct {
		field, text, extra string
		empty              bool
	}{{"id", k.ID, "_-", false}, {"name", k.Name, "_-.@+=,", false}, {"tenant", k.Tenant, "_-.@+=,", true}} {
		if len(f.text) > keyNameBytesMax || !f.empty && f.text == "" || !plain(f.text, f.extra) {
			least := 1
			if f.empty {
				least = 0
			}
			return fmt.Errorf("%s: %.150q must be %d to %d letters, digits and %s", f.field, f.text, least, keyNameBytesMax, f.extra)
		}
	}
	switch {
	case k.Secret == "" || len(k.Secret) > keySecretBytesMax:
		return fmt.Errorf("secret: has %d bytes, it must have 1 to %d", len(k.Secret), keySecretBytesMax)
	case len(k.Token) > keyTokenBytesMax:
		return fmt.Errorf("token: has %d bytes, the limit is %d", len(k.Token), keyTokenBytesMax)
	case k.Account != "" && !isAccount(k.Account):
		return fmt.Errorf("account: %.150q must be twelve digits (in a file: in quotes)", k.Account)
	case len(k.Allow) == 0:
		return errors.New("allow: is empty, so the key may do nothing")
	case len(k.Allow) > permissionsMax:
		return fmt.Errorf("allow: has %d entries, the limit is %d", len(k.Allow), permissionsMax)
	}
	for i, p := range k.Allow {
		if err := p.validate(); err != nil {
			return fmt.Errorf("allow: entry %d: %w", i+1, err)
		}
	}
	return nil
}

// actionPrefix may stand before an action.
const actionPrefix = "kinesis:"

func (p KinesisPermission) validate() error {
	for _, side := range []struct {
		what, extra, prefix string
		patterns            []string
	}{{"actions", "*?", actionPrefix, p.Actions}, {"streams", "*?_.-", "", p.Streams}} {
		if n := len(side.patterns); n == 0 || n > patternsMax {
			return fmt.Errorf("has %d %s, it must have 1 to %d", n, side.what, patternsMax)
		}
		for _, pattern := range side.patterns {
			bare := strings.TrimPrefix(pattern, side.prefix)
			if bare == "" || len(bare) > patternBytesMax || !plain(bare, side.extra) {
				return fmt.Errorf("%.150q of its %s must be 1 to %d letters, digits and %s", pattern, side.what, patternBytesMax, side.extra)
			}
		}
	}
	return nil
}

// plain reports whether a text has nothing but letters and digits of ASCII, and extra ones.
func plain(text, extra string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return notPlain(r) && !strings.ContainsRune(extra, r) })
}

// KinesisKeyPrefix begins the names of the documents in the control state that hold keys. The key's id follows.
const KinesisKeyPrefix = "kinesis.key."

// kinesisKeyDocument is the value of such a document: docs/formats/kinesis-keys.md.
type kinesisKeyDocument struct {
	Name    string              `json:"name"`
	Secret  string              `json:"secret"`
	Token   string              `json:"token,omitempty"`
	Account string              `json:"account,omitempty"`
	Tenant  string              `json:"tenant,omitempty"`
	Allow   []KinesisPermission `json:"allow"`
	Created int64               `json:"created"` // unix ms
}

// Document returns the document of a key, its secret readable.
func (k KinesisKey) Document() (name string, value []byte, err error) {
	if err := k.Validate(); err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err = e.Encode(kinesisKeyDocument{
		Name: k.Name, Secret: k.Secret.Reveal(), Token: k.Token.Reveal(), Account: k.Account, Tenant: k.Tenant, Allow: k.Allow, Created: k.Created.UnixMilli(),
	})
	if err != nil {
		return "", nil, err
	}
	value = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(value) > keyDocumentMax {
		return "", nil, fmt.Errorf("allow: makes a key of %d bytes, the limit is %d", len(value), keyDocumentMax)
	}
	return KinesisKeyPrefix + k.ID, value, nil
}

// ParseKinesisKey reads the document of a key. A member that is not known makes it unusable: it might be one that forbids something.
func ParseKinesisKey(name string, value []byte) (KinesisKey, error) {
	id, ok := strings.CutPrefix(name, KinesisKeyPrefix)
	if !ok {
		return KinesisKey{}, fmt.Errorf("document %q is no key", name)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	var doc kinesisKeyDocument
	if err := d.Decode(&doc); err != nil {
		return KinesisKey{}, err
	}
	if d.More() {
		return KinesisKey{}, errors.New("something follows the key")
	}
	k := KinesisKey{
		ID: id, Secret: Secret(doc.Secret), Token: Secret(doc.Token), Name: doc.Name, Account: doc.Account, Tenant: doc.Tenant, Allow: doc.Allow, Created: time.UnixMilli(doc.Created).UTC(),
	}
	return k, k.Validate()
}
