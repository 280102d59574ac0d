package kinesis

import (
	"context"
	"sync"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// known is what is known of a stream, from a moment ago at most.
type known struct {
	stream *levadav1.Stream
	doc    streamDoc
	at     time.Time
}

// streamCache spares the operations that carry records the questions about their stream.
type streamCache struct {
	mu     sync.Mutex
	byName map[string]*known
}

const (
	// knownFor is how long the answer to a question is used.
	knownFor = time.Second
	// knownMax bounds the streams that are remembered.
	knownMax = 10_000
)

func newStreamCache() *streamCache { return &streamCache{byName: map[string]*known{}} }

func (c *streamCache) get(name string, now time.Time) *known {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.byName[name]; k != nil && now.Sub(k.at) < knownFor {
		return k
	}
	return nil
}

func (c *streamCache) put(name string, k *known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byName) >= knownMax {
		clear(c.byName)
	}
	c.byName[name] = k
}

// forget makes the next look a question. Other nodes go on for a moment with what they know.
func (c *streamCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
}

// known returns what is known of a stream that exists.
func (s *Server) known(ctx context.Context, name string) (*known, error) {
	now := time.Now()
	if k := s.streams.get(name, now); k != nil {
		return k, nil
	}
	k, err := s.ask(ctx, name)
	if err != nil {
		s.streams.forget(name)
		return nil, err
	}
	s.streams.put(name, k)
	return k, nil
}

// ask asks the cluster about a stream.
func (s *Server) ask(ctx context.Context, name string) (*known, error) {
	k := &known{at: time.Now()}
	var err error
	if k.stream, err = s.cluster.DescribeStream(ctx, name); err != nil {
		return nil, s.streamError(name, err)
	}
	k.doc, _, err = readDoc[streamDoc](ctx, s, name, docStream)
	return k, err
}

// onDemand reports whether the stream has no number of shards of its own.
func (k *known) onDemand() bool { return k.stream.GetScaling().GetOnDemand() }

// mode is the stream's mode as the API names it.
func (k *known) mode() string {
	if k.onDemand() {
		return modeOnDemand
	}
	return modeProvisioned
}

// distribution is the strategy by which records are spread, as the API names it.
func (k *known) distribution() string {
	if k.doc.Distribution == "" {
		return distributionByKey
	}
	return k.doc.Distribution
}

// The names that the API has for modes and strategies.
const (
	modeProvisioned   = "PROVISIONED"
	modeOnDemand      = "ON_DEMAND"
	distributionAuto  = "AUTO"
	distributionByKey = "USER_PARTITION_KEY"
)
