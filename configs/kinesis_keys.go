package configs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
)

// KinesisKey is an access key of the Kinesis-compatible API, as it stands in the file that kinesis.keys_file names.
type KinesisKey struct {
	ID      string              `yaml:"id"`
	Secret  Secret              `yaml:"secret"`
	Token   Secret              `yaml:"token"`   // of a temporary key
	Name    string              `yaml:"name"`    // whose it is
	Account string              `yaml:"account"` // twelve digits; empty: the cluster's own
	Tenant  string              `yaml:"tenant"`
	Allow   []KinesisPermission `yaml:"allow"`
}

// KinesisPermission allows actions on streams; both may have * in them.
type KinesisPermission struct {
	Actions []string `yaml:"actions"`
	Streams []string `yaml:"streams"`
}

type kinesisKeysFile struct {
	Keys []KinesisKey `yaml:"keys"`
}

// parseKinesisKeys reads a file of keys. Unknown members, keys without id, secret, name or permissions, and ids that stand twice are errors.
func parseKinesisKeys(source []byte) (_ map[string]KinesisKey, err error) {
	defer func() {
		if p := recover(); p != nil { // as in Parse
			err = fmt.Errorf("this cannot be read as YAML (%v)", p)
		}
	}()
	var file kinesisKeysFile
	if err := yaml.NewDecoder(bytes.NewReader(source), yaml.Strict()).Decode(&file); err != nil {
		return nil, pointed(err)
	}
	keys := map[string]KinesisKey{}
	for i, k := range file.Keys {
		_, twice := keys[k.ID]
		switch {
		case k.ID == "":
			return nil, fmt.Errorf("key %d has no id", i+1)
		case twice:
			return nil, fmt.Errorf("key %s stands twice", k.ID)
		case k.Secret == "":
			return nil, fmt.Errorf("key %s has no secret", k.ID)
		case k.Name == "":
			return nil, fmt.Errorf("key %s has no name", k.ID)
		case k.Account != "" && !isAccount(k.Account):
			return nil, fmt.Errorf("key %s: account %q must be twelve digits, in quotes", k.ID, k.Account)
		case len(k.Allow) == 0:
			return nil, fmt.Errorf("key %s is allowed nothing", k.ID)
		}
		for _, p := range k.Allow {
			if len(p.Actions) == 0 || len(p.Streams) == 0 {
				return nil, fmt.Errorf("key %s: each entry of allow needs actions and streams", k.ID)
			}
		}
		keys[k.ID] = k
	}
	if len(keys) == 0 {
		return nil, errors.New("there are no keys")
	}
	return keys, nil
}

// KinesisKeys are the keys of a file, read again when it changes. A changed file that cannot be used leaves the last good keys in use and is reported once. It is safe for concurrent use.
type KinesisKeys struct {
	path    string
	onError func(error)
	now     func() time.Time

	mu      sync.Mutex
	checked time.Time             // guarded by mu: when the file was last looked at
	stamp   stamp                 // guarded by mu: of the file that keys is from, or that failed
	keys    map[string]KinesisKey // guarded by mu: the last good ones
}

// WatchKinesisKeys reads a file of keys. onError hears of later changes that cannot be used.
func WatchKinesisKeys(path string, onError func(error)) (*KinesisKeys, error) {
	k := &KinesisKeys{path: path, onError: onError, now: time.Now}
	k.stamp = stampOf(path)
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if k.keys, err = parseKinesisKeys(source); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k.checked = k.now()
	return k, nil
}

// stampOf tells the present version of a file from others.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// Find returns the key of an id.
func (k *KinesisKeys) Find(id string) (KinesisKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); now.Sub(k.checked) >= recheckInterval {
		k.checked = now
		k.reload()
	}
	key, ok := k.keys[id]
	return key, ok
}

func (k *KinesisKeys) reload() {
	now := stampOf(k.path)
	if now == k.stamp {
		return
	}
	k.stamp = now
	source, err := os.ReadFile(k.path)
	var keys map[string]KinesisKey
	if err == nil {
		keys, err = parseKinesisKeys(source)
	}
	if err != nil {
		k.onError(err)
		return
	}
	k.keys = keys
}
