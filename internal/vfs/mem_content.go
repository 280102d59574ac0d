package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	sectorSize  = 512 // what a device writes whole
	versionsMax = 4   // states of one block remembered between two syncs
)

// memBlock is never changed once it is part of a file: copies share it. A nil block reads as zeros.
type memBlock [BlockSize]byte

type memState struct {
	blocks []*memBlock
	size   int64
}

// memContent is what a file holds now and what a crash may make of it.
type memContent struct {
	now      memState
	synced   memState
	versions map[int][]*memBlock // per block, what writes since the last Sync left, oldest first
	dirty    map[int]bool        // the blocks that the next Sync makes durable; fewer than versions after a failed one
	sizes    []int64             // sizes it had since the last Sync
	before   []*memContent       // as it was before each shrinking since the last Sync, which a crash may undo
}

func blocksOf(size int64) int { return int((size + BlockSize - 1) / BlockSize) }

func (c *memContent) held() int64 {
	var n int64
	for _, b := range c.now.blocks {
		if b != nil {
			n += BlockSize
		}
	}
	return n
}

// extend lengthens the block table to hold size.
func (s *memState) extend(size int64) {
	if n := blocksOf(size); n > len(s.blocks) {
		s.blocks = append(s.blocks, make([]*memBlock, n-len(s.blocks))...)
	}
}

func (c *memContent) setSize(size int64) {
	if size == c.now.size {
		return
	}
	c.sizes = append(c.sizes, c.now.size)
	if len(c.sizes) > versionsMax {
		c.sizes = slices.Delete(c.sizes, 0, 1)
	}
	c.now.size = size
	c.now.extend(size)
}

// room returns the bytes that a write of n bytes at off adds to the file.
func (c *memContent) room(off, n int64) int64 {
	var need int64
	for i := int(off / BlockSize); i < blocksOf(off+n); i++ {
		if i >= len(c.now.blocks) || c.now.blocks[i] == nil {
			need += BlockSize
		}
	}
	return need
}

func (c *memContent) write(b []byte, off int64) {
	if len(b) == 0 {
		return
	}
	if c.versions == nil {
		c.versions, c.dirty = make(map[int][]*memBlock), make(map[int]bool)
	}
	if end := off + int64(len(b)); end > c.now.size {
		c.setSize(end)
	}
	for len(b) > 0 {
		i, skip := int(off/BlockSize), int(off%BlockSize)
		next := new(memBlock)
		if old := c.now.blocks[i]; old != nil && (skip > 0 || len(b) < BlockSize) {
			*next = *old
		}
		n := copy(next[skip:], b)
		c.now.blocks[i] = next
		v := append(c.versions[i], next)
		if len(v) > versionsMax {
			v = slices.Delete(v, 1, 2)
		}
		c.versions[i], c.dirty[i] = v, true
		b, off = b[n:], off+int64(n)
	}
}

func (c *memContent) read(b []byte, off int64) int {
	if off >= c.now.size {
		return 0
	}
	b = b[:min(int64(len(b)), c.now.size-off)]
	total := len(b)
	for len(b) > 0 {
		i, skip := int(off/BlockSize), int(off%BlockSize)
		n := min(len(b), BlockSize-skip)
		if block := c.now.blocks[i]; block != nil {
			copy(b[:n], block[skip:])
		} else {
			clear(b[:n])
		}
		b, off = b[n:], off+int64(n)
	}
	return total
}

// truncate returns how many bytes of blocks it gave back.
func (c *memContent) truncate(size int64) int64 {
	if size >= c.now.size {
		c.setSize(size)
		return 0
	}
	if c.now.size > 0 {
		old := c.copy()
		c.before = append(c.before, old)
	}
	held := c.held()
	c.setSize(size)
	c.now.cut(size)
	c.synced.cut(size)
	for i, versions := range c.versions {
		if int64(i)*BlockSize >= size {
			delete(c.versions, i)
			delete(c.dirty, i)
			continue
		}
		for j, b := range versions {
			versions[j] = cutBlock(b, size-int64(i)*BlockSize)
		}
	}
	for i, s := range c.sizes {
		c.sizes[i] = min(s, size)
	}
	return held - c.held()
}

// cut drops what lies beyond size, so that growing again shows zeros.
func (s *memState) cut(size int64) {
	s.size = min(s.size, size)
	n := blocksOf(size)
	if n > len(s.blocks) {
		return
	}
	clear(s.blocks[n:])
	s.blocks = s.blocks[:n]
	if n > 0 {
		s.blocks[n-1] = cutBlock(s.blocks[n-1], size-int64(n-1)*BlockSize)
	}
}

func cutBlock(b *memBlock, keep int64) *memBlock {
	if b == nil || keep >= BlockSize {
		return b
	}
	next := new(memBlock)
	copy(next[:keep], b[:])
	return next
}

// copy returns an independent copy that shares the blocks, without the states before.
func (c *memContent) copy() *memContent {
	d := &memContent{now: c.now.copy(), synced: c.synced.copy(), sizes: slices.Clone(c.sizes), dirty: maps.Clone(c.dirty)}
	if c.versions != nil {
		d.versions = make(map[int][]*memBlock, len(c.versions))
		for i, v := range c.versions {
			d.versions[i] = slices.Clone(v)
		}
	}
	return d
}

func (s *memState) copy() memState { return memState{blocks: slices.Clone(s.blocks), size: s.size} }

func (c *memContent) sync() {
	c.synced.extend(c.now.size)
	for i := range c.dirty {
		c.synced.blocks[i] = c.now.blocks[i]
		delete(c.versions, i)
	}
	clear(c.dirty)
	c.synced.size = c.now.size
	c.sizes, c.before = nil, nil
}

// forget is what a failed fsync does on Linux: the blocks count as clean
// although they are not durable, and no later sync writes them.
func (c *memContent) forget() { clear(c.dirty) }

// after returns the content as a crash leaves it.
func (c *memContent) after(rng *rand.Rand) memContent {
	if n := len(c.before); n > 0 {
		if i := rng.IntN(n + 1); i < n {
			return c.before[i].after(rng)
		}
	}
	keep := chance(rng)
	out := c.synced.copy()
	if len(c.sizes) > 0 || c.now.size != c.synced.size {
		sizes := append([]int64{c.synced.size, c.now.size}, c.sizes...)
		switch {
		case keep == 1:
			out.size = c.now.size
		case keep > 0:
			out.size = sizes[rng.IntN(len(sizes))]
		}
	}
	out.extend(c.now.size)
	for _, i := range slices.Sorted(maps.Keys(c.versions)) {
		if rng.Float64() < keep {
			out.blocks[i] = survivor(rng, out.blocks[i], c.versions[i], keep == 1)
		}
	}
	out.cut(out.size)
	out.extend(out.size)
	return memContent{now: out, synced: out.copy()}
}

// survivor chooses one state of a block, or tears it between two states at sectors.
func survivor(rng *rand.Rand, base *memBlock, versions []*memBlock, last bool) *memBlock {
	i := len(versions) - 1
	if last {
		return versions[i]
	}
	if rng.IntN(2) == 0 {
		i = rng.IntN(len(versions))
	}
	if rng.IntN(3) > 0 {
		return versions[i]
	}
	torn := new(memBlock)
	if i > 0 {
		base = versions[i-1]
	}
	if base != nil {
		*torn = *base
	}
	for s := 0; s < BlockSize; s += sectorSize {
		if rng.IntN(2) == 0 {
			copy(torn[s:s+sectorSize], versions[i][s:s+sectorSize])
		}
	}
	return torn
}

// chance picks how likely each unsynced thing is to survive: often none or all, which
// independent coins would almost never give.
func chance(rng *rand.Rand) float64 {
	return [...]float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)]
}

// writeAll writes the buffers at off or fails with ENOSPC, short where the room ends.
func (m *Mem) writeAll(c *memContent, buffers [][]byte, off int64) (int, error) {
	total := 0
	for _, b := range buffers {
		for len(b) > 0 {
			n := min(len(b), BlockSize-int(off%BlockSize))
			need := c.room(off, int64(n))
			if m.used+need > m.capacity {
				return total, unix.ENOSPC
			}
			m.used += need
			c.write(b[:n], off)
			b, off, total = b[n:], off+int64(n), total+n
		}
	}
	return total, nil
}
