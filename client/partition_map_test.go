package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A map that was asked for before something changed must not be taken for one
// that shows the change, even if its answer comes later.
func TestNewerMapIsAskedForAfterTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := uint64(0)
		c := newMapCache(func(context.Context, string) (*partitionMap, error) {
			fetches++
			m := &partitionMap{stream: "s", version: fetches, fetched: time.Now()}
			time.Sleep(time.Second)
			return m, nil
		}, time.Minute)
		defer c.close()
		go func() { _, _ = c.get(t.Context(), "s") }()
		time.Sleep(500 * time.Millisecond) // the fetch is half done
		m, err := c.newer(t.Context(), "s", time.Now())
		if err != nil || m.version != 2 {
			t.Fatalf("%+v, %v: want the second answer", m, err)
		}
		if m, err = c.get(t.Context(), "s"); err != nil || m.version != 2 {
			t.Errorf("%+v, %v: want the map at hand", m, err)
		}
	})
}

func TestOutdatedMapIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := uint64(0)
		c := newMapCache(func(context.Context, string) (*partitionMap, error) {
			fetches++
			return &partitionMap{stream: "s", version: fetches, fetched: time.Now()}, nil
		}, time.Minute)
		defer c.close()
		c.outdate("s", time.Now()) // nothing is known of it: nothing to do
		for step, want := range []uint64{1, 1, 2, 2} {
			if step == 2 {
				c.outdate("s", time.Now())
			}
			time.Sleep(time.Millisecond)
			if m, err := c.get(t.Context(), "s"); err != nil || m.version != want {
				t.Errorf("step %d: %+v, %v; want version %d", step, m, err, want)
			}
		}
		time.Sleep(2 * time.Minute) // old, but not known to be wrong: used while the next is fetched
		for _, want := range []uint64{2, 3} {
			if m, err := c.get(t.Context(), "s"); err != nil || m.version != want {
				t.Errorf("%+v, %v; want version %d", m, err, want)
			}
			synctest.Wait()
		}
	})
}
