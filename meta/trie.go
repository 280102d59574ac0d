package meta

import "iter"

// A trie is a persistent array from uint64 to *V, cheap where keys are dense:
// a change copies the path to one leaf (at most a few nodes of 32 pointers) and
// shares the rest with the older copies. The zero value is empty.
//
// Inside one transaction nodes already copied are changed in place; they are
// recognised by their owner. Once the transaction is over nobody holds its
// edit, so its nodes are frozen.
type trie[V any] struct {
	root   *trieNode[V]
	levels int // levels of inner nodes above the leaves
	n      int // values held
}

// An edit is the identity of one transaction. It has a size so that every one
// has an address of its own.
type edit struct{ _ byte }

const (
	trieBits = 5
	trieFan  = 1 << trieBits
	trieMask = trieFan - 1
)

// Exactly one of kids and vals is set.
type trieNode[V any] struct {
	owner *edit
	used  int // entries that are not nil; a node with none is dropped
	kids  []*trieNode[V]
	vals  []*V
}

func (n *trieNode[V]) mutable(e *edit) *trieNode[V] {
	if n.owner == e {
		return n
	}
	c := &trieNode[V]{owner: e, used: n.used}
	if n.kids != nil {
		c.kids = append(make([]*trieNode[V], 0, trieFan), n.kids...)
	} else {
		c.vals = append(make([]*V, 0, trieFan), n.vals...)
	}
	return c
}

func newTrieNode[V any](e *edit, leaf bool) *trieNode[V] {
	if leaf {
		return &trieNode[V]{owner: e, vals: make([]*V, trieFan)}
	}
	return &trieNode[V]{owner: e, kids: make([]*trieNode[V], trieFan)}
}

// fits reports whether the present height reaches key.
func (t *trie[V]) fits(key uint64) bool {
	shift := (t.levels + 1) * trieBits
	return shift >= 64 || key>>shift == 0
}

func (t *trie[V]) get(key uint64) *V {
	if t.root == nil || !t.fits(key) {
		return nil
	}
	n := t.root
	for level := t.levels; level > 0; level-- {
		if n = n.kids[key>>(level*trieBits)&trieMask]; n == nil {
			return nil
		}
	}
	return n.vals[key&trieMask]
}

// set stores v, which is not nil, under key.
func (t *trie[V]) set(e *edit, key uint64, v *V) {
	if t.root == nil {
		t.levels = 0
		for !t.fits(key) {
			t.levels++
		}
		t.root = newTrieNode[V](e, t.levels == 0)
	}
	for !t.fits(key) {
		up := newTrieNode[V](e, false)
		up.kids[0], up.used = t.root, 1
		t.root = up
		t.levels++
	}
	t.root = t.root.mutable(e)
	n := t.root
	for level := t.levels; level > 0; level-- {
		slot := key >> (level * trieBits) & trieMask
		kid := n.kids[slot]
		if kid == nil {
			kid = newTrieNode[V](e, level == 1)
			n.used++
		} else {
			kid = kid.mutable(e)
		}
		n.kids[slot] = kid
		n = kid
	}
	if n.vals[key&trieMask] == nil {
		n.used++
		t.n++
	}
	n.vals[key&trieMask] = v
}

// remove takes key out, if it is there.
func (t *trie[V]) remove(e *edit, key uint64) {
	if t.get(key) == nil {
		return
	}
	t.n--
	t.root = t.root.without(e, key, t.levels)
}

func (n *trieNode[V]) without(e *edit, key uint64, level int) *trieNode[V] {
	n = n.mutable(e)
	slot := key >> (level * trieBits) & trieMask
	if level == 0 {
		n.vals[slot] = nil
		n.used--
	} else if n.kids[slot] = n.kids[slot].without(e, key, level-1); n.kids[slot] == nil {
		n.used--
	}
	if n.used == 0 {
		return nil
	}
	return n
}

func (t *trie[V]) len() int { return t.n }

// all yields the values in ascending order of their keys.
func (t *trie[V]) all() iter.Seq2[uint64, *V] {
	return func(yield func(uint64, *V) bool) {
		if t.root != nil {
			t.root.walk(0, t.levels, yield)
		}
	}
}

func (n *trieNode[V]) walk(prefix uint64, level int, yield func(uint64, *V) bool) bool {
	prefix <<= trieBits
	if level == 0 {
		for i, v := range n.vals {
			if v != nil && !yield(prefix|uint64(i), v) {
				return false
			}
		}
		return true
	}
	for i, kid := range n.kids {
		if kid != nil && !kid.walk(prefix|uint64(i), level-1, yield) {
			return false
		}
	}
	return true
}
