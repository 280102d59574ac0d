package client

import (
	"maps"
	"slices"
)

// A shard that was closed says so before the map does: the map is switched when its children have adopted what it leaves, and each node hears of that a
// moment later. The children are in the map before, pending. A producer that was told that a shard is closed sends to them at once; they refuse, and nothing is
// done, until they have adopted. So its records wait for the adoption only.
//
// When one of two shards that are merged says so, the other counts as closed too: once a shard is sealed its reshard is not given up. What is put for the other's
// keys goes to the child, whose lane waits until the other's has settled what it holds, and the child takes nothing before both are sealed.
//
// What was closed stays so: a record must not go to a shard when the one before it, of the same key, has gone to that shard's child. Maps that
// are older than one that was used are not used any more.

// sealedShards are the shards that have said that they are closed, as long as no map did.
type sealedShards struct {
	stream uint64
	// shards holds those that take over from each, as it has said itself: in an old map others may be pending, which were given up.
	shards map[uint32][]uint32
	newest *partitionMap // that was asked about; nil before the first
}

// routing is a map and how records go by it. Immutable.
type routing struct {
	from, to *partitionMap
}

// seal notes that a shard of a stream has said that it is closed, and who takes over from it.
func (p *Producer) seal(streamID uint64, shard uint32, heirs []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sealed
	switch {
	case streamID < s.stream:
		return // that stream was deleted, and there is another of its name
	case streamID > s.stream || s.shards == nil:
		*s = sealedShards{stream: streamID, shards: map[uint32][]uint32{}}
	}
	s.shards[shard] = heirs
	p.routeLocked()
}

// routed returns a map by which records go: m or a newer one, but that the shards which are known to be closed are, and
// those that take over from them own their keys.
func (p *Producer) routed(m *partitionMap) *partitionMap {
	r := p.routing.Load()
	switch {
	case r == nil: // no shard has been closed yet
		return m
	case r.from == m:
		return r.to
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sealed
	switch {
	case m.streamID != s.stream:
		return m
	case s.newest != nil && m.version < s.newest.version:
		return p.routing.Load().to
	}
	s.newest = m
	maps.DeleteFunc(s.shards, func(number uint32, _ []uint32) bool {
		sh := m.byNumber[number]
		return sh != nil && sh.closed
	})
	return p.routeLocked()
}

// routeLocked works out anew how records go. Whoever calls it holds p.mu.
func (p *Producer) routeLocked() *partitionMap {
	r := &routing{}
	if m := p.sealed.newest; m != nil {
		r.from, r.to = m, m.withSealed(p.sealed.shards)
	}
	p.routing.Store(r)
	return r.to
}

// withSealed returns a map in which shards are closed, and those that take over from them own their keys. What the map
// does not know of, being older, and what it knows already changes nothing.
func (m *partitionMap) withSealed(sealed map[uint32][]uint32) *partitionMap {
	children := map[uint32][]uint32{} // by parent
	for _, heirs := range sealed {
		if m.pend(heirs) {
			for _, parent := range m.byNumber[heirs[0]].parents {
				children[parent] = heirs
			}
		}
	}
	if len(children) == 0 {
		return m
	}
	out := *m
	out.byNumber = maps.Clone(m.byNumber)
	out.open = slices.DeleteFunc(slices.Clone(m.open), func(sh *shardInfo) bool { return children[sh.number] != nil })
	for parent, heirs := range children {
		if sh := m.byNumber[parent]; sh != nil {
			closed := *sh
			closed.closed, closed.children = true, heirs
			out.byNumber[parent] = &closed
		}
		for _, n := range heirs {
			if out.byNumber[n].pending { // else its other parent was first
				open := *out.byNumber[n]
				open.pending = false
				out.byNumber[n] = &open
				out.open = append(out.open, &open)
			}
		}
	}
	slices.SortFunc(out.open, func(a, b *shardInfo) int { return a.keys.Start.Compare(b.keys.Start) })
	return &out
}

// pend reports whether there are such shards, and all are pending.
func (m *partitionMap) pend(shards []uint32) bool {
	return len(shards) > 0 && !slices.ContainsFunc(shards, func(n uint32) bool {
		sh := m.byNumber[n]
		return sh == nil || !sh.pending
	})
}
