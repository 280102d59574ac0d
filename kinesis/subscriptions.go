package kinesis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
)

// subscriptions knows which consumer is pushed which shard by this server. Whether it may be, among all servers, is told by a claim on the shard.
type subscriptions struct {
	mu      sync.Mutex
	current map[subscriptionKey]*subscription
}

type subscriptionKey struct {
	consumer string // its ARN
	shard    uint32
}

type subscription struct {
	key   subscriptionKey
	claim client.Claim
	begun time.Time
	end   context.CancelCauseFunc
}

const (
	// takeOverAfter is how old a subscription is that another call may take over.
	takeOverAfter = 5 * time.Second
	// releaseTimeout is how long a subscription tries to say that it has ended. If it cannot, the claim lapses.
	releaseTimeout = time.Second
)

// errTakenOver ends a subscription that another call took over.
var errTakenOver = fail(codeResourceInUse, "Another active subscription exists for this consumer")

func newSubscriptions() *subscriptions {
	return &subscriptions{current: map[subscriptionKey]*subscription{}}
}

// subscribe begins a subscription, and ends the one that it takes over from. It is refused while that is young.
func (s *Server) subscribe(ctx context.Context, stream string, key subscriptionKey, end context.CancelCauseFunc) (*subscription, error) {
	name := sha256.Sum256([]byte(key.consumer))
	one := &subscription{key: key, end: end, claim: client.Claim{Stream: stream, Shard: key.shard, Name: hex.EncodeToString(name[:16]), Holder: rand.Text()}}
	held, _, err := s.cluster.TakeClaim(ctx, one.claim, takeOverAfter)
	switch {
	case err != nil:
		return nil, s.readError(ctx, stream, key.shard, err)
	case !held:
		return nil, fail(codeResourceInUse, "Another active subscription exists for this consumer: %s shard %s", key.consumer, shardID(key.shard))
	}
	one.begun = time.Now()
	s.readers.replace(one)
	return one, nil
}

// replace notes a subscription and ends the one before it here. One at another server ends when it finds that it has lost its claim.
func (r *subscriptions) replace(one *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.current[one.key]; old != nil {
		old.end(errTakenOver)
	}
	r.current[one.key] = one
}

// keep renews a subscription's claim until ctx ends, or ends it when another call has taken it over.
func (s *Server) keep(ctx context.Context, one *subscription) {
	tick := time.NewTicker(client.ClaimRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// While the shard's leader cannot be asked the subscription goes on: so does whoever took it over.
		if held, err := s.cluster.RenewClaim(ctx, one.claim, time.Since(one.begun)); err == nil && !held {
			one.end(errTakenOver)
			return
		}
	}
}

// unsubscribe notes that a subscription has ended.
func (s *Server) unsubscribe(ctx context.Context, one *subscription) {
	r := s.readers
	r.mu.Lock()
	if r.current[one.key] == one {
		delete(r.current, one.key)
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	_ = s.cluster.ReleaseClaim(ctx, one.claim) // else it lapses
}
