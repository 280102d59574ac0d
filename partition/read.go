package partition

import (
	"context"
	"errors"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal"
)

// First returns the ordinal of the first record that can be read.
func (r *Replica) First() uint64 {
	v := r.current()
	return min(max(v.trim, r.log.First()), v.next)
}

// Tail returns the ordinal after the last record that was applied here.
func (r *Replica) Tail() uint64 { return r.current().next }

// End returns Tail and Closed as of one moment: no record follows the tail of a closed shard.
func (r *Replica) End() (tail uint64, closed bool) {
	v := r.current()
	return v.next, v.closed
}

// TailTime returns the entry time of the last command applied here, in ms since the Unix epoch.
func (r *Replica) TailTime() int64 { return r.current().time }

// Closed reports whether the shard was sealed: no record follows Tail.
func (r *Replica) Closed() bool { return r.current().closed }

// Read returns whole blocks starting with the one that holds ordinal from,
// about maxBytes of them but at least one. All are committed and applied. The
// first block may begin below from; the caller skips what it did not ask for.
//
// At the end it returns none. With wait it then waits until there are some, or
// the shard is closed, or ctx ends: a wait that ctx ends returns ctx's error.
// Below the first record it returns a *wal.TrimmedError.
func (r *Replica) Read(ctx context.Context, from uint64, maxBytes int, wait bool) ([]wal.Block, error) {
	v, err := r.awaitRecord(ctx, from, wait)
	if err != nil || from >= v.next {
		return nil, err
	}
	if from < v.trim {
		return nil, &wal.TrimmedError{First: r.First()}
	}
	blocks, err := r.log.Read(from, maxBytes)
	if err != nil {
		if errors.Is(err, wal.ErrTrimmed) {
			return nil, &wal.TrimmedError{First: r.First()}
		}
		return nil, readFault(err)
	}
	var bytes uint64
	for i := range blocks {
		if blocks[i].End() > v.next { // appended, not applied to its end
			blocks = blocks[:i]
			break
		}
		for _, b := range blocks[i].Payload {
			bytes += uint64(len(b))
		}
	}
	r.counters.reads.Add(1)
	r.counters.readBytes.Add(bytes)
	return blocks, nil
}

// awaitRecord returns the view, once it holds from if wait is set.
func (r *Replica) awaitRecord(ctx context.Context, from uint64, wait bool) (view, error) {
	for counted := false; ; {
		if f := r.failure.Load(); f != nil {
			return view{}, fault.New(fault.Unavailable, "read from another replica: %w", f)
		}
		r.mu.Lock()
		v, down := r.view, r.shutdown
		if down || from < v.next || v.closed || !wait {
			r.mu.Unlock()
			if down {
				return view{}, fault.New(fault.Unavailable, "this node is closing the shard's replica; read from another")
			}
			return v, nil
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if !counted {
			counted = true
			r.counters.waits.Add(1)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return view{}, ctx.Err()
		}
	}
}

// SeekTime returns the ordinal of the first readable record whose time is at
// least ms; Tail if there is none.
func (r *Replica) SeekTime(ms int64) (uint64, error) {
	v := r.current()
	ordinal, err := r.log.SeekTime(ms)
	if err != nil {
		return 0, readFault(err)
	}
	return min(max(ordinal, v.trim), v.next), nil
}

// readFault gives an error of the log its kind; another replica may have what this one cannot read.
func readFault(err error) error {
	if errors.Is(err, wal.ErrCorrupt) {
		return fault.New(fault.Corrupt, "read from another replica: %w", err)
	}
	return fault.New(fault.Unavailable, "read from another replica: %w", err)
}
