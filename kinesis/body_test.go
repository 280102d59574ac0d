package kinesis

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestBodiesWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBodies(1 << 20)
		held, err := b.reserve(t.Context(), 700<<10)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = b.reserve(t.Context(), 600<<10)
		var e *apiError
		if !errors.As(err, &e) || e.status != http.StatusServiceUnavailable || time.Since(began) != roomPatience {
			t.Errorf("a body without room: %v after %v", err, time.Since(began))
		}
		// Small ones do not wait for large ones.
		began = time.Now()
		small, err := b.reserve(t.Context(), smallBody)
		if err != nil || time.Since(began) != 0 {
			t.Errorf("a small body: %v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { held.room.Release(held.held) })
		next, err := b.reserve(t.Context(), 600<<10)
		if err != nil || time.Since(began) != time.Second {
			t.Errorf("a body when there is room again: %v after %v", err, time.Since(began))
		}
		small.room.Release(small.held)
		next.room.Release(next.held)
		// One that is larger than all the room takes all of it.
		whole, err := b.reserve(t.Context(), 2<<20)
		if err != nil || whole.held != b.largeMax {
			t.Errorf("the largest body: %+v, %v", whole, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.reserve(ctx, 600<<10); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who is gone: %v", err)
		}
	})
}

func TestSmallBodiesDoNotKeepLargeMemory(t *testing.T) {
	b := newBodies(1 << 20)
	for range 100 { // the pool gives back what it was given, mostly
		large := make([]byte, 0, 8<<20)
		b.pool.Put(&large)
		if got := cap(*b.buffer(100)); got > smallBody+200 {
			t.Fatalf("a body of 100 bytes has memory for %d", got)
		}
	}
	large := make([]byte, 0, 8<<20)
	b.pool.Put(&large)
	if got := cap(*b.buffer(6 << 20)); got != 0 && got != 8<<20 {
		t.Errorf("a body of 6 MiB has memory for %d", got)
	}
}
