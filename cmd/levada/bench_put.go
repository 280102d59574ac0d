package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// benchPutCommand measures writing.
type benchPutCommand struct {
	target
	Stream    string        `arg:"" help:"Name of the stream."`
	Create    uint32        `help:"Create the stream with this many shards if there is none." placeholder:"SHARDS"`
	Producers int           `help:"Callers that write at the same time." default:"4"`
	Size      string        `help:"Size of a record's data." default:"1KiB"`
	Duration  time.Duration `help:"How long to write." default:"10s"`
	Count     uint64        `help:"Records to write instead, all callers together." default:"0"`
	One       bool          `help:"Each caller writes one record at a time and waits for it."`
	Rate      float64       `help:"Records per second, all callers together; 0 is as fast as possible. Latency then counts from the moment when a record was due." default:"0"`
	Keys      uint64        `help:"Number of different partition keys." default:"100000"`
	Batch     string        `help:"Size at which a batch is sent." default:"256KiB"`
	InFlight  int           `help:"Batches on their way per shard." default:"16"`
	Linger    time.Duration `help:"How long a batch waits to fill while others are on their way." default:"1ms"`
}

// check implements checker.
func (c benchPutCommand) check(s *session) error {
	switch {
	case c.Producers < 1:
		return usagef("--producers: %d must be at least 1", c.Producers)
	case c.Keys < 1:
		return usagef("--keys: %d must be at least 1", c.Keys)
	case c.InFlight < 1 || c.InFlight > inFlightMax:
		return usagef("--in-flight: %d must be 1 to %d", c.InFlight, inFlightMax)
	case c.Duration <= 0:
		return usagef("--duration: %s must be above 0, for example 10s", c.Duration)
	case c.Linger < 0:
		return usagef("--linger: %s must be 0 (send at once) or more", c.Linger)
	}
	return errors.Join(checkRate(c.Rate), c.target.check(s))
}

// inFlightMax is the most that the client takes.
const inFlightMax = 32

// benchBytes reads a size that is at least a byte and at most the largest record.
func benchBytes(flag, text string) (configs.ByteSize, error) {
	size, err := configs.ParseByteSize(text)
	if err != nil || size < 1 || size > 10*configs.MiB {
		return 0, usagef("%s: %s must be a size of 1B to 10MiB", flag, text)
	}
	return size, nil
}

// linger is --linger as the client has it: to that, 0 is the default and less is none.
func (c benchPutCommand) linger() time.Duration {
	if c.Linger == 0 {
		return -1
	}
	return c.Linger
}

// Run implements the command.
func (c benchPutCommand) Run(ctx context.Context, s *session) error {
	size, err := benchBytes("--size", c.Size)
	if err != nil {
		return err
	}
	batch, err := benchBytes("--batch", c.Batch)
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := ensureStream(ctx, s, cl, c.Stream, c.Create, int(size)); err != nil {
		return err
	}
	producer, err := cl.Producer(c.Stream, client.ProducerOptions{BatchBytes: int(batch), InFlightPerShard: c.InFlight, Linger: c.linger()})
	if err != nil {
		return err
	}
	m := newMeter()
	start := time.Now()
	c.load(ctx, producer, m, int(size), start)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	closeErr := producer.Close(closing)
	r := m.report(c.work(size), time.Since(start), c.Rate > 0)
	if err := errors.Join(closeErr, r.print(s.out, c.json())); err != nil {
		return err
	}
	if r.Failed > 0 {
		return fmt.Errorf("%s records failed: %w", grouped(r.Failed), m.first)
	}
	return nil
}

func (c benchPutCommand) work(size configs.ByteSize) string {
	mode := "pipelined"
	if c.One {
		mode = "one record at a time"
	}
	return fmt.Sprintf("put %s records, %d callers, %s", size, c.Producers, mode)
}

// load runs the callers until time or count is over.
func (c benchPutCommand) load(ctx context.Context, producer *client.Producer, m *meter, size int, start time.Time) {
	if c.Count == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, start.Add(c.Duration))
		defer cancel()
	}
	var callers sync.WaitGroup
	for i := range c.Producers {
		callers.Go(func() { c.call(ctx, producer, m, size, start, i) })
	}
	callers.Wait()
}

// call is one caller: the i-th of all.
func (c benchPutCommand) call(ctx context.Context, producer *client.Producer, m *meter, size int, start time.Time, i int) {
	data := make([]byte, size)
	random := rand.New(rand.NewPCG(uint64(i), 1))
	for j := range data {
		data[j] = byte(random.Uint32())
	}
	share := c.Count / uint64(c.Producers)
	if uint64(i) < c.Count%uint64(c.Producers) {
		share++
	}
	for n := uint64(0); (c.Count == 0 || n < share) && ctx.Err() == nil; n++ {
		due := time.Now()
		if c.Rate > 0 {
			// The plan stands whatever the cluster does: a stall delays records that were due in it.
			due = start.Add(time.Duration(float64(n*uint64(c.Producers)+uint64(i)) / c.Rate * float64(time.Second)))
			if !waitUntil(ctx, due) {
				return
			}
		}
		key := strconv.FormatUint(random.Uint64N(c.Keys), 10)
		if !c.put(ctx, producer, m, client.Record{PartitionKey: key, Data: data}, due) {
			return
		}
	}
}

// put writes one record, and waits for it if that is the mode. It reports
// whether to go on.
func (c benchPutCommand) put(ctx context.Context, producer *client.Producer, m *meter, r client.Record, due time.Time) bool {
	size := len(r.Data)
	settled := func(result client.Result) { m.done(size, time.Since(due), result.Err) }
	if !c.One {
		err := producer.PutFunc(ctx, r, settled)
		if err != nil && ctx.Err() == nil {
			m.done(size, 0, err)
		}
		return err == nil
	}
	pending, err := producer.Put(ctx, r)
	if err != nil {
		if ctx.Err() == nil {
			m.done(size, 0, err)
		}
		return false
	}
	settled(pending.Result())
	return true
}

// waitUntil waits for a time and reports whether ctx lasted so long.
func waitUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
