package kinesis

import (
	"context"
	"sync"
	"time"
)

// subscriptions knows which consumer is pushed which shard.
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
	begun time.Time
	end   context.CancelCauseFunc
}

// takeOverAfter is how old a subscription is that another call may take over.
const takeOverAfter = 5 * time.Second

// errTakenOver ends a subscription that another call took over.
var errTakenOver = fail(codeResourceInUse, "Another active subscription exists for this consumer")

func newSubscriptions() *subscriptions {
	return &subscriptions{current: map[subscriptionKey]*subscription{}}
}

// begin notes a subscription and ends the one that it takes over from. It is refused while that is young.
func (s *subscriptions) begin(key subscriptionKey, now time.Time, end context.CancelCauseFunc) (*subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.current[key]; old != nil {
		if now.Sub(old.begun) < takeOverAfter {
			return nil, fail(codeResourceInUse, "Another active subscription exists for this consumer: %s shard %s", key.consumer, shardID(key.shard))
		}
		old.end(errTakenOver)
	}
	one := &subscription{key: key, begun: now, end: end}
	s.current[key] = one
	return one, nil
}

// over notes that a subscription has ended.
func (s *subscriptions) over(one *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[one.key] == one {
		delete(s.current, one.key)
	}
}
