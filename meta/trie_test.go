package meta

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The trie against a map, in transactions; every version ever made has to stay as it was.
func TestTrieModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now trie[int]
		model := map[uint64]int{}
		type version struct {
			trie  trie[int]
			model map[uint64]int
		}
		var versions []version
		keys := rapid.OneOf(rapid.Uint64Range(0, 100), rapid.Uint64Range(1000, 1100), rapid.Uint64())
		for range rapid.IntRange(1, 20).Draw(t, "transactions") {
			e := new(edit)
			for range rapid.IntRange(0, 30).Draw(t, "changes") {
				key := keys.Draw(t, "key")
				if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
					now.remove(e, key)
					delete(model, key)
				} else {
					v := rapid.Int().Draw(t, "value")
					now.set(e, key, &v)
					model[key] = v
				}
			}
			versions = append(versions, version{now, maps.Clone(model)})
		}
		for _, v := range versions {
			if v.trie.len() != len(v.model) {
				t.Fatalf("%d values, want %d", v.trie.len(), len(v.model))
			}
			var got []uint64
			for key, value := range v.trie.all() {
				got = append(got, key)
				if want, ok := v.model[key]; !ok || *value != want || v.trie.get(key) != value {
					t.Fatalf("key %d holds %d, want %d", key, *value, want)
				}
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(v.model)), got); diff != "" {
				t.Fatalf("keys (-want +got):\n%s", diff)
			}
			probe := keys.Draw(t, "probe")
			if _, ok := v.model[probe]; (v.trie.get(probe) != nil) != ok {
				t.Fatalf("key %d is there: %v, want %v", probe, !ok, ok)
			}
		}
	})
}

func TestTrieReleasesWhatIsRemoved(t *testing.T) {
	var tr trie[int]
	for i := range uint64(10_000) {
		v := int(i)
		tr.set(new(edit), i, &v)
		if i >= 10 {
			tr.remove(new(edit), i-10)
		}
	}
	nodes := 0
	var walk func(*trieNode[int])
	walk = func(n *trieNode[int]) {
		nodes++
		for _, k := range n.kids {
			if k != nil {
				walk(k)
			}
		}
	}
	walk(tr.root)
	if nodes > 8 {
		t.Errorf("%d nodes for 10 values", nodes)
	}
	for i := range uint64(10_000) {
		tr.remove(new(edit), i)
	}
	if tr.root != nil || tr.len() != 0 {
		t.Error("an empty trie keeps nodes")
	}
}
