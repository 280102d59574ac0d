package client

import (
	"context"
	"sync"
)

// flights counts the batches without all their results by the turn in which they were begun, so that Flush can wait for
// those before it: batches of different shards, and those whose records went on to other shards, end in any order.
type flights struct {
	mu      sync.Mutex
	turn    uint64
	pending map[uint64]int // by turn; no zeros
	landed  chan struct{}  // closed when a turn has ended; nil while nobody waits
}

// begin counts a batch and returns its turn.
func (f *flights) begin() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		f.pending = map[uint64]int{}
	}
	f.turn = max(f.turn, 1)
	f.pending[f.turn]++
	return f.turn
}

func (f *flights) end(turn uint64) {
	if turn == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending[turn]--; f.pending[turn] > 0 {
		return
	}
	delete(f.pending, turn)
	if f.landed != nil {
		close(f.landed)
		f.landed = nil
	}
}

// next begins a new turn and returns the one before.
func (f *flights) next() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn++
	return f.turn - 1
}

// await returns when no batch of that turn or an earlier one is left, or ctx ends.
func (f *flights) await(ctx context.Context, turn uint64) error {
	for {
		f.mu.Lock()
		left := false
		for t := range f.pending {
			left = left || t <= turn
		}
		if left && f.landed == nil {
			f.landed = make(chan struct{})
		}
		landed := f.landed
		f.mu.Unlock()
		if !left {
			return nil
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
