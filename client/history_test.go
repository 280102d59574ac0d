package client

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

var (
	seedFlag  = flag.Uint64("client.seed", 0, "run the history test with this seed only")
	seedsFlag = flag.Uint64("client.seeds", 30, "number of seeds of the history test")
)

// put is one record of a history and what its producer was told.
type put struct {
	id, key string
	number  int
	result  Result
}

// history collects puts, in the order of their results.
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
	last := map[string]*place{}
	slices.SortStableFunc(h.puts, func(a, b *put) int { return cmp.Compare(a.number, b.number) }) // per key in the order of the Put calls
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
			if prev := last[p.key]; prev != nil && (prev.time > at.time || prev.time == at.time && prev.ordinal >= at.ordinal) {
				t.Errorf("I4: %s at %d/%d is not after its key's previous record at %d/%d", p.id, at.time, at.ordinal, prev.time, prev.ordinal)
			}
			last[p.key] = at
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

// reshards splits and merges at random until the writers have ended, more often with some seeds than with others.
func (f *fakeCluster) reshards(s *fakeStream, rng *rand.Rand, ended <-chan struct{}) {
	every := time.Duration(1+rng.IntN(40)) * 50 * time.Millisecond
	pause := func() {
		if rng.IntN(3) > 0 {
			sleep(context.Background(), time.Duration(rng.IntN(300))*time.Millisecond)
		}
	}
	for {
		select {
		case <-time.After(time.Duration(rng.Int64N(int64(every)))):
		case <-ended:
			return
		}
		f.mu.Lock()
		open := s.open()
		f.mu.Unlock()
		i := rng.IntN(len(open))
		if len(open) < 8 && (len(open) == 1 || rng.IntN(2) == 0) {
			f.reshard(s, open[i:i+1], open[i].keys.SplitEven(2+rng.IntN(2)), pause)
		} else if i > 0 {
			f.reshard(s, open[i-1:i+1], []hashkey.Range{{Start: open[i-1].keys.Start, End: open[i].keys.End}}, pause)
		}
	}
}

// slowMaps lets calls for the map hang or fail, more often with some seeds than with others.
func slowMaps(rng *rand.Rand) func() (time.Duration, error) {
	level := rng.IntN(3)
	return func() (time.Duration, error) {
		switch k := rng.IntN(30); {
		case k < level:
			return time.Duration(rng.IntN(8)) * time.Second, nil
		case k < 2*level:
			return time.Duration(rng.IntN(2)) * time.Second, fault.New(fault.Unavailable, "no map now")
		}
		return 0, nil
	}
}

// total returns the number of records in all shards, once nothing changes them any more.
func (f *fakeCluster) total(s *fakeStream) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sh := range s.shards {
		n += int(sh.next)
	}
	return n
}

// readHistory follows the stream until it has read as many records as it is told that there are, and a while longer.
func readHistory(t *testing.T, c *Client, total <-chan int) (all []Record) {
	defer c.Close()
	r := c.ReadStream(context.Background(), "s", ReadOptions{Follow: true, RetryFor: -1})
	defer r.Close()
	want := -1
	var deadline time.Time
	for want < 0 || len(all) < want || time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		records, err := r.NextBatch(ctx)
		cancel()
		all = append(all, records...)
		switch {
		case err != nil && ctx.Err() == nil:
			t.Errorf("the reader ended: %v", err)
			return all
		case want < 0:
			select {
			case want = <-total:
				deadline = time.Now().Add(10 * time.Second)
			default:
			}
		case len(all) < want && time.Now().After(deadline.Add(10*time.Minute)):
			t.Errorf("%d records were read of %d", len(all), want)
			return all
		}
	}
	if len(all) != want {
		t.Errorf("%d records were read of %d", len(all), want)
	}
	return all
}

// checkRead wants each record once, and those of a key in ascending order.
func (h *history) checkRead(t *testing.T, all []Record) {
	t.Helper()
	last := map[string]Record{}
	seen := map[SequenceNumber]bool{}
	for _, r := range all {
		if before, ok := last[r.PartitionKey]; ok && r.Sequence.Compare(before.Sequence) <= 0 {
			t.Errorf("I8: key %s: %s of shard %d was read after %s of shard %d", r.PartitionKey, r.Sequence, r.Shard, before.Sequence, before.Shard)
		}
		if seen[r.Sequence] {
			t.Errorf("I8: %s was read twice", r.Sequence)
		}
		seen[r.Sequence], last[r.PartitionKey] = true, r
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
		f.mapTrouble = slowMaps(seeded(seed << 24))
		ended := make(chan struct{})
		resharded := make(chan struct{})
		go func() {
			defer close(resharded)
			f.reshards(s, seeded(seed<<16), ended)
		}()
		c := f.client()
		h := &history{}
		read := make(chan []Record, 1)
		stop := make(chan int, 1)
		go func() { read <- readHistory(t, f.client(), stop) }()
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
		close(ended)
		<-resharded
		c.Close()
		f.late.Wait()
		stop <- f.total(s)
		h.checkRead(t, <-read)
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
		at := &put{id: fmt.Sprintf("%d/%d/%d", w, k, i), key: fmt.Sprintf("%d/%d", w, k), number: i}
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
		if rng.IntN(40) == 0 {
			if err := p.Flush(context.Background()); err != nil {
				t.Error(err)
			}
			if n := p.Stats().Records; n != uint64(i+1) {
				t.Errorf("after a flush %d of %d records have results", n, i+1)
			}
		}
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Records != 200 || s.BytesInFlight != 0 {
		t.Errorf("after close: %+v", s)
	}
}
