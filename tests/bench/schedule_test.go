package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestScheduleIsEven(t *testing.T) {
	s := scheduleOf(1, 1000, 2*time.Second) // 1000 records per second
	if got := s.count(); got != 2000 {
		t.Errorf("%d records in 2 s", got)
	}
	for n, want := range map[int64]time.Duration{0: 0, 1: time.Millisecond, 1999: 1999 * time.Millisecond} {
		if got := s.due(n); got != want {
			t.Errorf("record %d is due after %v, not %v", n, got, want)
		}
	}
}

func TestSpreadReachesEveryShard(t *testing.T) {
	seen := [16]int{}
	for n := range uint64(16_000) {
		seen[spread(n)%16]++
	}
	for shard, n := range seen {
		if n < 850 || n > 1150 {
			t.Errorf("shard %d has %d of 16000 records", shard, n)
		}
	}
}

// stalling acknowledges at once, except while it stalls: then whoever sends waits.
type stalling struct {
	start    time.Time
	from, to time.Duration
	failAt   uint64 // this record fails; 0 none
}

func (s *stalling) size() int                                  { return 1000 }
func (s *stalling) flood(context.Context, *atomic.Int64) error { return nil }
func (s *stalling) one(context.Context, int) error             { return nil }
func (s *stalling) close()                                     {}
func (s *stalling) send(ctx context.Context, n uint64, _ []byte, done func(int, error)) error {
	if now := time.Since(s.start); now >= s.from && now < s.to {
		if err := pause(ctx, s.to-now); err != nil {
			return err
		}
	}
	if s.failAt > 0 && n == s.failAt {
		done(0, errors.New("refused"))
		return nil
	}
	done(0, nil)
	return nil
}

func TestOpenLoopCountsTheWaitOfAllThatWereDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var slow, all atomic.Int64
		loop := openLoop{
			schedule: scheduleOf(1, 1000, 2*time.Second), callers: 1, data: func(int64) []byte { return nil },
			w: &stalling{start: start, from: 500 * time.Millisecond, to: time.Second},
			acked: func(_ int64, _ int, due, now time.Duration) {
				all.Add(1)
				if now-due > 100*time.Millisecond {
					slow.Add(1)
				}
			},
		}
		out, err := loop.run(t.Context(), start)
		if err != nil || out.sent != 2000 || out.missed != 0 || all.Load() != 2000 {
			t.Fatalf("%d sent, %d missed, %d acknowledged: %v", out.sent, out.missed, all.Load(), err)
		}
		// Those due in the first 400 of the 500 ms waited for 100 ms and more, though only one record was sent in all that time.
		if n := slow.Load(); n < 395 || n > 405 {
			t.Errorf("%d records were slow, not about 400", n)
		}
	})
}

func TestOpenLoopGivesUpWhatIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		loop := openLoop{
			schedule: scheduleOf(1, 1000, 2*time.Second), callers: 2, data: func(int64) []byte { return nil },
			w: &stalling{start: start, from: time.Second, to: time.Hour}, acked: func(int64, int, time.Duration, time.Duration) {},
		}
		out, err := loop.run(t.Context(), start)
		if err != nil || out.sent+out.missed != 2000 || out.missed != 1000 {
			t.Errorf("%d sent, %d missed: %v", out.sent, out.missed, err)
		}
		if took := time.Since(start); took > 2*time.Second+overrun+time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestOpenLoopEndsWithAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		loop := openLoop{
			schedule: scheduleOf(1, 1000, 2*time.Second), callers: 2, data: func(int64) []byte { return nil },
			w: &stalling{start: start, failAt: 500}, acked: func(int64, int, time.Duration, time.Duration) {},
		}
		if _, err := loop.run(t.Context(), start); err == nil || err.Error() != "refused" {
			t.Errorf("error %v", err)
		}
	})
}
