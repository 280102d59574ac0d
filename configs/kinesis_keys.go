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

type kinesisKeysFile struct {
	Keys []KinesisKey `yaml:"keys"`
}

// parseKinesisKeys reads a file of keys. Unknown members, keys that are not valid, and ids that stand twice are errors.
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
		if k.ID == "" {
			return nil, fmt.Errorf("key %d has no id", i+1)
		}
		if _, twice := keys[k.ID]; twice {
			return nil, fmt.Errorf("key %s stands twice", k.ID)
		}
		if err := k.Validate(); err != nil {
			return nil, fmt.Errorf("key %s: %w", k.ID, err)
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
