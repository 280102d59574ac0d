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
	mu      sync.Mutex
	byName  map[string]*known
	flights map[string]*flight
}

// flight is a question under way, which all who have it wait for.
type flight struct {
	done  chan struct{} // closed when the others are set
	known *known
	err   error
}

const (
	// knownFor is how long the answer to a question is used.
	knownFor = time.Second
	// knownMax bounds the streams that are remembered.
	knownMax = 10_000
)

func newStreamCache() *streamCache {
	return &streamCache{byName: map[string]*known{}, flights: map[string]*flight{}}
}

// find returns what is known of a stream, and asks if that is nothing, or old. However many find that at once, one asks.
func (c *streamCache) find(ctx context.Context, name string, now time.Time, ask func(context.Context) (*known, error)) (*known, error) {
	c.mu.Lock()
	if k := c.byName[name]; k != nil && now.Sub(k.at) < knownFor {
		c.mu.Unlock()
		return k, nil
	}
	if f := c.flights[name]; f != nil {
		c.mu.Unlock()
		select {
		case <-f.done:
			return f.known, f.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f := &flight{done: make(chan struct{}), err: internalFailure("Internal Service Failure")} // in case that ask panics
	c.flights[name] = f
	c.mu.Unlock()
	defer c.land(name, f)
	// Others wait for the answer too: it must not depend on whether this caller stays.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	f.known, f.err = ask(asking)
	return f.known, f.err
}

// land ends a flight and remembers what it brought, unless the stream was changed meanwhile.
func (c *streamCache) land(name string, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(f.done)
	if c.flights[name] != f {
		return
	}
	delete(c.flights, name)
	if f.err != nil {
		delete(c.byName, name)
		return
	}
	if len(c.byName) >= knownMax {
		clear(c.byName)
	}
	c.byName[name] = f.known
}

// forget makes the next look a question of its own. Other nodes go on for a moment with what they know.
func (c *streamCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
	delete(c.flights, name)
}

// known returns what is known of a stream that exists.
func (s *Server) known(ctx context.Context, name string) (*known, error) {
	return s.streams.find(ctx, name, time.Now(), func(ctx context.Context) (*known, error) { return s.ask(ctx, name) })
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
