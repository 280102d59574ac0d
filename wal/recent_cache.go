package wal

import (
	"sync"
	"sync/atomic"
)

// recentCache bounds, over all logs, the written blocks that stay in memory.
// Blocks leave in the order in which they were written.
type recentCache struct {
	max int64 // immutable

	mu    sync.Mutex
	used  int64
	queue []*ticket
}

// ticket stands for one written block in the cache.
type ticket struct {
	log   *Log
	bytes int64
	gone  atomic.Bool // dropped by its log already
}

func (c *recentCache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// add takes written blocks of l in and returns how many blocks each log has to
// let go from its front.
func (c *recentCache) add(tickets []*ticket) map[*Log]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range tickets {
		c.used += t.bytes
	}
	c.queue = append(c.queue, tickets...)
	var victims map[*Log]int
	for c.used > c.max && len(c.queue) > 0 {
		t := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		if t.gone.Swap(true) {
			continue
		}
		c.used -= t.bytes
		if victims == nil {
			victims = make(map[*Log]int)
		}
		victims[t.log]++
	}
	return victims
}

// drop takes out blocks that their log let go by itself.
func (c *recentCache) drop(tickets []*ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range tickets {
		if !t.gone.Swap(true) {
			c.used -= t.bytes
		}
	}
	// Stale tickets at the front cost nothing to remove; those further back go when they get there.
	for len(c.queue) > 0 && c.queue[0].gone.Load() {
		c.queue[0] = nil
		c.queue = c.queue[1:]
	}
}
