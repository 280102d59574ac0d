package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// inFake runs a test in fake time against a cluster of nodes with stream "s" of one shard.
func inFake(t *testing.T, nodes int, do func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nodes)
		sh := f.create("s", 1).shards[0]
		c := f.client()
		do(t, f, sh, c)
		if err := errors.Join(c.Close(), c.Close()); err != nil {
			t.Error(err)
		}
		f.close()
	})
}

func (p *Producer) mustPut(t *testing.T, key string) *Pending {
	t.Helper()
	q, err := p.Put(t.Context(), Record{PartitionKey: key, Data: []byte(key)})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// keyFor returns a key that hashes into a range.
func keyFor(r hashkey.Range) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("key", i); r.Contains(hashkey.FromPartitionKey([]byte(key))) {
			return key
		}
	}
}

func producer(t *testing.T, c *Client, o ProducerOptions) *Producer {
	t.Helper()
	p, err := c.Producer("s", o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (sh *fakeShard) keys2() (all string) {
	for _, b := range sh.blocks {
		for rest := b.GetPayload(); len(rest) > 0; {
			batch, after, _ := record.Parse(rest)
			rest = after
			for _, r := range batch.Records() {
				all += string(r.Key)
			}
		}
	}
	return all
}

func TestRefusedBatchHarmsNoOther(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		sh.refuse["c"] = true
		p := producer(t, c, ProducerOptions{BatchRecords: 1})
		var all []*Pending
		for _, k := range "abcde" {
			all = append(all, p.mustPut(t, string(k)))
		}
		for i, q := range all {
			r := q.Result()
			if refused := i == 2; refused != IsInvalid(r.Err) || MaybeWritten(r.Err) {
				t.Errorf("record %d: %+v", i, r)
			}
		}
		if sh.keys2() != "abde" {
			t.Errorf("stored %s", sh.keys2())
		}
		if s := p.Stats(); s.Sessions != 2 || s.Failed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestHintLoopEnds(t *testing.T) {
	inFake(t, 2, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		tries := 0
		f.plan = func(f *fakeCluster, n *fakeNode, _ *fakeShard, _ record.Batch) fate {
			tries++
			other := f.nodes[0]
			if n == other {
				other = f.nodes[1]
			}
			return fate{answer: &fault.Error{Kind: fault.NotLeader, Message: "ask the other", LeaderAddr: other.addr}}
		}
		p := producer(t, c, ProducerOptions{RetryFor: 30 * time.Second})
		start := time.Now()
		r := p.mustPut(t, "k").Result()
		if took := time.Since(start); !IsUnavailable(r.Err) || took < 30*time.Second || took > 32*time.Second {
			t.Errorf("%v after %v", r.Err, took)
		}
		if tries > 600 {
			t.Errorf("%d tries in 30 s: the pause is missing", tries)
		}
	})
}

func TestThrottledToTheEndIsNotWritten(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		throttle := true
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
			if throttle {
				return fate{answer: &fault.Error{Kind: fault.Throttled, Message: "full", RetryAfter: time.Second}}
			}
			return fate{apply: true}
		}
		p := producer(t, c, ProducerOptions{RetryFor: 10 * time.Second, BatchRecords: 1})
		r := p.mustPut(t, "a").Result()
		if !IsThrottled(r.Err) || MaybeWritten(r.Err) {
			t.Errorf("%v", r.Err)
		}
		f.mu.Lock()
		throttle = false
		f.mu.Unlock()
		if r := p.mustPut(t, "b").Result(); r.Err != nil || sh.keys2() != "b" {
			t.Errorf("%+v, stored %q", r, sh.keys2())
		}
	})
}

func TestForgottenSession(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{})
		first := p.mustPut(t, "a").Result()
		f.mu.Lock()
		clear(sh.producers) // evicted early
		f.mu.Unlock()
		second := p.mustPut(t, "b").Result()
		if first.Err != nil || second.Err != nil || sh.keys2() != "ab" || p.Stats().Sessions != 2 {
			t.Errorf("%+v %+v %q", first, second, sh.keys2())
		}
		time.Sleep(8 * time.Minute) // fake time: half the window; the client goes first
		if r := p.mustPut(t, "c").Result(); r.Err != nil || p.Stats().Sessions != 3 {
			t.Errorf("%+v %+v", r, p.Stats())
		}
	})
}

func TestForgottenWithUnknownOutcomeIsNotSentTwice(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{})
		p.mustPut(t, "a").Result()
		f.mu.Lock()
		once := true
		f.plan = func(_ *fakeCluster, _ *fakeNode, sh *fakeShard, b record.Batch) fate {
			if once { // stored, unanswered, and then forgotten
				once = false
				return fate{apply: true, die: true}
			}
			clear(sh.producers)
			return fate{apply: true}
		}
		f.mu.Unlock()
		if r := p.mustPut(t, "b").Result(); !MaybeWritten(r.Err) || KindOf(r.Err) != StaleProducer {
			t.Errorf("%+v", r)
		}
		if r := p.mustPut(t, "c").Result(); r.Err != nil || sh.keys2() != "abc" {
			t.Errorf("%+v, stored %q", r, sh.keys2())
		}
	})
}

func TestHungNodeIsLeft(t *testing.T) {
	inFake(t, 2, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		f.plan = func(f *fakeCluster, n *fakeNode, sh *fakeShard, _ record.Batch) fate {
			if n == f.nodes[0] {
				sh.leader = 1 // elected meanwhile
				return fate{hang: true}
			}
			return fate{apply: true}
		}
		p := producer(t, c, ProducerOptions{})
		start := time.Now()
		r := p.mustPut(t, "k").Result()
		if took := time.Since(start); r.Err != nil || took > 4*time.Second {
			t.Errorf("%v after %v", r.Err, took)
		}
	})
}

func TestPutWaitsForMemory(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, _ *fakeShard, c *Client) {
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
			return fate{apply: true, delay: time.Second}
		}
		p := producer(t, c, ProducerOptions{MaxBytesInFlight: 1000})
		q, err := p.Put(t.Context(), Record{PartitionKey: "k", Data: make([]byte, 5000)}) // larger than the bound: alone
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := p.Put(short, Record{PartitionKey: "k"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put into a full producer: %v", err)
		}
		if r, err := q.Wait(short); !MaybeWritten(err) || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("wait cut short: %v", err)
		}
		if err := p.PutFunc(t.Context(), Record{PartitionKey: "k"}, nil); err != nil {
			t.Errorf("put once there is room: %v", err)
		}
		if r := q.Result(); r.Err != nil {
			t.Error(r.Err)
		}
		if err := p.Flush(t.Context()); err != nil || p.Stats().BytesInFlight != 0 {
			t.Errorf("%v %+v", err, p.Stats())
		}
	})
}

func TestCloseWithoutAnswer(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, _ *fakeShard, c *Client) {
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate { return fate{hang: true} }
		p := producer(t, c, ProducerOptions{BatchRecords: 1, InFlightPerShard: 2})
		var all []*Pending
		for range 4 {
			all = append(all, p.mustPut(t, "k"))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		for i, q := range all {
			if r := q.Result(); !errors.Is(r.Err, ErrClosed) || MaybeWritten(r.Err) != (i < 2) {
				t.Errorf("record %d: %v", i, r.Err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestBadRecordsAreRefusedHere(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{})
		nine := uint32(9)
		pinned := producer(t, c, ProducerOptions{Shard: &nine})
		for name, tc := range map[string]struct {
			p    *Producer
			r    Record
			kind Kind
		}{
			"empty key":     {p, Record{}, Invalid},
			"long key":      {p, Record{PartitionKey: strings.Repeat("é", 257)}, TooLarge},
			"not UTF-8":     {p, Record{PartitionKey: "\xff"}, Invalid},
			"large":         {p, Record{PartitionKey: "k", Data: make([]byte, 1<<20)}, TooLarge},
			"unknown shard": {pinned, Record{PartitionKey: "k"}, NotFound},
		} {
			if _, err := tc.p.Put(t.Context(), tc.r); KindOf(err) != tc.kind || MaybeWritten(err) {
				t.Errorf("%s: %v (%s)", name, err, KindOf(err))
			}
		}
		if _, err := c.Put(t.Context(), "nope", Record{PartitionKey: "k"}); !IsNotFound(err) {
			t.Errorf("unknown stream: %v", err)
		}
		if s := p.Stats(); s.BytesInFlight != 0 || len(sh.blocks) != 0 {
			t.Errorf("%+v", s)
		}
		if _, err := c.Producer("s", ProducerOptions{InFlightPerShard: 33}); !IsInvalid(err) {
			t.Errorf("33 in flight: %v", err)
		}
	})
}

func TestStreamDeletedUnderAProducer(t *testing.T) {
	inFake(t, 2, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{})
		p.mustPut(t, "a").Result()
		f.mu.Lock()
		delete(f.streams, "s")
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
			return fate{answer: fault.New(fault.NotFound, "gone")}
		}
		f.mu.Unlock()
		start := time.Now()
		if r := p.mustPut(t, "b").Result(); !IsNotFound(r.Err) || MaybeWritten(r.Err) || time.Since(start) > 5*time.Second {
			t.Errorf("%v after %v", r.Err, time.Since(start))
		}
	})
}

func TestShardClosed(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{})
		number := uint32(0)
		pinned := producer(t, c, ProducerOptions{Shard: &number})
		p.mustPut(t, "a").Result()
		pinned.mustPut(t, "a").Result()
		f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(1), func() {})
		if r := p.mustPut(t, "b").Result(); r.Err != nil || r.Shard != 1 {
			t.Errorf("%+v", r)
		}
		// Who chose the shard has to choose another.
		_, err := pinned.Put(t.Context(), Record{PartitionKey: "b"})
		e := (*Error)(nil)
		if !IsShardClosed(err) || MaybeWritten(err) || !errors.As(err, &e) || len(e.Successors) != 1 {
			t.Errorf("%v", err)
		}
	})
}

// TestWhatAClosedShardHasIsNotStoredTwice: the acknowledgement is lost, then the shard is closed: it still tells what it has.
func TestWhatAClosedShardHasIsNotStoredTwice(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{InFlightPerShard: 4, BatchRecords: 1})
		p.mustPut(t, "a").Result()
		f.mu.Lock()
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate { return fate{apply: true, die: true} }
		f.mu.Unlock()
		lost := p.mustPut(t, "b")
		synctest.Wait()
		f.mu.Lock()
		f.plan = nil
		f.mu.Unlock()
		f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(2), func() {})
		next := p.mustPut(t, "b")
		if r := lost.Result(); r.Err != nil || r.Shard != 0 || !r.Duplicate {
			t.Errorf("the record whose acknowledgement was lost: %+v", r)
		}
		if r := next.Result(); r.Err != nil || r.Shard == 0 {
			t.Errorf("the one after it: %+v", r)
		}
		if len(sh.blocks) != 2 {
			t.Errorf("the closed shard has %d blocks", len(sh.blocks))
		}
	})
}

// TestFlushAcrossAReshard: what went to other shards is flushed when its result is there.
func TestFlushAcrossAReshard(t *testing.T) {
	inFake(t, 2, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{})
		f.mu.Lock()
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
			return fate{apply: true, delay: time.Second}
		}
		f.mu.Unlock()
		var pending []*Pending
		for i := range 50 {
			pending = append(pending, p.mustPut(t, fmt.Sprint("k", i)))
		}
		go f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(3), func() { time.Sleep(10 * time.Millisecond) })
		time.Sleep(5 * time.Millisecond)
		for i := range 50 {
			pending = append(pending, p.mustPut(t, fmt.Sprint("k", i)))
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, q := range pending {
			select {
			case <-q.Done():
				if r := q.Result(); r.Err != nil {
					t.Errorf("record %d: %v", i, r.Err)
				}
			default:
				t.Errorf("record %d has no result after the flush", i)
			}
		}
		if s := p.Stats(); s.Records != 100 || s.BytesInFlight != 0 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestFlushWaitsForAllOfAClosedShard: the newest batch may have its results before older ones, which went elsewhere.
func TestFlushWaitsForAllOfAClosedShard(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{BatchRecords: 2})
		halves := sh.keys.SplitEven(2)
		low, high := keyFor(halves[0]), keyFor(halves[1])
		f.mu.Lock()
		f.plan = func(_ *fakeCluster, _ *fakeNode, sh *fakeShard, _ record.Batch) fate {
			return fate{apply: true, delay: time.Duration(sh.number) * 10 * time.Second} // shard 2 is slow
		}
		sh.sealed = true // before anything is stored
		f.mu.Unlock()
		var pending []*Pending
		for _, key := range []string{low, high, low} {
			pending = append(pending, p.mustPut(t, key))
		}
		go f.reshard(f.streams["s"], []*fakeShard{sh}, halves, func() { time.Sleep(10 * time.Millisecond) })
		time.Sleep(time.Millisecond)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, q := range pending {
			select {
			case <-q.Done():
			default:
				t.Errorf("record %d has no result after the flush", i)
			}
		}
	})
}

// TestMergeOfWhichOneParentHasSaidThatItIsClosed: what is put for the other's keys waits for the child too, also if nothing was
// put for them before; and the child is used before the map says that it is open.
func TestMergeOfWhichOneParentHasSaidThatItIsClosed(t *testing.T) {
	for _, used := range []bool{false, true} {
		inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
			halves := sh.keys.SplitEven(2)
			low, high := keyFor(halves[0]), keyFor(halves[1])
			f.reshard(f.streams["s"], []*fakeShard{sh}, halves, func() {})
			f.mu.Lock()
			parents := f.streams["s"].open()
			f.mu.Unlock()
			p := producer(t, c, ProducerOptions{})
			p.mustPut(t, low).Result()
			if used {
				p.mustPut(t, high).Result()
			}
			var resharding sync.WaitGroup
			defer resharding.Wait()
			resharding.Go(func() {
				f.reshard(f.streams["s"], parents, []hashkey.Range{sh.keys}, func() { time.Sleep(time.Second) })
			})
			time.Sleep(1500 * time.Millisecond) // the first is sealed, the second is not
			pending := []*Pending{p.mustPut(t, low)}
			time.Sleep(10 * time.Millisecond)
			for range 5 {
				pending = append(pending, p.mustPut(t, high), p.mustPut(t, low))
			}
			for i, q := range pending {
				if r := q.Result(); r.Err != nil || r.Shard != 3 {
					t.Errorf("record %d: %+v", i, r)
				}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if parents[0].closed {
				t.Error("the records waited for the map")
			}
		})
	}
}

// TestStreamMadeAnewAfterAReshard: the lineage of the one that was deleted holds nobody up.
func TestStreamMadeAnewAfterAReshard(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{RetryFor: 20 * time.Second})
		p.mustPut(t, "a").Result()
		f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(2), func() {})
		for i := range 20 {
			if r := p.mustPut(t, fmt.Sprint("k", i)).Result(); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		f.mu.Lock()
		delete(f.streams, "s")
		f.mu.Unlock()
		f.create("s", 1) // with a shard 0, which was an ancestor
		time.Sleep(time.Minute)
		deadline := time.Now().Add(time.Minute)
		for i := 0; ; i++ {
			q, err := p.Put(t.Context(), Record{PartitionKey: fmt.Sprint("k", i)})
			if err == nil {
				if r := q.Result(); r.Err == nil && r.Shard == 0 {
					return
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("a minute after the stream was made anew: %v", err)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestBacklogIsNotOverdueWhenItsShardIsSplit: it waited behind others that made progress, and is tried in its new shard.
func TestBacklogIsNotOverdueWhenItsShardIsSplit(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		p := producer(t, c, ProducerOptions{RetryFor: 10 * time.Second, BatchRecords: 1, InFlightPerShard: 1})
		f.mu.Lock()
		f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
			return fate{apply: true, delay: 2 * time.Second}
		}
		f.mu.Unlock()
		var pending []*Pending
		for i := range 12 {
			pending = append(pending, p.mustPut(t, fmt.Sprint("k", i)))
		}
		time.Sleep(13 * time.Second)
		f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(2), func() { time.Sleep(10 * time.Millisecond) })
		for i, q := range pending {
			if r := q.Result(); r.Err != nil {
				t.Errorf("record %d: %v", i, r.Err)
			}
		}
	})
}

// TestCloseDuringAHandDown: every record has a result, though the producer ends while records go to other shards.
func TestCloseDuringAHandDown(t *testing.T) {
	for cut := range 40 {
		inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
			p := producer(t, c, ProducerOptions{BatchRecords: 3})
			f.mu.Lock()
			f.plan = func(*fakeCluster, *fakeNode, *fakeShard, record.Batch) fate {
				return fate{apply: true, delay: time.Millisecond}
			}
			sh.sealed = true
			f.mu.Unlock()
			var pending []*Pending
			for i := range 60 {
				pending = append(pending, p.mustPut(t, fmt.Sprint("k", i)))
			}
			var resharding sync.WaitGroup
			defer resharding.Wait()
			resharding.Go(func() {
				f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(4), func() { time.Sleep(2 * time.Millisecond) })
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(cut)*500*time.Microsecond)
			defer cancel()
			_ = p.Close(ctx)
			for _, q := range pending {
				q.Result()
			}
			if s := p.Stats(); s.Records != 60 || s.BytesInFlight != 0 {
				t.Errorf("after a close that was cut short: %+v", s)
			}
		})
	}
}

// TestSaltedKey: its records go to several shards, and say the same key.
func TestSaltedKey(t *testing.T) {
	inFake(t, 1, func(t *testing.T, f *fakeCluster, sh *fakeShard, c *Client) {
		f.reshard(f.streams["s"], []*fakeShard{sh}, sh.keys.SplitEven(4), func() {})
		f.mu.Lock()
		f.streams["s"].salted = []*levadav1.SaltedKey{{HashKey: hashkey.FromPartitionKey([]byte("hot")).String(), Parts: 16}}
		f.mu.Unlock()
		p := producer(t, c, ProducerOptions{})
		hot := hashkey.FromPartitionKey([]byte("hot"))
		shards := map[string]map[uint32]int{"hot": {}, "cool": {}, "fixed": {}}
		for range 64 {
			for _, r := range []Record{{PartitionKey: "hot"}, {PartitionKey: "cool"}, {PartitionKey: "fixed", ExplicitHashKey: &hot}} {
				q, err := p.Put(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				shards[r.PartitionKey][q.Result().Shard]++
			}
		}
		if len(shards["hot"]) != 4 || len(shards["cool"]) != 1 || len(shards["fixed"]) != 1 {
			t.Errorf("records by key and shard: %v", shards)
		}
	})
	// MD5 of "hot", a zero byte and a byte of 3.
	if got := saltedKey([]byte("hot"), 3); got != hashkey.FromPartitionKey([]byte("hot\x00\x03")) {
		t.Errorf("salted key %s", got)
	}
}

func TestDialWithoutAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := Dial(ctx, []string{"node0:1", " ", "elsewhere:2"}, WithDialer(f.dial))
		if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if _, err := Dial(ctx, []string{""}); !IsInvalid(err) {
			t.Errorf("no endpoint: %v", err)
		}
	})
}

func TestRouterAlternates(t *testing.T) {
	sh := &shardInfo{leaderAddr: "L", replicas: []string{"L", "A", "B"}}
	var r router
	var got []string
	for range 6 {
		a, forward := r.choose(sh, []string{"A", "S"})
		got = append(got, fmt.Sprint(a, forward))
		r.failed()
	}
	if s := strings.Join(got, " "); s != "Lfalse Atrue Lfalse Btrue Lfalse Strue" {
		t.Error(s)
	}
	r.worked()
	r.choose(sh, nil)
	r.failed()
	if a, forward := r.choose(&shardInfo{leaderAddr: "N", replicas: []string{"L", "N"}}, nil); a != "N" || forward {
		t.Errorf("a new leader is not tried at once: %s %t", a, forward)
	}
	if a, _ := r.choose(&shardInfo{replicas: []string{"L", "A"}}, nil); a != "A" {
		t.Errorf("without a leader the node that failed is tried: %s", a)
	}
	if !r.follow("X", "L") || r.follow("L", "L") || r.follow("", "L") {
		t.Error("hints")
	}
	if a, forward := r.choose(sh, nil); a != "X" || forward {
		t.Error(a, forward)
	}
}
