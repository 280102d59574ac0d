package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// closedLoop runs one caller per shard, each of which appends one record, waits
// for it, and appends the next. It measures those begun after the warm-up.
func closedLoop(ctx context.Context, c cluster, w writer, shards int, before, duration time.Duration) (u usage, q quantiles, err error) {
	var (
		acked   atomic.Int64
		seen    = newRecorder()
		from    = time.Now().Add(before)
		end     = from.Add(duration)
		failed  = make(chan error, shards)
		callers sync.WaitGroup
	)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for shard := range shards {
		callers.Go(func() {
			if err := call(ctx, w, shard, from, end, &acked, seen); err != nil {
				failed <- err
				stop() // one that fails ends all
			}
		})
	}
	defer func() {
		if err != nil {
			stop()
		}
		callers.Wait()
		close(failed)
		if first, ok := <-failed; ok {
			err = errors.Join(first, err)
		}
		q = seen.take()
	}()
	u, err = meter(ctx, c, &acked, from, duration, w.size())
	return u, q, err
}

// call is one caller of a closed loop.
func call(ctx context.Context, w writer, shard int, from, end time.Time, acked *atomic.Int64, seen *recorder) error {
	for {
		begun := time.Now()
		if begun.After(end) {
			return nil
		}
		one, cancel := context.WithTimeout(ctx, latencyMax)
		err := w.one(one, shard)
		cancel()
		if err != nil {
			return err
		}
		acked.Add(1)
		if !begun.Before(from) {
			seen.add(shard, time.Since(begun))
		}
	}
}
