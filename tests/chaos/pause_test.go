package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
)

// TestReshardPause measures how long writers wait for splits and merges when nothing else goes wrong: the load of the chaos test, with
// -chaos.rate, -chaos.bytes and -chaos.reshard, but no faults, no readers, and nobody who repeats.
func TestReshardPause(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a while; runs without -short")
	}
	r := begin(t, max(*flagSeed, 1), cluster.Options{Name: "pause"}, newStream("events", 4, 3))
	s := r.streams[0]
	r.started = time.Now()
	load, endLoad := context.WithTimeout(t.Context(), time.Duration(*flagSeconds)*time.Second)
	defer endLoad()
	var work sync.WaitGroup
	watching, endWatch := context.WithCancel(t.Context())
	defer endWatch()
	work.Go(func() {
		for ; watching.Err() == nil; wait(watching, watchEvery/4) {
			if shards, err := r.shardsOf(watching, s); err == nil {
				var open []*levadav1.Shard
				for _, sh := range shards {
					if sh.GetState() == "open" {
						open = append(open, sh)
					}
				}
				s.open.Store(&open)
			}
		}
	})
	var load2 sync.WaitGroup
	for k := range uint64(producersPerStream) {
		p := &clientProducer{run: r, stream: s, rng: r.random(10 + k), plain: true}
		load2.Go(func() { p.work(load) })
	}
	asked := &storm{run: r}
	for i := range *flagStorms {
		load2.Go(func() { asked.work(load, i) })
	}
	load2.Wait()
	endWatch()
	work.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), *flagHeal)
	defer cancel()
	if err := r.awaitResharded(ctx); err != nil {
		t.Fatal(err)
	}
	shards, err := r.shardsOf(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	h := &history.Stream{Name: s.name, Writes: s.writes}
	for _, sh := range shards {
		h.Shards = append(h.Shards, history.Shard{Number: sh.GetNumber(), Keys: rangeOf(sh)})
	}
	var all []time.Duration
	for _, w := range h.Writes {
		if w.Outcome != history.Acked {
			t.Errorf("%v was not acknowledged", w.Value)
			continue
		}
		all = append(all, w.Done-w.Sent)
	}
	fmt.Printf("reshard pause: %d records, each took %s; %d reshards; %s\n", len(all), spread(all), asked.done, r.pauses(ctx, []*history.Stream{h}))
	if asked.done == 0 || len(all) == 0 {
		t.Error("the run shows nothing")
	}
}
