package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/tests/internal/history"
)

// clientProducer writes through the client library, as an application would.
type clientProducer struct {
	run    *run
	stream *stream
	rng    *rand.Rand
	plain  bool // with the library's own settings
}

const (
	// burstEvery is how often a producer writes its share of the rate.
	burstEvery = 25 * time.Millisecond
	// drainMax bounds how long a producer may take to get rid of what it holds after
	// the load has ended: by then the cluster has healed.
	drainMax = 60 * time.Second
)

// work writes until ctx ends, in sessions: after an error the order of a
// producer is not promised any more, so that a new session has a new producer
// number in its values.
func (p *clientProducer) work(ctx context.Context) {
	c := p.run.dial(ctx)
	if c == nil {
		return
	}
	defer c.Close()
	for ctx.Err() == nil {
		p.session(ctx, c)
	}
}

// session is what one producer of the library did.
type session struct {
	mu     sync.Mutex
	writes []history.Write
	failed bool
}

func (p *clientProducer) session(ctx context.Context, c *client.Client) {
	options := client.ProducerOptions{
		BatchBytes:       2<<10 + p.rng.IntN(128<<10),
		InFlightPerShard: 1 + p.rng.IntN(16),
		MaxBytesInFlight: *flagFlight,
	}
	if p.plain {
		options = client.ProducerOptions{}
	}
	producer, err := c.Producer(p.stream.name, options)
	if err != nil {
		p.run.t.Errorf("open a producer: %v", err)
		return
	}
	s, number := &session{}, p.stream.sessions.Add(1)
	tick := time.NewTicker(burstEvery)
	defer tick.Stop()
	for counter := uint64(1); ctx.Err() == nil && !s.hasFailed(); {
		for range max(1, *flagRate*int(burstEvery)/int(time.Second)) {
			p.put(ctx, s, producer, history.Value{Producer: number, Key: p.stream.keys[p.rng.IntN(len(p.stream.keys))], Counter: counter})
			counter++
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	drain, cancel := context.WithTimeout(context.Background(), drainMax)
	defer cancel()
	if err := producer.Close(drain); err != nil {
		p.run.t.Errorf("I15: stream %s: a producer still had records without a result %v after the load: %v", p.stream.name, drainMax, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.stream.record(slices.Clone(s.writes))
}

func (s *session) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// size draws the size of a payload: mostly small, now and then large.
func (p *clientProducer) size() int { return *flagBytes + p.ownSize() }

func (p *clientProducer) ownSize() int {
	switch n := p.rng.IntN(1000); {
	case n == 0:
		return 100_000 + p.rng.IntN(600_000)
	case n < 50:
		return 2000 + p.rng.IntN(20_000)
	}
	return p.rng.IntN(300)
}

func (p *clientProducer) put(ctx context.Context, s *session, producer *client.Producer, v history.Value) {
	sent := p.run.now()
	s.mu.Lock()
	i := len(s.writes)
	s.writes = append(s.writes, history.Write{Value: v, Sent: sent})
	s.mu.Unlock()
	record := client.Record{PartitionKey: history.KeyText(v.Key), Data: history.Encode(v, p.size())}
	settle := func(r client.Result) {
		s.mu.Lock()
		defer s.mu.Unlock()
		w := &s.writes[i]
		w.Done = p.run.now()
		switch {
		case r.Err == nil:
			w.Outcome, w.Shard, w.Seq = history.Acked, r.Shard, r.Sequence
			p.stream.acked(r.Shard, sent)
			p.run.ackedBytes.Add(int64(len(record.Data)))
		case client.MaybeWritten(r.Err):
			s.failed = true
		default:
			w.Outcome, s.failed = history.Failed, true
		}
		if r.Err != nil {
			p.run.note("stream %s: %v: %v", p.stream.name, v, r.Err)
		}
	}
	if err := producer.PutFunc(ctx, record, settle); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.writes[i].Outcome = history.Failed // not taken over: it must not appear
		s.failed = true
	}
}
