package journal

// cached is an entry in memory. It is part of the cache's list.
type cached struct {
	entry      Entry
	group      uint64
	size       int64
	prev, next *cached
}

// cache keeps the newest entries, first in, first out, up to a limit in bytes.
// The journal's mutex guards it.
type cache struct {
	limit  int64 // bytes; nothing is kept at 0 or below
	bytes  int64
	oldest *cached
	newest *cached
}

// cachedOverhead is what an entry in the cache takes beside its data.
const cachedOverhead = 160

// add puts an entry in and returns it with those that must leave for it. It returns nil for one that never fits.
func (c *cache) add(group uint64, e *Entry) *cached {
	size := int64(len(e.Data)+len(e.Extensions)) + cachedOverhead
	if size > c.limit {
		return nil
	}
	n := &cached{entry: *e, group: group, size: size, prev: c.newest}
	if c.newest != nil {
		c.newest.next = n
	} else {
		c.oldest = n
	}
	c.newest = n
	c.bytes += size
	return n
}

// drop takes an entry out; nil is ignored.
func (c *cache) drop(n *cached) {
	if n == nil {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		c.oldest = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		c.newest = n.prev
	}
	n.prev, n.next = nil, nil
	c.bytes -= n.size
}

// trim drops the oldest entries beyond the limit and takes them off their locations.
func (s *state) trim() {
	for s.cache.oldest != nil && s.cache.bytes > s.cache.limit {
		n := s.cache.oldest
		if at := s.find(n.group, n.entry.Index); at != nil && at.cached == n {
			at.cached = nil
		}
		s.cache.drop(n)
	}
}
