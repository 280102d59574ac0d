package vfs

import "math/rand/v2"

// settle makes the pending name operations of a directory durable, with the
// earlier ones that they build on. Needs mu.
func (m *Mem) settle(dir *memNode) {
	needed := make([]bool, len(m.ops))
	names := make(map[nameKey]bool)
	for i := len(m.ops) - 1; i >= 0; i-- {
		for _, k := range m.ops[i].keys {
			if k.dir == dir || names[k] {
				needed[i] = true
			}
		}
		if needed[i] {
			for _, k := range m.ops[i].keys {
				names[k] = true
			}
		}
	}
	rest := m.ops[:0]
	for i, op := range m.ops {
		if !needed[i] {
			rest = append(rest, op)
			continue
		}
		for j, k := range op.keys {
			if op.nodes[j] != nil {
				k.dir.durable[k.name] = op.nodes[j]
			} else {
				delete(k.dir.durable, k.name)
			}
		}
	}
	clear(m.ops[len(rest):])
	m.ops = rest
}

// Crash loses power: it returns what the disk holds afterwards, as a new file system,
// and fails every later use of this one and of its files with ErrCrashed.
func (m *Mem) Crash() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := m.afterCrash(m.rng.Uint64())
	m.crashed = true
	return after
}

// CrashClone returns what a crash now would leave, chosen by seed, and leaves this file system as it is.
// After Crash it returns another outcome of that same crash.
func (m *Mem) CrashClone(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.afterCrash(seed)
}

// Clone returns an independent copy of everything as it reads now, all of it durable.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.empty(m.rng.Uint64())
	c.root = c.copyTree(m.root, func(n *memNode) map[string]*memNode { return n.children },
		func(n *memContent) memContent { return memContent{now: n.now.copy(), synced: n.now.copy()} })
	return c
}

// Snapshot returns a Clone that refuses every change with EROFS.
func (m *Mem) Snapshot() *Mem {
	c := m.Clone()
	c.readOnly = true
	return c
}

func (m *Mem) empty(seed uint64) *Mem {
	c := NewMem(seed)
	c.capacity, c.direct = m.capacity, m.direct
	return c
}

// afterCrash needs mu.
func (m *Mem) afterCrash(seed uint64) *Mem {
	rng := rand.New(rand.NewPCG(seed, 0x6372617368))
	keep := chance(rng)
	kept := make(map[nameKey]*memNode)
	lost := make(map[nameKey]bool)
	for _, op := range m.ops {
		lose := rng.Float64() >= keep
		for _, k := range op.keys {
			lose = lose || lost[k]
		}
		for i, k := range op.keys {
			if lose {
				lost[k] = true
			} else {
				kept[k] = op.nodes[i]
			}
		}
	}
	c := m.empty(rng.Uint64())
	c.root = c.copyTree(m.root,
		func(n *memNode) map[string]*memNode { return survivingNames(n, kept) },
		func(n *memContent) memContent { return n.after(rng) })
	return c
}

func survivingNames(dir *memNode, kept map[nameKey]*memNode) map[string]*memNode {
	names := make(map[string]*memNode, len(dir.durable))
	for name, n := range dir.durable {
		names[name] = n
	}
	for k, n := range kept {
		if k.dir != dir {
			continue
		}
		if n == nil {
			delete(names, k.name)
		} else {
			names[k.name] = n
		}
	}
	return names
}

// copyTree builds the tree of m from another file system's, in the order of the names so that one seed gives one outcome.
func (m *Mem) copyTree(from *memNode, names func(*memNode) map[string]*memNode, content func(*memContent) memContent) *memNode {
	if from.children == nil {
		n := &memNode{links: 1, content: content(&from.content)}
		m.used += n.content.held()
		return n
	}
	dir := newMemDir()
	dir.links = 1
	children := names(from)
	for _, name := range sortedNames(children) {
		n := m.copyTree(children[name], names, content)
		dir.children[name], dir.durable[name] = n, n
	}
	return dir
}
