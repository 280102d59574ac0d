package partition

import "sync"

// Budget bounds the bytes of what is waiting or in flight: appends, or pages
// for readers. One is shared by all of a node. It is safe for concurrent use.
type Budget struct {
	limit int64

	mu   sync.Mutex
	used int64
	room chan struct{} // closed by the next Release; nil while nobody waits
}

// NewBudget returns a budget of limit bytes, limit >= 1.
func NewBudget(limit int64) *Budget { return &Budget{limit: max(limit, 1)} }

// TryAcquire takes n bytes and reports whether they were there. What is larger
// than the whole budget is let in when nothing else is.
func (b *Budget) TryAcquire(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used > 0 && b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

// Release gives n bytes back.
func (b *Budget) Release(n int64) { b.Adjust(-n) }

// Adjust changes what is taken by n bytes, which may be negative. It does not
// ask for room: it is for bytes that are there already.
func (b *Budget) Adjust(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	if n < 0 && b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// Room returns a channel that is closed when bytes are given back next.
func (b *Budget) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room == nil {
		b.room = make(chan struct{})
	}
	return b.room
}

// Used returns the bytes that are taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Limit returns the size of the budget.
func (b *Budget) Limit() int64 { return b.limit }
