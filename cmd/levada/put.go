package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/levada-stream/levada/client"
)

// putCommand writes lines as records.
type putCommand struct {
	target
	Stream    string  `arg:"" help:"Name of the stream."`
	File      string  `arg:"" optional:"" help:"File to read, or - for standard input." default:"-"`
	KeyField  *string `help:"Take the partition key from this member of each line, which is JSON: $.user.id." placeholder:"JSONPATH"`
	KeyRegex  *string `help:"Take it from the first group of this expression's match." placeholder:"RE"`
	Key       *string `help:"Give every line this key. Without any of the three, keys are random."`
	Shard     *string `help:"Write to this shard, whatever the keys." placeholder:"ID"`
	Rate      float64 `help:"Lines per second at most; 0 is no limit." default:"0"`
	SkipEmpty bool    `help:"Leave out empty lines. They are records without data otherwise."`
	Acked     string  `help:"Write the number, shard and sequence number of each acknowledged line to this file." type:"path" placeholder:"FILE"`
}

// check implements checker.
func (c putCommand) check(s *session) error {
	if err := checkRate(c.Rate); err != nil {
		return err
	}
	return c.target.check(s)
}

// checkRate refuses a --rate that is no rate; 0 is none at all.
func checkRate(perSecond float64) error {
	if !(perSecond >= 0) || math.IsInf(perSecond, 0) { // so that NaN is refused too
		return usagef("--rate: %g must be 0 (no limit) or more per second", perSecond)
	}
	return nil
}

// closeGrace is how long a put that was interrupted, or that failed as a whole,
// waits for what is on its way.
const closeGrace = 10 * time.Second

// Run implements the command.
func (c putCommand) Run(ctx context.Context, s *session) error {
	keys, err := newKeyer(c.KeyField, c.KeyRegex, c.Key)
	if err != nil {
		return err
	}
	shard, err := optionalShard(c.Shard)
	if err != nil {
		return err
	}
	options := client.ProducerOptions{Shard: shard}
	in, err := openInput(ctx, s, c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	acked, err := createOutput(c.Acked)
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return errors.Join(err, closeOutput(acked))
	}
	defer cl.Close()
	if _, err := cl.DescribeStream(ctx, c.Stream); err != nil {
		return errors.Join(err, closeOutput(acked))
	}
	var ackedTo io.Writer
	if acked != nil {
		ackedTo = acked
	}
	t := newTally(ackedTo, s.warn)
	r, err := c.pour(ctx, s, cl, options, in, keys, t)
	return errors.Join(c.conclude(s, t, r, err), closeOutput(acked))
}

// pour reads all lines, writes them and waits for their results.
func (c putCommand) pour(ctx context.Context, s *session, cl *client.Client, o client.ProducerOptions, in io.Reader, keys keyer, t *tally) (putReport, error) {
	producer, err := cl.Producer(c.Stream, o)
	if err != nil {
		return putReport{}, err
	}
	start := time.Now()
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	var watchers sync.WaitGroup
	watchers.Go(func() { // a failure that all lines share ends the reading too
		select {
		case <-t.halted:
			stop()
		case <-feeding.Done():
		}
	})
	progress := startProgress(s, t, start)
	readErr := c.feed(feeding, producer, newPromptReader(feeding.Done(), in), keys, t)
	stop()
	watchers.Wait()
	closeErr := closeProducer(ctx, producer, t.halted)
	progress()
	r := t.report(time.Since(start), ctx.Err() != nil)
	return r, errors.Join(readErr, closeErr)
}

// closeProducer waits for what is on its way. It does so without ctx, because
// its fate is what the report is about, but only for closeGrace after the end of
// ctx or a failure that all lines share.
func closeProducer(ctx context.Context, producer *client.Producer, halted <-chan struct{}) error {
	closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-ctx.Done():
		case <-halted:
		case <-closing.Done():
			return
		}
		if waitUntil(closing, time.Now().Add(closeGrace)) {
			cancel()
		}
	})
	err := producer.Close(closing)
	cancel()
	watcher.Wait()
	if err != nil {
		return fmt.Errorf("gave up lines that were on their way for %s: %w", closeGrace, err)
	}
	return nil
}

// feed hands every line to the producer until the input or ctx ends.
func (c putCommand) feed(ctx context.Context, producer *client.Producer, in io.Reader, keys keyer, t *tally) error {
	limiter := rate.NewLimiter(rate.Inf, 1)
	if c.Rate > 0 {
		limiter = rate.NewLimiter(rate.Limit(c.Rate), max(1, int(c.Rate/100)))
	}
	lines := newLineReader(in)
	for n := uint64(1); ctx.Err() == nil; n++ {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errLongLine):
			t.took(0)
			t.refuse(n, err)
			continue
		case err != nil && ctx.Err() != nil:
			return nil // the end of ctx is not the input's error
		case err != nil:
			return fmt.Errorf("read line %d: %w", n, err)
		case len(line) == 0 && c.SkipEmpty:
			continue
		}
		if limiter.Wait(ctx) != nil {
			return nil
		}
		size := len(line)
		key, err := keys(line)
		if err == nil {
			err = producer.PutFunc(ctx, client.Record{PartitionKey: key, Data: line}, func(r client.Result) { t.settle(n, size, r) })
		}
		if err != nil && ctx.Err() != nil {
			return nil // the line was not handed over: it counts as not read
		}
		t.took(size)
		if err != nil {
			t.refuse(n, err)
		}
	}
	return nil
}

// conclude prints the report and decides how the command ends.
func (c putCommand) conclude(s *session, t *tally, r putReport, err error) error {
	if ackedErr := t.finish(); ackedErr != nil {
		err = errors.Join(err, fmt.Errorf("write %s: %w", c.Acked, ackedErr))
	}
	if c.json() {
		err = errors.Join(err, printJSON(s.out, r))
	} else {
		err = errors.Join(err, r.print(s.out))
	}
	switch {
	case t.failure != nil:
		return errors.Join(t.failure, err)
	case err != nil:
		return err
	case r.Failed > 0 || r.Interrupted:
		return errSilent
	}
	return nil
}

func createOutput(name string) (*os.File, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, usageError{err}
	}
	return f, nil
}

func closeOutput(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

func isClientError(err error) bool {
	var known *client.Error
	return errors.As(err, &known)
}
