package kinesis

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
)

// producers holds one producer per stream that is written to, which all requests share: what arrives at the same time travels together.
type producers struct {
	cluster *client.Client
	now     func() time.Time

	mu       sync.Mutex
	byStream map[string]*producing
	closed   bool
}

type producing struct {
	producer *client.Producer
	users    int
	used     time.Time
}

const (
	// putRetry is how long a record is tried for: the shortest patience of the common clients is ten seconds.
	putRetry = 8 * time.Second
	// producerIdle is how long a producer is kept that nobody uses.
	producerIdle = 5 * time.Minute
	// producersTend is how often idle ones are looked for.
	producersTend = time.Minute
)

func newProducers(c *client.Client, now func() time.Time) *producers {
	return &producers{cluster: c, now: now, byStream: map[string]*producing{}}
}

// take returns the producer of a stream. It is to be given back.
func (p *producers) take(stream string) (*producing, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, closing()
	}
	one := p.byStream[stream]
	if one == nil {
		made, err := p.cluster.Producer(stream, client.ProducerOptions{RetryFor: putRetry})
		if err != nil {
			return nil, err
		}
		one = &producing{producer: made}
		p.byStream[stream] = one
	}
	one.users++
	return one, nil
}

func (p *producers) giveBack(one *producing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one.users--
	one.used = p.now()
}

// tend ends idle producers until ctx ends.
func (p *producers) tend(ctx context.Context) {
	tick := time.NewTicker(producersTend)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = p.end(ctx, func(one *producing) bool { return one.users == 0 && p.now().Sub(one.used) > producerIdle }) // idle ones have nothing to lose
	}
}

// closeAll ends all producers; there will be no more. Records that have no result when ctx ends get one: an error.
func (p *producers) closeAll(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	return p.end(ctx, func(*producing) bool { return true })
}

func (p *producers) end(ctx context.Context, which func(*producing) bool) error {
	p.mu.Lock()
	var ended []*client.Producer
	for stream, one := range p.byStream {
		if which(one) {
			ended = append(ended, one.producer)
			delete(p.byStream, stream)
		}
	}
	p.mu.Unlock()
	var errs []error
	for _, producer := range ended {
		errs = append(errs, producer.Close(ctx))
	}
	return errors.Join(errs...)
}
