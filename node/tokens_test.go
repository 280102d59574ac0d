package node

import (
	"fmt"
	"math"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
)

func TestTokenBuckets(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	calls := func(take float64) *pb.TokenBucket {
		return &pb.TokenBucket{Name: "calls", Take: take, Rate: 5, Burst: 5}
	}
	bytes := func(take float64) *pb.TokenBucket {
		return &pb.TokenBucket{Name: "bytes", Take: take, Rate: 1000, Burst: 1000}
	}
	b := newTokenBuckets()
	take := func(ms int, want time.Duration, wanted ...*pb.TokenBucket) {
		t.Helper()
		if got := b.take(1, wanted, false, at(ms)); got != want {
			t.Errorf("at %d ms: wait %v, want %v", ms, got, want)
		}
	}
	for range 5 { // a burst
		take(0, 0, calls(1), bytes(100))
	}
	take(0, time.Millisecond, calls(1), bytes(100))
	take(100, 0, calls(1)) // half a token has come
	take(100, 100*time.Millisecond, calls(1), bytes(0))
	take(210, 0, calls(0), bytes(5000)) // more than there is, when anything is: it is owed
	take(210, 4290*time.Millisecond, bytes(1))
	take(4499, time.Millisecond, bytes(1))
	take(4501, 0, bytes(1))
	if got := b.take(2, []*pb.TokenBucket{bytes(1)}, false, at(210)); got != 0 {
		t.Errorf("another shard waits %v", got)
	}
	for range 2 { // what is spent is owed, however little there is
		b.take(1, []*pb.TokenBucket{bytes(2000)}, true, at(5000))
	}
	take(5000, 3501*time.Millisecond, bytes(1))
	take(0, 0, calls(0)) // a clock that goes back takes nothing away
}

func TestTokenBucketsAreBounded(t *testing.T) {
	b, now := newTokenBuckets(), time.Unix(1, 0)
	for g := range uint64(bucketsMax + 10) {
		b.take(g, []*pb.TokenBucket{{Name: "x", Take: 1, Rate: 1, Burst: 1}}, false, now)
	}
	if len(b.all) > bucketsMax {
		t.Errorf("%d buckets", len(b.all))
	}
}

func TestBadBucketsAreRefused(t *testing.T) {
	sound := func() *pb.TokenBucket { return &pb.TokenBucket{Name: "a", Take: 1, Rate: 1, Burst: 1} }
	if err := checkBuckets([]*pb.TokenBucket{sound()}); err != nil {
		t.Fatal(err)
	}
	var many []*pb.TokenBucket
	for i := range bucketsPerCallMax + 1 {
		b := sound()
		b.Name = fmt.Sprint(i)
		many = append(many, b)
	}
	bad := [][]*pb.TokenBucket{nil, many, {sound(), sound()}}
	for _, change := range []func(*pb.TokenBucket){
		func(b *pb.TokenBucket) { b.Name = "" }, func(b *pb.TokenBucket) { b.Take = -1 }, func(b *pb.TokenBucket) { b.Take = math.NaN() }, func(b *pb.TokenBucket) { b.Take = math.Inf(1) },
		func(b *pb.TokenBucket) { b.Rate = 0 }, func(b *pb.TokenBucket) { b.Rate = math.NaN() }, func(b *pb.TokenBucket) { b.Burst = -1 }, func(b *pb.TokenBucket) { b.Burst = math.Inf(1) },
	} {
		b := sound()
		change(b)
		bad = append(bad, []*pb.TokenBucket{b})
	}
	for i, buckets := range bad {
		if checkBuckets(buckets) == nil {
			t.Errorf("case %d was taken: %v", i, buckets)
		}
	}
}

// TestWaitsAreBounded: what is told must fit the answer, whatever is owed.
func TestWaitsAreBounded(t *testing.T) {
	b, now := newTokenBuckets(), time.Unix(1, 0)
	for _, c := range []struct{ take, rate float64 }{{1e300, 1e-300}, {1e18, 1}, {math.MaxFloat64, math.SmallestNonzeroFloat64}} {
		one := []*pb.TokenBucket{{Name: fmt.Sprint(c), Take: c.take, Rate: c.rate, Burst: 1}}
		if wait := b.take(1, one, false, now); wait != 0 {
			t.Errorf("%v: the first waits %v", c, wait)
		}
		if wait := b.take(1, one, false, now); wait != bucketWaitMaxMs*time.Millisecond {
			t.Errorf("%v: %v", c, wait)
		}
	}
}
