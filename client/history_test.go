package client

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

var (
	seedFlag  = flag.Uint64("client.seed", 0, "run the history test with this seed only")
	seedsFlag = flag.Uint64("client.seeds", 30, "number of seeds of the history test")
)

// put is one record of a history and what its producer was told.
type put struct {
	id, key string
	result  Result
}

// history collects puts; per key they are in the order of the Put calls.
type history struct {
	mu   sync.Mutex
	puts []*put
}

// check holds what the producers were told against what the shards hold, once
// every late copy has arrived: I1, I4, I5, I6 of a log that keeps its word.
func (h *history) check(t *testing.T, s *fakeStream) (stored int) {
	t.Helper()
	type place struct {
		shard   uint32
		ordinal uint64
		time    int64
		n       int
	}
	found := map[string]*place{}
	for _, sh := range s.shards {
		next := uint64(0)
		for _, b := range sh.blocks {
			for rest := b.Payload; len(rest) > 0; {
				batch, after, err := record.Parse(rest)
				if err != nil {
					t.Fatal(err)
				}
				rest = after
				for _, r := range batch.Records() {
					id, _, _ := bytes.Cut(r.Data, []byte(" "))
					p := found[string(id)]
					if p == nil {
						p = &place{sh.number, next, b.GetTimeMs(), 0}
						found[string(id)] = p
					}
					p.n++
					next++
				}
			}
		}
	}
	last := map[string]uint64{}
	for _, p := range h.puts {
		at := found[p.id]
		switch r := p.result; {
		case at != nil && at.n > 1:
			t.Errorf("I5: %s is stored %d times (result %+v)", p.id, at.n, r)
		case r.Err == nil && at == nil:
			t.Errorf("I1: %s was acknowledged at %s and is not stored", p.id, r.Sequence)
		case r.Err == nil && (r.Sequence.Ordinal() != at.ordinal || r.Shard != at.shard || r.Sequence.Millis() != at.time):
			t.Errorf("I2: %s was acknowledged at %d/%d and is at %d/%d", p.id, r.Shard, r.Sequence.Ordinal(), at.shard, at.ordinal)
		case r.Err != nil && at != nil && !MaybeWritten(r.Err):
			t.Errorf("I6: %s failed for good (%v) and is stored", p.id, r.Err)
		}
		if p.result.Err == nil && at != nil {
			if prev, ok := last[p.key]; ok && prev >= at.ordinal {
				t.Errorf("I4: %s at %d is not after its key's previous record at %d", p.id, at.ordinal, prev)
			}
			last[p.key] = at.ordinal
			stored++
		}
	}
	return stored
}

// chaos makes every kind of trouble, more of some kinds with some seeds.
func chaos(rng *rand.Rand) func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
	level := rng.IntN(4) // 0 is nearly quiet
	soon := func(limit time.Duration) time.Duration { return time.Duration(1 + rng.Int64N(int64(limit))) }
	return func(f *fakeCluster, n *fakeNode, sh *fakeShard, b record.Batch) fate {
		if rng.IntN(100) < 3 {
			sh.leader = rng.IntN(len(f.nodes)+1) - 1 // moved, or nobody
		} else if sh.leader < 0 && rng.IntN(3) == 0 {
			sh.leader = rng.IntN(len(f.nodes))
		}
		if rng.IntN(100) >= 4+12*level {
			return fate{apply: true, delay: time.Duration(rng.IntN(3)) * time.Millisecond}
		}
		switch rng.IntN(14) {
		case 0:
			return fate{die: true}
		case 1:
			return fate{die: true, apply: true}
		case 2:
			return fate{die: true, late: soon(20 * time.Second)}
		case 3:
			return fate{apply: true, late: soon(20 * time.Second)}
		case 4:
			return fate{hang: true, apply: rng.IntN(2) == 0}
		case 5:
			return fate{answer: &fault.Error{Kind: fault.Throttled, Message: "slow down", RetryAfter: soon(time.Second)}}
		case 6:
			return fate{answer: fault.New(fault.Unavailable, "lost leadership"), apply: rng.IntN(2) == 0}
		case 7:
			return fate{answer: fault.New(fault.Unavailable, "lost leadership"), late: soon(5 * time.Second)}
		case 8: // a hint that may be wrong, even to itself
			return fate{answer: &fault.Error{Kind: fault.NotLeader, Message: "not me", LeaderAddr: f.nodes[rng.IntN(len(f.nodes))].addr}}
		case 9: // a leader deposed with the batch in hand
			return fate{answer: fault.New(fault.NotLeader, "not me any more"), late: soon(5 * time.Second)}
		case 10:
			return fate{kill: true, apply: rng.IntN(2) == 0}
		case 11:
			return fate{answer: fault.New(fault.Internal, "a bug"), apply: rng.IntN(2) == 0}
		case 12:
			return fate{answer: fault.New(fault.Invalid, "refused at random")}
		}
		return fate{apply: true, delay: soon(8 * time.Second)}
	}
}

// TestHistory runs producers against seeded chaos, in fake time.
func TestHistory(t *testing.T) {
	if *seedFlag != 0 {
		runHistory(t, *seedFlag)
		return
	}
	stored, failed, maybe := 0, 0, 0
	for seed := uint64(1); seed <= *seedsFlag; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			s, fl, m := runHistory(t, seed)
			stored, failed, maybe = stored+s, failed+fl, maybe+m
			if t.Failed() {
				t.Logf("replay: go test ./client -run 'TestHistory$' -client.seed=%d", seed)
			}
		})
	}
	t.Logf("%d records stored, %d failed for good, %d of unknown outcome", stored, failed, maybe)
	if *seedsFlag >= 20 && (stored == 0 || failed == 0 || maybe == 0) {
		t.Error("the chaos did not reach every outcome")
	}
}

func runHistory(t *testing.T, seed uint64) (stored, failed, maybe int) {
	synctest.Test(t, func(t *testing.T) {
		rng := seeded(seed)
		f := newFake(t, 3)
		s := f.create("s", 1+rng.IntN(3))
		f.plan = chaos(rng)
		c := f.client()
		h := &history{}
		var writers sync.WaitGroup
		for w := range 3 {
			own := seeded(seed<<8 + uint64(w)) // rng is the plan's from here on
			o := ProducerOptions{
				BatchBytes: 1 << (6 + own.IntN(8)), BatchRecords: 1 + own.IntN(20), InFlightPerShard: 1 + own.IntN(10),
				MaxBytesInFlight: 8 << 10, RetryFor: time.Duration(1+own.IntN(60)) * time.Second,
			}
			p, err := c.Producer("s", o)
			if err != nil {
				t.Fatal(err)
			}
			writers.Add(1)
			go func() {
				defer writers.Done()
				writeHistory(t, p, h, w, own, o.MaxBytesInFlight)
			}()
		}
		writers.Wait()
		c.Close()
		f.close()
		stored = h.check(t, s)
		for _, p := range h.puts {
			if p.result.Err != nil && MaybeWritten(p.result.Err) {
				maybe++
			} else if p.result.Err != nil {
				failed++
			}
		}
	})
	return stored, failed, maybe
}

func writeHistory(t *testing.T, p *Producer, h *history, w int, rng *rand.Rand, bound int64) {
	order := map[int]uint64{} // results per key come in order
	for i := range 200 {
		k := rng.IntN(5)
		at := &put{id: fmt.Sprintf("%d/%d/%d", w, k, i), key: fmt.Sprintf("%d/%d", w, k)}
		data := append([]byte(at.id+" "), make([]byte, rng.IntN(200))...)
		done := func(r Result) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if uint64(i) < order[k] {
				t.Errorf("result %s came after that of record %d", at.id, order[k])
			}
			order[k] = uint64(i)
			at.result = r
			h.puts = append(h.puts, at)
		}
		if err := p.PutFunc(context.Background(), Record{PartitionKey: at.key, Data: data}, done); err != nil {
			t.Errorf("put %s: %v", at.id, err)
		}
		if used := p.Stats().BytesInFlight; used > bound {
			t.Errorf("%d bytes in flight, the bound is %d", used, bound)
		}
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond) // fake time
		}
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Records != 200 || s.BytesInFlight != 0 {
		t.Errorf("after close: %+v", s)
	}
}
