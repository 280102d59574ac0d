package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/fault"
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
		p.mustPut(t, "a").Result()
		f.mu.Lock()
		sh.closed, sh.children = true, []uint32{1}
		child := newFakeShard(1, sh.keys, 0)
		f.streams["s"].shards = append(f.streams["s"].shards, child)
		f.version++
		f.mu.Unlock()
		r := p.mustPut(t, "b").Result()
		e := (*Error)(nil)
		if !IsShardClosed(r.Err) || MaybeWritten(r.Err) || !errors.As(r.Err, &e) || len(e.Successors) != 1 {
			t.Errorf("%+v", r)
		}
		if r = p.mustPut(t, "c").Result(); r.Err != nil || r.Shard != 1 {
			t.Errorf("%+v", r)
		}
	})
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
