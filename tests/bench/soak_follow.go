package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/levada-stream/levada/client"
)

// follower reads all records of a stream at its tail and checks that none is
// missing, twice there, or out of order.
type follower struct {
	stop  context.CancelFunc
	ended chan struct{}

	mu   sync.Mutex
	next []int64 // by shard: how many records were read, and the ordinal of the next
	err  error   // the first thing that was wrong
}

// follow starts to read from the first record on.
func (c *levadaCluster) follow(ctx context.Context, shards int) *follower {
	ctx, stop := context.WithCancel(ctx)
	f := &follower{stop: stop, ended: make(chan struct{}), next: make([]int64, shards)}
	go func() {
		defer close(f.ended)
		r := c.client.ReadStream(ctx, streamName(shards), client.ReadOptions{Follow: true})
		defer r.Close()
		for {
			records, err := r.NextBatch(ctx)
			if ctx.Err() != nil {
				return // it was told to end
			}
			if err == nil {
				err = f.take(records)
			}
			if err != nil {
				f.fail(err)
				return
			}
		}
	}()
	return f
}

func (f *follower) take(records []client.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range records {
		if int(r.Shard) >= len(f.next) || int64(r.Ordinal) != f.next[r.Shard] {
			return fmt.Errorf("the reader got ordinal %d of shard %d where %v come next", r.Ordinal, r.Shard, f.next)
		}
		f.next[r.Shard]++
	}
	return nil
}

func (f *follower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// perShard returns the numbers of records read.
func (f *follower) perShard() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int64(nil), f.next...)
}

func (f *follower) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("reader at the tail: %w", f.err)
	}
	return nil
}

// close ends the reader and returns what was wrong.
func (f *follower) close() error {
	f.stop()
	<-f.ended
	return f.failure()
}
