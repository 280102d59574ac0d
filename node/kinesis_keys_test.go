package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/kinesis"
	"github.com/levada-stream/levada/meta"
)

// keyring is a control state that holds keys, and who looks them up.
type keyring struct {
	*kinesisKeys
	index uint64
}

func newKeyring(t *testing.T) *keyring {
	store := storeOf(t, 1)
	return &keyring{&kinesisKeys{
		store: store, account: "000000000000", log: hclog.NewNullLogger(), parsed: map[string]parsedKey{}, caughtUp: func() error { return nil },
	}, store.State().Version()}
}

// put sets a document, or removes it for nil.
func (k *keyring) put(t *testing.T, name string, value []byte) {
	t.Helper()
	k.index++
	c := meta.PutDocument{Name: name, Value: value, Remove: value == nil, Writer: fmt.Sprint(k.index)}
	if d := k.store.State().Documents().Get(name); d != nil {
		c.Expect = d.Version
	}
	apply(t, k.store, c, k.index)
}

func (k *keyring) create(t *testing.T, key configs.KinesisKey) {
	t.Helper()
	name, value, err := key.Document()
	if err != nil {
		t.Fatal(err)
	}
	k.put(t, name, value)
}

func (k *keyring) want(t *testing.T, id, secret string) kinesis.Key {
	t.Helper()
	key, ok, err := k.find(id)
	if err != nil || ok != (secret != "") || key.Secret != secret {
		t.Errorf("key %s: secret %q, %v, %v; want %q", id, key.Secret, ok, err, secret)
	}
	return key
}

func someKey(id, secret string) configs.KinesisKey {
	return configs.KinesisKey{ID: id, Secret: configs.Secret(secret), Name: "n", Allow: []configs.KinesisPermission{{Actions: []string{"Put*"}, Streams: []string{"s"}}}}
}

func TestKeysFollowTheControlState(t *testing.T) {
	k := newKeyring(t)
	k.want(t, "A", "")
	k.create(t, someKey("A", "one"))
	if key := k.want(t, "A", "one"); key.Account != "000000000000" || len(key.Allow) != 1 || key.Allow[0].Actions[0] != "Put*" || key.Allow[0].Streams[0] != "s" {
		t.Errorf("%+v", key)
	}
	k.want(t, "B", "")
	k.create(t, someKey("A", "two"))
	k.want(t, "A", "two")
	k.put(t, configs.KinesisKeyPrefix+"A", []byte(`{"secret":"two"}`))
	k.want(t, "A", "")
	k.put(t, configs.KinesisKeyPrefix+"A", nil)
	k.want(t, "A", "")
	k.create(t, someKey("A", "three"))
	k.want(t, "A", "three")
	k.put(t, "kinesis.channel.C", []byte(`{}`))
	k.want(t, "../channel.C", "")
	k.want(t, "", "")
}

func TestKeysOfTheFileGoFirst(t *testing.T) {
	k := newKeyring(t)
	k.create(t, someKey("A", "kept"))
	k.create(t, someKey("B", "kept"))
	foreign := someKey("A", "file")
	foreign.Account = "111111111111"
	k.file = func(id string) (configs.KinesisKey, bool) { return foreign, id == "A" }
	if key := k.want(t, "A", "file"); key.Account != "111111111111" {
		t.Errorf("%+v", key)
	}
	k.want(t, "B", "kept")
	// A node that has not caught up knows its file, but not what there is no more.
	k.caughtUp = func() error { return errStarting }
	k.want(t, "A", "file")
	if _, ok, err := k.find("B"); ok || !errors.Is(err, errStarting) {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestUnknownKeysLeaveNothing: ids are what requests make up.
func TestUnknownKeysLeaveNothing(t *testing.T) {
	k := newKeyring(t)
	for i := range 1000 {
		k.want(t, fmt.Sprint("X", i), "")
	}
	k.create(t, someKey("A", "one"))
	k.want(t, "A", "one")
	if len(k.parsed) != 1 {
		t.Errorf("%d keys are kept, one was found", len(k.parsed))
	}
}
