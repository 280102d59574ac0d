package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// overrun is how long after the end of its schedule an open loop still offers what was due before.
	overrun = time.Second
	// drainMax bounds the wait for the last acknowledgements.
	drainMax = time.Minute
)

// schedule says when records are due: evenly spread, whatever becomes of them.
type schedule struct {
	rate  float64 // records per second
	total time.Duration
}

// scheduleOf is that of so many MB of record data per second.
func scheduleOf(mbps float64, size int, total time.Duration) schedule {
	return schedule{rate: mbps * 1e6 / float64(size), total: total}
}

// due returns when the n-th record is due, counted from the start.
func (s schedule) due(n int64) time.Duration { return time.Duration(float64(n) / s.rate * 1e9) }

// count is the number of records due before the end.
func (s schedule) count() int64 { return int64(s.rate * s.total.Seconds()) }

// spread scatters the numbers of records over shards and partition keys, the
// same way in each run (the finalizer of SplitMix64).
func spread(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// openLoop offers records when they are due. One that the system holds back
// holds back those after it, but not their due times: their waiting is part of
// their latency, so that nothing is left out where the system stalls.
type openLoop struct {
	schedule
	w       writer
	callers int
	// data returns what the n-th record carries.
	data func(n int64) []byte
	// acked is told of each acknowledgement, concurrently: due and now count from the start.
	acked func(n int64, shard int, due, now time.Duration)
}

// offered is what became of a schedule.
type offered struct {
	sent   int64
	missed int64 // not even offered within overrun after the end
	// late is by how much the generator itself was late, waits for the system included.
	late *hdrhistogram.Histogram
}

// run returns when all that was sent is acknowledged. start is when the first record is due.
func (o openLoop) run(ctx context.Context, start time.Time) (offered, error) {
	var (
		out         = offered{late: newHistogram()}
		mu          sync.Mutex // guards out
		outstanding atomic.Int64
		failed      atomic.Pointer[error]
		running     sync.WaitGroup
	)
	sending, cancel := context.WithDeadline(ctx, start.Add(o.total+overrun))
	defer cancel()
	fail := func(err error) {
		failed.CompareAndSwap(nil, &err)
		cancel()
	}
	offer := func(n int64, due time.Duration) error {
		outstanding.Add(1)
		err := o.w.send(sending, uint64(n), o.data(n), func(shard int, err error) {
			outstanding.Add(-1)
			if err != nil {
				fail(err)
				return
			}
			o.acked(n, shard, due, time.Since(start))
		})
		if err != nil {
			outstanding.Add(-1)
		}
		return err
	}
	for i := range o.callers {
		running.Go(func() {
			part := o.offerEvery(sending, start, int64(i), offer, fail)
			mu.Lock()
			defer mu.Unlock()
			out.sent, out.missed = out.sent+part.sent, out.missed+part.missed
			out.late.Merge(part.late)
		})
	}
	running.Wait()
	drained := await(ctx, drainMax, func(context.Context) error {
		if n := outstanding.Load(); n > 0 && failed.Load() == nil {
			return fmt.Errorf("%d records are unacknowledged", n)
		}
		return nil
	})
	if err := failed.Load(); err != nil {
		return out, *err
	}
	return out, drained
}

// offerEvery offers every callers-th record from the first on, each when it is due.
func (o openLoop) offerEvery(ctx context.Context, start time.Time, first int64, offer func(int64, time.Duration) error, fail func(error)) offered {
	part := offered{late: newHistogram()}
	step, count := int64(o.callers), o.count()
	for n := first; n < count; n += step {
		due := o.due(n)
		if wait := due - time.Since(start); wait > 0 {
			_ = pause(ctx, wait) // the end of ctx shows below
		}
		late := time.Since(start) - due
		err := ctx.Err()
		if err == nil {
			err = offer(n, due)
		}
		if err != nil {
			part.missed = (count - n + step - 1) / step
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
				fail(err)
			}
			return part
		}
		part.sent++
		_ = part.late.RecordValue(clampMicroseconds(late)) // it is in range
	}
	return part
}
