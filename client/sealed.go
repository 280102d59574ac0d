package client

import (
	"maps"
	"slices"
)

// A shard that was closed says so before the map does: the map is switched when its children have adopted what it leaves, and each node hears of that a
// moment later. The children are in the map before, pending. A producer that was told that a shard is closed sends to them at once; they refuse, and nothing is
// done, until they have adopted. So its records wait for the adoption only.

// seal notes that a shard of a stream has said that it is closed.
func (p *Producer) seal(streamID uint64, shard uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sealed.stream != streamID {
		p.sealed = sealedShards{stream: streamID}
	}
	if p.sealed.shards == nil {
		p.sealed.shards = map[uint32]bool{}
	}
	p.sealed.shards[shard] = true
	p.sealed.from, p.sealed.to = nil, nil
	p.anySealed.Store(true)
}

// sealedShards are the shards that have said that they are closed, as long as the map does not.
type sealedShards struct {
	stream   uint64
	shards   map[uint32]bool
	from, to *partitionMap // the last map that was asked about, and how records go by it
}

// routed returns a map by which records go: m, but that the shards which are known to be closed are, and those that
// take over from them own their keys.
func (p *Producer) routed(m *partitionMap) *partitionMap {
	if !p.anySealed.Load() {
		return m
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.sealed
	if s.from == m {
		return s.to
	}
	if s.stream != m.streamID {
		s.shards = nil
	}
	maps.DeleteFunc(s.shards, func(number uint32, _ bool) bool {
		sh := m.byNumber[number]
		return sh == nil || sh.closed
	})
	s.from, s.to = m, m.withSealed(s.shards)
	p.anySealed.Store(len(s.shards) > 0)
	return s.to
}

// withSealed returns a map in which shards are closed, and pending ones that come from them own their keys. Of a merge whose other parent is not
// known to be closed, the child owns those of the one that is.
func (m *partitionMap) withSealed(sealed map[uint32]bool) *partitionMap {
	if len(sealed) == 0 {
		return m
	}
	out := *m
	out.byNumber, out.open = maps.Clone(m.byNumber), slices.Clone(m.open)
	for number := range sealed {
		parent := m.byNumber[number]
		var heirs []*shardInfo // with the keys that come from this parent
		var children []uint32
		for _, n := range m.numbers() {
			child := m.byNumber[n]
			if !child.pending || !slices.Contains(child.parents, number) {
				continue
			}
			open := *child
			open.pending = false
			out.byNumber[n] = &open
			part := open
			part.keys.Start, part.keys.End = later(child.keys.Start, parent.keys.Start), earlier(child.keys.End, parent.keys.End)
			heirs, children = append(heirs, &part), append(children, n)
		}
		if len(heirs) == 0 {
			continue // the map is older than the children
		}
		closed := *parent
		closed.closed, closed.children = true, children
		out.byNumber[number] = &closed
		out.open = slices.DeleteFunc(out.open, func(sh *shardInfo) bool { return sh.number == number })
		out.open = append(out.open, heirs...)
	}
	slices.SortFunc(out.open, func(a, b *shardInfo) int { return a.keys.Start.Compare(b.keys.Start) })
	return &out
}

func later(a, b HashKey) HashKey {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

func earlier(a, b HashKey) HashKey {
	if a.Compare(b) < 0 {
		return a
	}
	return b
}
