package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	natsclient "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// readers are NATS's ways to read a stream from the start, of one stream only.
func (c *natsCluster) readers(shards int) []reader {
	stream := natsStream(shards, 0)
	var all []reader
	for _, pending := range []int{500, 5000, 50_000} {
		all = append(all,
			reader{fmt.Sprintf("ordered consumer, %d messages buffered", pending), func(ctx context.Context, count int64, got *atomic.Int64) error {
				return c.consume(ctx, stream, pending, true, count, got)
			}},
			reader{fmt.Sprintf("consumer without acknowledgements, %d messages buffered", pending), func(ctx context.Context, count int64, got *atomic.Int64) error {
				return c.consume(ctx, stream, pending, false, count, got)
			}})
	}
	return append(all, reader{"batches of 1000 by direct get", func(ctx context.Context, count int64, got *atomic.Int64) error {
		return c.getBatches(ctx, stream, count, got)
	}})
}

// connect goes to the leader of a stream.
func (c *natsCluster) connect(stream string) (*natsclient.Conn, jetstream.JetStream, error) {
	nc, err := natsclient.Connect(c.urls[c.leaders[stream]])
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

func (c *natsCluster) consume(ctx context.Context, stream string, pending int, ordered bool, count int64, got *atomic.Int64) error {
	nc, js, err := c.connect(stream)
	if err != nil {
		return err
	}
	defer nc.Close()
	var consumer jetstream.Consumer
	// Right after much was written there may be nobody to create a consumer for a moment. It counts: whoever reads waits too.
	err = await(ctx, startMax, func(ctx context.Context) (err error) {
		if ordered {
			consumer, err = js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
		} else {
			consumer, err = js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
				DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
			})
		}
		return err
	})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	failed := make(chan error, 1)
	consuming, err := consumer.Consume(func(jetstream.Msg) {
		if got.Add(1) == count {
			close(done)
		}
	}, jetstream.PullMaxMessages(pending), lasting(failed))
	if err != nil {
		return err
	}
	defer consuming.Stop()
	select {
	case <-done:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lasting hands over the errors that a consumer reports, but not those after which the client asks again by itself. The time until it
// has what it asked for counts.
func lasting(failed chan<- error) jetstream.PullConsumeOpt {
	return jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, natsclient.ErrNoResponders) || errors.Is(err, jetstream.ErrNoHeartbeat) {
			return
		}
		select {
		case failed <- err:
		default: // the first errors will do
		}
	})
}

func (c *natsCluster) getBatches(ctx context.Context, stream string, count int64, got *atomic.Int64) error {
	nc, js, err := c.connect(stream)
	if err != nil {
		return err
	}
	defer nc.Close()
	for next := uint64(1); got.Load() < count; {
		messages, err := jetstreamext.GetBatch(ctx, js, stream, int(min(1000, count-got.Load())), jetstreamext.GetBatchSeq(next))
		if err != nil {
			return err
		}
		for m, err := range messages {
			if err != nil {
				return err
			}
			next = m.Sequence + 1
			got.Add(1)
		}
	}
	return nil
}

// tail is one ordered consumer for each stream, to whom the server pushes.
func (c *natsCluster) tail(ctx context.Context, shards int, ready func(), got func(data []byte)) error {
	failed := make(chan error, shards)
	for i := range shards {
		nc, js, err := c.connect(natsStream(shards, i))
		if err != nil {
			return err
		}
		defer nc.Close() // all of them stay until the end
		consumer, err := js.OrderedConsumer(ctx, natsStream(shards, i), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
		if err != nil {
			return err
		}
		consuming, err := consumer.Consume(func(m jetstream.Msg) { got(m.Data()) }, lasting(failed))
		if err != nil {
			return err
		}
		defer consuming.Stop()
	}
	ready()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
