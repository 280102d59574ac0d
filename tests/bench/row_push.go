package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// arriveMax bounds the wait for the last records at the consumer.
const arriveMax = 10 * time.Second

// push is the outcome of one run of P8.
type push struct {
	System   string  `json:"system"`
	Settings string  `json:"settings"`
	Shards   int     `json:"shards"`
	Run      int     `json:"run"`
	MaxMBps  float64 `json:"throughput_just_before_mb_per_second"`
	Asked    float64 `json:"asked_mb_per_second"`
	usage
	pushLatencies
	Missed int64 `json:"records_never_offered"`
}

// pushLatencies are those of the records due after the warm-up.
type pushLatencies struct {
	// AckToConsumer counts 0 where the consumer had the record before the producer had its acknowledgement.
	AckToConsumer quantiles `json:"acknowledged_to_consumer"`
	DueToConsumer quantiles `json:"due_to_consumer"`
	DueToAck      quantiles `json:"due_to_acknowledged"`
	Early         float64   `json:"share_at_consumer_before_acknowledged"`
	Lost          int64     `json:"records_not_seen_by_consumer"`
}

// passage is when one record passed; 0 is never. All count from the start.
type passage struct{ due, acked, got time.Duration }

// latenciesOf sums up the records due at or after a moment.
func latenciesOf(all []passage, from time.Duration) (out pushLatencies) {
	ack, consumer, dueAck := newHistogram(), newHistogram(), newHistogram()
	early, both := 0, 0
	for _, p := range all {
		if p.due < from || p.acked == 0 {
			continue
		}
		_ = dueAck.RecordValue(clampMicroseconds(p.acked - p.due)) // in range, as below
		if p.got == 0 {
			out.Lost++
			continue
		}
		both++
		if p.got <= p.acked {
			early++
		}
		_ = ack.RecordValue(max(0, min((p.got-p.acked).Microseconds(), latencyMax.Microseconds())))
		_ = consumer.RecordValue(clampMicroseconds(p.got - p.due))
	}
	out.AckToConsumer, out.DueToConsumer, out.DueToAck = quantilesOf(ack), quantilesOf(consumer), quantilesOf(dueAck)
	if both > 0 {
		out.Early = float64(early) / float64(both)
	}
	return out
}

// pushRow is P8: how long a record takes to a consumer that waits for it.
func pushRow(ctx context.Context, b *bench) error {
	shardCounts, err := counts(b.options.pushShards)
	if err != nil {
		return err
	}
	contenders, err := b.singleContenders(ctx, "p8", shardCounts)
	if err != nil {
		return err
	}
	return b.turns(ctx, contenders, func(ctx context.Context, s contender, c cluster, run int) error {
		for i, shards := range shardCounts {
			how := s.modes(shards)[0]
			w, err := c.writer(ctx, target{shards, recordBytes, how})
			if err != nil {
				return err
			}
			if i == 0 {
				err = b.prewarm(ctx, s.system, w)
			}
			p := push{System: s.name, Settings: s.describe(how), Shards: shards, Run: run}
			if err == nil {
				err = p.measure(ctx, b, c, w)
			}
			w.close()
			if err != nil {
				return fmt.Errorf("%d shards: %w", shards, err)
			}
			b.report.Push = append(b.report.Push, p)
			b.say("p8 run %d: %s, %d shards: acknowledged to consumer p50 %.2f ms, p99 %.2f ms", run, s.name, shards, ms(p.AckToConsumer.P50), ms(p.AckToConsumer.P99))
		}
		return nil
	})
}

// measure finds the throughput, and then offers a share of it while a consumer reads.
func (p *push) measure(ctx context.Context, b *bench, c cluster, w writer) (err error) {
	most, err := flood(ctx, c, w, warmup{duration: b.options.warmup}, b.options.duration)
	if err != nil {
		return err
	}
	p.MaxMBps, p.Asked = most.MBps, most.MBps*b.options.pushShare
	if err := pause(ctx, calm); err != nil {
		return err
	}
	plan := scheduleOf(p.Asked, w.size(), b.options.warmup+b.options.duration)
	var (
		ackedAt, gotAt = make([]atomic.Int64, plan.count()), make([]atomic.Int64, plan.count())
		acked, got     atomic.Int64
		start          atomic.Pointer[time.Time]
	)
	consumer, err := startTail(ctx, c, p.Shards, func(data []byte) {
		n := binary.BigEndian.Uint64(data)
		if s := start.Load(); s != nil && n < uint64(len(gotAt)) && gotAt[n].CompareAndSwap(0, int64(time.Since(*s))) {
			got.Add(1)
		}
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, consumer.close()) }()
	loop := openLoop{
		schedule: plan, w: w, callers: b.options.callers, data: numbered(w.size()),
		acked: func(n int64, _ int, _, now time.Duration) {
			ackedAt[n].Store(int64(now))
			acked.Add(1)
		},
	}
	begun := time.Now()
	start.Store(&begun)
	u, o, runErr, err := pacedRun(ctx, c, loop, begun, &acked, b.options.warmup)
	if err := errors.Join(runErr, err); err != nil {
		return err
	}
	p.usage, p.Missed = u, o.missed
	_ = await(ctx, arriveMax, func(context.Context) error { // what does not arrive is in the outcome
		if got.Load() < acked.Load() {
			return errors.New("records are missing")
		}
		return nil
	})
	passages := make([]passage, plan.count())
	for n := range passages {
		passages[n] = passage{plan.due(int64(n)), time.Duration(ackedAt[n].Load()), time.Duration(gotAt[n].Load())}
	}
	p.pushLatencies = latenciesOf(passages, b.options.warmup)
	return ctx.Err()
}

// tailing is a consumer at work.
type tailing struct {
	stop  context.CancelFunc
	ended chan struct{}
	err   error // why it ended; set before ended is closed
}

// startTail starts a consumer and returns when it is about to be at the tail.
func startTail(ctx context.Context, c cluster, shards int, got func(data []byte)) (*tailing, error) {
	ctx, stop := context.WithCancel(ctx)
	t := &tailing{stop: stop, ended: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(t.ended)
		t.err = c.tail(ctx, shards, func() { close(ready) }, got)
	}()
	select {
	case <-ready:
		return t, nil
	case <-t.ended:
		stop()
		return nil, t.err
	}
}

// close ends the consumer. The error is that of one that ended by itself.
func (t *tailing) close() error {
	select {
	case <-t.ended:
		return fmt.Errorf("the consumer ended early: %w", t.err)
	default:
	}
	t.stop()
	<-t.ended
	return nil
}

// numbered returns what makes data that begin with the record's number. Each is a buffer of its own: a writer may keep it.
func numbered(size int) func(n int64) []byte {
	base := payload(size)
	return func(n int64) []byte {
		data := slices.Clone(base)
		binary.BigEndian.PutUint64(data, uint64(n))
		return data
	}
}

func (r *report) printPush(w io.Writer) {
	fmt.Fprint(w, "\nP8: a consumer waits at the tail; the load is a share of the throughput measured just before; times in ms, medians of the runs. "+
		"A record that the consumer has before its producer has the acknowledgement counts 0 after it\n\n")
	rows := [][]string{{
		"shards", "system", "MB/s asked", "achieved", "acknowledged → consumer p50", "p99", "p99.9", "consumer first", "due → consumer p50", "p99", "p99.9",
		"due → acknowledged p50", "p99", "never seen",
	}}
	groups := groupBy(r.Push, func(p push) onShards { return onShards{p.Shards, p.System} })
	sortByShards(groups)
	for _, g := range groups {
		of := func(f func(push) int64) string {
			return number(g.median(func(p push) float64 { return ms(f(p)) }), 2)
		}
		lost := int64(0)
		for _, p := range g.runs {
			lost += p.Lost
		}
		rows = append(rows, []string{
			fmt.Sprint(g.key.shards), g.key.system,
			number(g.median(func(p push) float64 { return p.Asked }), 1), number(g.median(func(p push) float64 { return p.MBps }), 1),
			of(func(p push) int64 { return p.AckToConsumer.P50 }), of(func(p push) int64 { return p.AckToConsumer.P99 }), of(func(p push) int64 { return p.AckToConsumer.P999 }),
			number(g.median(func(p push) float64 { return 100 * p.Early }), 0) + " %",
			of(func(p push) int64 { return p.DueToConsumer.P50 }), of(func(p push) int64 { return p.DueToConsumer.P99 }), of(func(p push) int64 { return p.DueToConsumer.P999 }),
			of(func(p push) int64 { return p.DueToAck.P50 }), of(func(p push) int64 { return p.DueToAck.P99 }), fmt.Sprint(lost),
		})
	}
	table(w, rows)
	fmt.Fprintln(w)
	for _, g := range groups {
		fmt.Fprintf(w, "- %s, %d shards: %s\n", g.key.system, g.key.shards, g.runs[0].Settings)
	}
}
