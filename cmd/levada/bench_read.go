package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
)

// benchReadCommand measures reading.
type benchReadCommand struct {
	target
	Stream  string `arg:"" help:"Name of the stream."`
	Readers int    `help:"Times that the stream is read at the same time." default:"1"`
	Max     uint64 `help:"Records to read per shard and reader; 0 is all." default:"0"`
}

// check implements checker.
func (c benchReadCommand) check(s *session) error {
	if c.Readers < 1 {
		return usagef("--readers: %d must be at least 1", c.Readers)
	}
	return c.target.check(s)
}

// Run implements the command.
func (c benchReadCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	shards, err := cl.ListShards(ctx, c.Stream)
	if err != nil {
		return err
	}
	m := newMeter()
	start := time.Now()
	var readers sync.WaitGroup
	for range c.Readers {
		for _, shard := range shards {
			readers.Go(func() {
				if err := c.drain(ctx, cl, shard.GetNumber(), m); err != nil {
					m.done(0, 0, fmt.Errorf("%s: %w", shard.GetId(), err))
				}
			})
		}
	}
	readers.Wait()
	r := m.report(fmt.Sprintf("read %d shards, %d readers each", len(shards), c.Readers), time.Since(start), false)
	if err := r.print(s.out, c.json()); err != nil {
		return err
	}
	return m.first
}

// drain reads one shard to its end.
func (c benchReadCommand) drain(ctx context.Context, cl *client.Client, shard uint32, m *meter) error {
	reader := cl.ReadShard(ctx, c.Stream, shard, client.ReadOptions{})
	defer reader.Close()
	for n := uint64(0); c.Max == 0 || n < c.Max; {
		records, err := reader.NextBatch(ctx)
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			continue
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		bytes := uint64(0)
		for _, r := range records {
			bytes += uint64(len(r.Data))
		}
		n += uint64(len(records))
		m.count(uint64(len(records)), bytes)
	}
	return nil
}
