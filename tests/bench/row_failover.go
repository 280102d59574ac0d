package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
)

const (
	// recoverMax bounds how long a shard may take to be writable again.
	recoverMax = 60 * time.Second
	// killBytes is the size of the small records.
	killBytes = 100
)

// failover is what one kill did.
type failover struct {
	Node       string    `json:"node"`
	MetaLeader bool      `json:"led_meta_group"`
	Seconds    []float64 `json:"seconds_until_writable"` // of each shard it led
}

// failoverSummary is the outcome of P13.
type failoverSummary struct {
	Shards int        `json:"shards"`
	PaceMs float64    `json:"pace_ms"`
	Kills  []failover `json:"kills"`
	// WorstOther is the longest time between two acknowledgements on shards whose leader lived.
	WorstOther float64 `json:"longest_stall_of_other_shards_seconds"`
	// FailedRecords counts records that the client gave up.
	FailedRecords int `json:"failed_records"`
}

// failoverRow is P13: kill -9 of the node that leads most shards, again and again.
func failoverRow(ctx context.Context, b *bench) error {
	return b.with(ctx, levadaSystem(), func(ctx context.Context, c cluster) error {
		return b.failovers(ctx, c.(*levadaCluster)) // what levadaSystem starts
	})
}

func (b *bench) failovers(ctx context.Context, c *levadaCluster) (err error) {
	if err := c.createStream(ctx, b.options.killShards); err != nil {
		return err
	}
	summary := &failoverSummary{Shards: b.options.killShards, PaceMs: float64(b.options.killPace.Microseconds()) / 1e3}
	b.report.Failover = summary
	writing, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	writers := make([]*shardWriter, b.options.killShards)
	for i := range writers {
		writers[i] = &shardWriter{shard: uint32(i), pace: b.options.killPace}
		running.Go(func() { writers[i].run(writing, c.client, streamName(b.options.killShards)) })
	}
	defer func() {
		stop()
		running.Wait()
		for _, w := range writers {
			summary.FailedRecords += w.failures
			if w.failure != nil && err == nil {
				b.say("p13: shard %d gave up a record: %v", w.shard, w.failure)
			}
		}
	}()
	for i := range b.options.kills {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		f, err := b.killBusiest(ctx, c, writers, summary)
		if err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		b.say("p13 kill %d: %s led %d shards, writable after %.2f to %.2f s", i+1, f.Node, len(f.Seconds), quantile(f.Seconds, 0), quantile(f.Seconds, 1))
		summary.Kills = append(summary.Kills, f)
	}
	return nil
}

// killBusiest kills the node that leads most shards, measures until all of them are writable, and starts it again.
func (b *bench) killBusiest(ctx context.Context, c *levadaCluster, writers []*shardWriter, summary *failoverSummary) (f failover, _ error) {
	// A write of now shows that all shards are well before.
	if err := writable(ctx, writers, time.Now()); err != nil {
		return f, err
	}
	victim, led, err := c.busiest(ctx, streamName(b.options.killShards))
	if err != nil {
		return f, err
	}
	state, err := c.client.Cluster(ctx, 0)
	if err != nil {
		return f, err
	}
	f.Node = victim.name
	for _, n := range state.GetNodes() {
		if n.GetName() == victim.name && n.GetId() == state.GetMetaLeader() {
			f.MetaLeader = true
		}
	}
	for _, w := range writers {
		w.reset()
	}
	killed := time.Now()
	if err := victim.kill(); err != nil {
		return f, err
	}
	// Only records handed over after the process was gone prove anything: an
	// acknowledgement of an earlier one may have been on its way already.
	gone := time.Now()
	if err := writable(ctx, writers, gone); err != nil {
		return f, err
	}
	for _, w := range writers {
		if slices.Contains(led, w.shard) {
			first, _ := w.first(gone) // writable has seen it
			f.Seconds = append(f.Seconds, first.Sub(killed).Seconds())
		} else {
			summary.WorstOther = max(summary.WorstOther, w.stall().Seconds())
		}
	}
	p, err := b.launcher.start(victim.command)
	if err != nil {
		return f, err
	}
	victim.process = p
	return f, await(ctx, startMax, c.healthy)
}

// writable waits until each shard has acknowledged a record that was put after a moment.
func writable(ctx context.Context, writers []*shardWriter, after time.Time) error {
	return await(ctx, recoverMax, func(context.Context) error {
		var late []uint32
		for _, w := range writers {
			if _, ok := w.first(after); !ok {
				late = append(late, w.shard)
			}
		}
		if len(late) > 0 {
			return fmt.Errorf("shards %v are not writable", late)
		}
		return nil
	})
}

// shardWriter appends small records to one shard, one at a time.
type shardWriter struct {
	shard uint32
	pace  time.Duration

	// Owned by run; to be read when it has ended.
	failures int
	failure  error // the first

	mu   sync.Mutex
	acks []ack // since the last reset; a kill lasts too short for many
}

// ack is one record stored.
type ack struct{ put, acked time.Time }

func (w *shardWriter) run(ctx context.Context, c *client.Client, stream string) {
	producer, err := c.Producer(stream, client.ProducerOptions{Shard: &w.shard})
	if err != nil {
		w.failure = err
		return
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = producer.Close(closing) // what is outstanding now was not to be measured
	}()
	data := payload(killBytes)
	for ctx.Err() == nil {
		put := time.Now()
		pending, err := producer.Put(ctx, client.Record{PartitionKey: "k", Data: data})
		if err == nil {
			select {
			case <-pending.Done():
				err = pending.Result().Err
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				w.failures++
				w.failure = cmp.Or(w.failure, err)
			}
		} else {
			w.acknowledged(put)
		}
		if pause(ctx, w.pace) != nil {
			return
		}
	}
}

func (w *shardWriter) acknowledged(put time.Time) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = append(w.acks, ack{put, now})
}

// reset forgets all acknowledgements but the last.
func (w *shardWriter) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = slices.Clone(w.acks[max(0, len(w.acks)-1):])
}

// first returns when the first record that was put after a moment was acknowledged.
func (w *shardWriter) first(after time.Time) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.acks, func(a ack) bool { return a.put.After(after) })
	if i < 0 {
		return time.Time{}, false
	}
	return w.acks[i].acked, true
}

// stall returns the longest time between two acknowledgements since the last reset.
func (w *shardWriter) stall() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest time.Duration
	for i := 1; i < len(w.acks); i++ {
		longest = max(longest, w.acks[i].acked.Sub(w.acks[i-1].acked))
	}
	return longest
}

func (s *failoverSummary) print(w io.Writer) {
	var all, worst []float64
	meta := 0
	for _, k := range s.Kills {
		all = append(all, k.Seconds...)
		worst = append(worst, quantile(k.Seconds, 1))
		if k.MetaLeader {
			meta++
		}
	}
	fmt.Fprintf(w, "\nP13: kill -9 of the node that leads most of %d shards; seconds from the kill until a record put after it is stored, per shard\n\n", s.Shards)
	table(w, [][]string{
		{"kills", "of these the meta leader", "shards hit", "p50", "p90", "p99", "max", "median of each kill's slowest", "longest stall of the other shards", "records given up"},
		{
			fmt.Sprint(len(s.Kills)), fmt.Sprint(meta), fmt.Sprint(len(all)), number(quantile(all, 0.5), 2), number(quantile(all, 0.9), 2),
			number(quantile(all, 0.99), 2), number(quantile(all, 1), 2), number(median(worst), 2), number(s.WorstOther, 2), fmt.Sprint(s.FailedRecords),
		},
	})
}
