package client

import (
	"context"
	"sync"
)

// budget hands out bytes up to a limit, first come, first served: a large
// request is not overtaken for ever by small ones.
type budget struct {
	limit int64

	mu      sync.Mutex
	used    int64
	waiting []*waiter // in order of arrival; not empty only while the first does not fit
	closed  bool
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when the bytes are given or the budget closed
	given bool
}

// acquire takes n bytes, waiting until they are free. More than the limit
// counts as the limit, so that one large record can pass alone; the caller
// releases what acquire returns.
func (b *budget) acquire(ctx context.Context, n int64) (int64, error) {
	n = min(n, b.limit)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, closedError("producer")
	}
	if len(b.waiting) == 0 && b.used+n <= b.limit {
		b.used += n
		b.mu.Unlock()
		return n, nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case w.given:
		return n, nil // even if ctx has ended too: the caller sees that itself, or not
	case b.closed:
		return 0, closedError("producer")
	}
	for i, o := range b.waiting {
		if o == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			break
		}
	}
	b.serveLocked() // those behind a large waiter may fit now
	return 0, ctx.Err()
}

func (b *budget) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.serveLocked()
}

func (b *budget) serveLocked() {
	for len(b.waiting) > 0 && b.used+b.waiting[0].n <= b.limit {
		w := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.used += w.n
		w.given = true
		close(w.ready)
	}
}

// close fails all who wait, and all who come.
func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	for _, w := range b.waiting {
		close(w.ready)
	}
	b.waiting = nil
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
