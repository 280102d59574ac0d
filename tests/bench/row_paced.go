package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// keptUp is the share of all records due that must be acknowledged when the
// schedule ends for a system to be called able to take the load.
const keptUp = 0.95

// paced is the outcome of one run of P14 at one load.
type paced struct {
	System   string  `json:"system"`
	Settings string  `json:"settings"`
	Shards   int     `json:"shards"`
	Run      int     `json:"run"`
	Asked    float64 `json:"asked_mb_per_second"`
	usage            // of the measured part
	// Of the records that were due in the measured part, from when they were due.
	quantiles
	Late   quantiles `json:"generator_late"`
	Missed int64     `json:"records_never_offered"`
	InTime float64   `json:"share_acknowledged_when_schedule_ends"`
	Behind bool      `json:"falls_behind"`
	Error  string    `json:"error,omitempty"`
}

// pacedRow is P14: fixed loads, in ascending order.
func pacedRow(ctx context.Context, b *bench) error {
	rates, err := counts(b.options.rates)
	if err != nil {
		return err
	}
	slices.Sort(rates)
	contenders, err := b.singleContenders(ctx, "p14", []int{b.options.rateShards})
	if err != nil {
		return err
	}
	return b.turns(ctx, contenders, func(ctx context.Context, s contender, c cluster, run int) error {
		how := s.modes(b.options.rateShards)[0]
		w, err := c.writer(ctx, target{b.options.rateShards, recordBytes, how})
		if err != nil {
			return err
		}
		defer w.close()
		if err := b.prewarm(ctx, s.system, w); err != nil {
			return err
		}
		for _, rate := range rates {
			p := paced{System: s.name, Settings: s.describe(how), Shards: b.options.rateShards, Run: run, Asked: float64(rate)}
			if err := p.measure(ctx, b, c, w); err != nil {
				return err
			}
			b.report.Paced = append(b.report.Paced, p)
			b.say("p14 run %d: %s at %d MB/s: %.1f MB/s, p50 %.1f ms, p99 %.1f ms %s", run, s.name, rate, p.MBps, ms(p.P50), ms(p.P99), p.Error)
			if p.Error != "" {
				return nil // what is on its way now would falsify the next
			}
		}
		return nil
	})
}

// measure loads a cluster by schedule. That a system does not take the load is an outcome, not an error.
func (p *paced) measure(ctx context.Context, b *bench, c cluster, w writer) error {
	var (
		acked, inTime atomic.Int64
		seen          = newRecorder()
		from          = b.options.warmup
		plan          = scheduleOf(p.Asked, w.size(), from+b.options.rateTime)
		data          = payload(w.size())
	)
	loop := openLoop{
		schedule: plan, w: w, callers: b.options.callers,
		data: func(int64) []byte { return data },
		acked: func(_ int64, shard int, due, now time.Duration) {
			acked.Add(1)
			if now <= plan.total {
				inTime.Add(1)
			}
			if due >= from {
				seen.add(shard, now-due)
			}
		},
	}
	u, o, runErr, err := pacedRun(ctx, c, loop, time.Now(), &acked, from)
	if err != nil {
		return err
	}
	p.usage, p.quantiles, p.Late, p.Missed = u, seen.take(), quantilesOf(o.late), o.missed
	p.InTime = float64(inTime.Load()) / float64(plan.count())
	p.Behind = p.InTime < keptUp || o.missed > 0
	if runErr != nil {
		p.Error, p.Behind = runErr.Error(), true
	}
	return ctx.Err()
}

// pacedRun runs an open loop and reads the meters over the part of it after the warm-up. runErr is the loop's
// own: the system failed under the load.
func pacedRun(ctx context.Context, c cluster, loop openLoop, start time.Time, acked *atomic.Int64, before time.Duration) (u usage, o offered, runErr, err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o, runErr = loop.run(ctx, start)
	}()
	u, err = meter(ctx, c, acked, start.Add(before), loop.total-before, loop.w.size())
	<-ended
	return u, o, runErr, err
}

func (r *report) printPaced(w io.Writer) {
	fmt.Fprintf(w, "\nP14: fixed loads of %d-byte records on %d shards; latencies in ms from the moment at which a record was due, medians of the runs\n\n", recordBytes, r.Paced[0].Shards)
	type at struct {
		asked  float64
		system string
	}
	groups := groupBy(r.Paced, func(p paced) at { return at{p.Asked, p.System} })
	slices.SortStableFunc(groups, func(a, b group[at, paced]) int { return cmp.Compare(a.key.asked, b.key.asked) })
	rows := [][]string{{"MB/s asked", "system", "MB/s achieved", "p50", "p99", "p99.9", "max of all runs", "p99 lowest–highest", "generator late p99", "cores busy"}}
	var lines []writtenLine
	for _, g := range groups {
		of := func(digits int, f func(paced) float64) string { return number(g.median(f), digits) }
		cells := []string{number(g.key.asked, 0), g.key.system, of(1, func(p paced) float64 { return p.MBps })}
		if i := slices.IndexFunc(g.runs, func(p paced) bool { return p.Behind }); i >= 0 {
			reason := "falls behind"
			if g.runs[i].Error != "" {
				reason += ": " + g.runs[i].Error
			}
			cells = append(cells, reason, "–", "–", "–", "–")
		} else {
			cells = append(cells,
				of(1, func(p paced) float64 { return ms(p.P50) }), of(1, func(p paced) float64 { return ms(p.P99) }), of(1, func(p paced) float64 { return ms(p.P999) }),
				number(quantile(column(g.runs, func(p paced) float64 { return ms(p.Max) }), 1), 1), g.span(func(p paced) float64 { return ms(p.P99) }, 1))
		}
		rows = append(rows, append(cells, of(1, func(p paced) float64 { return ms(p.Late.P99) }), of(2, func(p paced) float64 { return p.CoresBusy })))
		lines = append(lines, writtenLine{number(g.key.asked, 0), g.key.system, columnOf(g.runs, func(p paced) amplification { return p.Written })})
	}
	table(w, rows)
	printWritten(w, "MB/s asked", lines)
	fmt.Fprintln(w)
	for _, g := range groupBy(r.Paced, func(p paced) string { return p.System }) {
		fmt.Fprintf(w, "- %s: %s\n", g.key, g.runs[0].Settings)
	}
}
