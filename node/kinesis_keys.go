package node

import (
	"errors"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/kinesis"
	"github.com/levada-stream/levada/meta"
)

// kinesisKeys finds access keys: those of the file first, then those of this node's copy of the control state. The copy is
// here anyway and follows every change, so nobody is asked, whatever ids requests make up. It is safe for concurrent use.
type kinesisKeys struct {
	file     func(id string) (configs.KinesisKey, bool) // nil without one
	store    *meta.Store
	caughtUp func() error // why the copy cannot be believed yet, nil if it can
	account  string       // of keys that have none of their own
	log      hclog.Logger

	mu     sync.Mutex
	parsed map[string]parsedKey // guarded by mu; by id
}

// parsedKey is what a version of a document says.
type parsedKey struct {
	version uint64
	key     kinesis.Key
	sound   bool
}

// parsedKeysMax bounds the keys that are kept parsed. The control state has no more documents.
const parsedKeysMax = meta.DocumentsMax

// find returns the key of an id. An error says that it cannot be told yet.
func (k *kinesisKeys) find(id string) (kinesis.Key, bool, error) {
	if k.file != nil {
		if key, ok := k.file(id); ok {
			return kinesisKey(key, k.account), true, nil
		}
	}
	// Until then a key that was made before the node stopped might be missing, and one that was deleted since be there.
	if err := k.caughtUp(); err != nil {
		return kinesis.Key{}, false, err
	}
	document := k.store.State().Documents().Get(configs.KinesisKeyPrefix + id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if document == nil {
		delete(k.parsed, id)
		return kinesis.Key{}, false, nil
	}
	p, ok := k.parsed[id]
	if !ok || p.version != document.Version {
		p = k.parse(document)
		if len(k.parsed) >= parsedKeysMax {
			clear(k.parsed) // of deleted ones that nobody asks for any more
		}
		k.parsed[id] = p
	}
	return p.key, p.sound, nil
}

func (k *kinesisKeys) parse(d *meta.Document) parsedKey {
	key, err := configs.ParseKinesisKey(d.Name, d.Value)
	if err != nil {
		k.log.Error("a key in the control state cannot be used", "document", d.Name, "error", err)
		return parsedKey{version: d.Version}
	}
	return parsedKey{version: d.Version, key: kinesisKey(key, k.account), sound: true}
}

// kinesisKey turns a key of the settings into one of the API. It belongs to the cluster's account unless it says another.
func kinesisKey(k configs.KinesisKey, account string) kinesis.Key {
	out := kinesis.Key{ID: k.ID, Secret: k.Secret.Reveal(), Token: k.Token.Reveal(), Name: k.Name, Account: k.Account, Tenant: k.Tenant}
	if out.Account == "" {
		out.Account = account
	}
	for _, p := range k.Allow {
		out.Allow = append(out.Allow, kinesis.Permission{Actions: p.Actions, Streams: p.Streams})
	}
	return out
}

// errStarting says that a key cannot be looked up yet.
var errStarting = errors.New("the node has not caught up with the cluster yet")

// kinesisKeys returns where the API of this node finds its keys.
func (n *Node) kinesisKeys(settings configs.Kinesis) (*kinesisKeys, error) {
	keys := &kinesisKeys{
		store: n.metaStore, account: settings.AccountID, log: n.log.Named("kinesis"), parsed: map[string]parsedKey{},
		caughtUp: func() error {
			if n.caughtUp("") != nil {
				return errStarting
			}
			return nil
		},
	}
	if settings.KeysFile == "" {
		return keys, nil
	}
	file, err := configs.WatchKinesisKeys(settings.KeysFile, func(err error) {
		n.log.Error("the changed file of kinesis keys cannot be used; the former keys stay in use", "error", err)
	})
	if err != nil {
		return nil, err
	}
	keys.file = file.Find
	return keys, nil
}
