package node

import (
	"math"
	"sync"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
)

const (
	bucketsPerCallMax = 8
	bucketNameMax     = 64
	bucketWaitMaxMs   = 3_600_000 // that a caller is told
	// bucketsMax bounds the buckets that a node keeps. Beyond it those go that are full: making them anew loses nothing.
	bucketsMax = 100_000
)

// tokenBuckets are buckets by group and name. They are in memory only: a new leader begins with full ones.
type tokenBuckets struct {
	mu  sync.Mutex
	all map[bucketKey]*tokenBucket
}

type bucketKey struct {
	group uint64
	name  string
}

// tokenBucket holds tokens, fewer than none while some are owed.
type tokenBucket struct {
	tokens, rate, burst float64
	at                  time.Time // when tokens were counted
}

func newTokenBuckets() *tokenBuckets { return &tokenBuckets{all: map[bucketKey]*tokenBucket{}} }

// fill counts what has come in since the bucket was looked at.
func (b *tokenBucket) fill(now time.Time) {
	if elapsed := now.Sub(b.at).Seconds(); elapsed > 0 {
		b.tokens = min(b.burst, b.tokens+elapsed*b.rate)
		b.at = now
	}
}

// wait is how long it takes until there is something in the bucket, 0 if there is.
func (b *tokenBucket) wait() time.Duration {
	if b.tokens > 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(min(math.Ceil(-b.tokens/b.rate*1000), bucketWaitMaxMs))*time.Millisecond)
}

// take takes from all buckets named, if there is something in each of them or the tokens are spent already; else it says how long that takes.
func (t *tokenBuckets) take(group uint64, wanted []*pb.TokenBucket, spent bool, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	buckets := make([]*tokenBucket, len(wanted))
	for i, w := range wanted {
		key := bucketKey{group, w.GetName()}
		b := t.all[key]
		if b == nil {
			t.makeRoom(now)
			b = &tokenBucket{tokens: w.GetBurst(), at: now}
			t.all[key] = b
		}
		b.rate, b.burst = w.GetRate(), w.GetBurst()
		b.fill(now)
		buckets[i] = b
		wait = max(wait, b.wait())
	}
	if wait > 0 && !spent {
		return wait
	}
	for i, w := range wanted {
		buckets[i].tokens -= w.GetTake()
	}
	return 0
}

// makeRoom drops full buckets if there are too many, and all if that is not enough.
func (t *tokenBuckets) makeRoom(now time.Time) {
	if len(t.all) < bucketsMax {
		return
	}
	for key, b := range t.all {
		if b.fill(now); b.tokens >= b.burst {
			delete(t.all, key)
		}
	}
	if len(t.all) >= bucketsMax {
		clear(t.all)
	}
}

// checkBuckets refuses what no bucket can be.
func checkBuckets(wanted []*pb.TokenBucket) error {
	if len(wanted) == 0 || len(wanted) > bucketsPerCallMax {
		return fault.InvalidField("buckets", "a call takes from 1 to %d buckets, not %d", bucketsPerCallMax, len(wanted))
	}
	seen := map[string]bool{}
	for _, w := range wanted {
		name := w.GetName()
		switch {
		case name == "" || len(name) > bucketNameMax || seen[name]:
			return fault.InvalidField("name", "a bucket needs a name of 1 to %d bytes of its own", bucketNameMax)
		case !(w.GetTake() >= 0) || math.IsInf(w.GetTake(), 0):
			return fault.InvalidField("take", "what is taken from bucket %s must not be negative", name)
		case !(w.GetRate() > 0) || !(w.GetBurst() > 0) || math.IsInf(w.GetRate(), 0) || math.IsInf(w.GetBurst(), 0):
			return fault.InvalidField("rate", "bucket %s needs a rate and a burst above 0", name)
		}
		seen[name] = true
	}
	return nil
}
