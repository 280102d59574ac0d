package kinesis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneAsksForAll has many look for a stream at once: one question is asked, whose asker may leave meanwhile.
func TestOneAsksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newStreamCache()
		var asked atomic.Int32
		ask := func(ctx context.Context) (*known, error) {
			asked.Add(1)
			select {
			case <-time.After(time.Second):
				return &known{at: time.Now()}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				ctx := leaving
				if i > 0 {
					ctx = t.Context()
					time.Sleep(time.Millisecond)
				}
				if k, err := c.find(ctx, "s", time.Now(), ask); k == nil || err != nil {
					t.Errorf("found %v, %v", k, err)
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		leave()
		all.Wait()
		if _, err := c.find(t.Context(), "s", time.Now(), ask); err != nil || asked.Load() != 1 {
			t.Errorf("asked %d times, %v", asked.Load(), err)
		}
		time.Sleep(knownFor)
		if _, err := c.find(t.Context(), "s", time.Now(), ask); err != nil || asked.Load() != 2 {
			t.Errorf("asked %d times after the answer was old, %v", asked.Load(), err)
		}
	})
}

// TestWhatWasAskedBeforeAChangeIsNotKept forgets a stream while the question is under way.
func TestWhatWasAskedBeforeAChangeIsNotKept(t *testing.T) {
	c := newStreamCache()
	old, changed := &known{at: time.Now()}, &known{at: time.Now()}
	k, err := c.find(t.Context(), "s", time.Now(), func(context.Context) (*known, error) {
		c.forget("s")
		if k, err := c.find(t.Context(), "s", time.Now(), func(context.Context) (*known, error) { return changed, nil }); k != changed || err != nil {
			t.Errorf("after the change %p is found, %v", k, err)
		}
		return old, nil
	})
	if k != old || err != nil {
		t.Errorf("%p is found, %v", k, err)
	}
	if k, err := c.find(t.Context(), "s", time.Now(), nil); k != changed || err != nil {
		t.Errorf("then %p is found, %v", k, err)
	}
	failed := errors.New("no")
	if _, err := c.find(t.Context(), "s", time.Now().Add(knownFor), func(context.Context) (*known, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("failed with %v", err)
	}
	if k, err := c.find(t.Context(), "s", time.Now(), func(context.Context) (*known, error) { return old, nil }); k != old || err != nil {
		t.Errorf("after a failure %p is found, %v", k, err)
	}
}
