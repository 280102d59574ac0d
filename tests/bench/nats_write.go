package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	natsclient "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// stallMax is how long a publisher waits for room in its window.
const stallMax = 20 * time.Second

// natsWriter publishes to NATS streams.
type natsWriter struct {
	mode       natsMode
	data       []byte
	publishers []*natsPublisher
}

// natsPublisher is one connection to one stream.
type natsPublisher struct {
	nc      *natsclient.Conn
	js      jetstream.JetStream
	subject string
	counted atomic.Pointer[atomic.Int64] // takes the acknowledgements of PublishAsync
	failed  atomic.Pointer[error]

	mu      sync.Mutex
	waiting map[*natsclient.Msg]func(error) // what to call for a message that send published
}

// settled tells whoever waits for a message published by PublishAsync.
func (p *natsPublisher) settled(m *natsclient.Msg, err error) {
	p.mu.Lock()
	done, ok := p.waiting[m]
	delete(p.waiting, m)
	p.mu.Unlock()
	switch c := p.counted.Load(); {
	case ok:
		done(err)
	case err != nil:
		p.fail(err)
	case c != nil:
		c.Add(1)
	}
}

// fail keeps the first error.
func (p *natsPublisher) fail(err error) { p.failed.CompareAndSwap(nil, &err) }

func (w *natsWriter) connect(url, subject string) error {
	for range w.mode.publishers {
		nc, err := natsclient.Connect(url)
		if err != nil {
			return err
		}
		p := &natsPublisher{nc: nc, subject: subject, waiting: map[*natsclient.Msg]func(error){}}
		w.publishers = append(w.publishers, p)
		p.js, err = jetstream.New(nc,
			jetstream.WithPublishAsyncMaxPending(w.mode.pending),
			jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *natsclient.Msg, _ *jetstream.PubAck) { p.settled(m, nil) }),
			jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *natsclient.Msg, err error) { p.settled(m, err) }))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *natsWriter) size() int { return len(w.data) }

func (w *natsWriter) flood(ctx context.Context, acked *atomic.Int64) error {
	var running sync.WaitGroup
	for _, p := range w.publishers {
		running.Go(func() {
			var err error
			switch w.mode.kind {
			case "atomic":
				err = p.atomicBatches(ctx, w.data, w.mode.pending, acked)
			case "fast":
				err = p.fastBatch(ctx, w.data, w.mode.pending, acked)
			default:
				err = p.async(ctx, w.data, acked)
			}
			if err != nil {
				p.fail(err)
			}
		})
	}
	running.Wait()
	for _, p := range w.publishers {
		if err := p.failed.Load(); err != nil {
			return fmt.Errorf("NATS %s: %w", p.subject, *err)
		}
	}
	return nil
}

// async publishes messages one by one without waiting for each.
func (p *natsPublisher) async(ctx context.Context, data []byte, acked *atomic.Int64) error {
	p.counted.Store(acked)
	for ctx.Err() == nil && p.failed.Load() == nil {
		if _, err := p.js.PublishAsync(p.subject, data, jetstream.WithStallWait(stallMax)); err != nil {
			return err
		}
	}
	select {
	case <-p.js.PublishAsyncComplete():
		return nil
	case <-time.After(time.Minute):
		return errors.New("messages are unacknowledged after a minute")
	}
}

// atomicBatches publishes batches that the server stores whole or not at all,
// one after the other.
func (p *natsPublisher) atomicBatches(ctx context.Context, data []byte, size int, acked *atomic.Int64) error {
	for ctx.Err() == nil {
		batch, err := jetstreamext.NewBatchPublisher(p.js, jetstreamext.BatchFlowControl{AckFirst: false, AckTimeout: 20 * time.Second})
		if err != nil {
			return err
		}
		for range size - 1 {
			if err := batch.Add(p.subject, data); err != nil {
				return err
			}
		}
		committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		_, err = batch.Commit(committing, p.subject, data)
		cancel()
		if err != nil {
			return err
		}
		acked.Add(int64(size))
	}
	return nil
}

// fastBatch publishes one long fast-ingest batch. The server acknowledges
// positions in it; messages count when a position at or above theirs is.
func (p *natsPublisher) fastBatch(ctx context.Context, data []byte, flow int, acked *atomic.Int64) error {
	batch, err := jetstreamext.NewFastPublisher(p.js, jetstreamext.FastPublishFlowControl{
		Flow: uint16(flow), MaxOutstandingAcks: 4, AckTimeout: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	counted := uint64(0)
	for ctx.Err() == nil {
		ack, err := batch.Add(p.subject, data)
		if err != nil {
			return err
		}
		if ack.AckSequence > counted {
			acked.Add(int64(ack.AckSequence - counted))
			counted = ack.AckSequence
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_, err = batch.Close(closing)
	return err
}

func (w *natsWriter) one(ctx context.Context, shard int) error {
	p := w.publishers[shard*w.mode.publishers]
	_, err := p.js.Publish(ctx, p.subject, w.data)
	return err
}

func (w *natsWriter) send(_ context.Context, n uint64, data []byte, done func(shard int, err error)) error {
	i := int(spread(n) % uint64(len(w.publishers)))
	p, m := w.publishers[i], &natsclient.Msg{Subject: w.publishers[i].subject, Data: data}
	p.mu.Lock()
	p.waiting[m] = func(err error) { done(i/w.mode.publishers, err) }
	p.mu.Unlock()
	_, err := p.js.PublishMsgAsync(m, jetstream.WithStallWait(stallMax))
	if err != nil {
		p.mu.Lock()
		delete(p.waiting, m)
		p.mu.Unlock()
	}
	return err
}

func (w *natsWriter) close() {
	for _, p := range w.publishers {
		p.nc.Close()
	}
}
