package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencyMax is the largest latency a histogram tells apart.
const latencyMax = time.Minute

// latency is the outcome of one run of P3.
type latency struct {
	System   string `json:"system"`
	Settings string `json:"settings"`
	Run      int    `json:"run"`
	quantiles
}

// quantiles are latencies in microseconds.
type quantiles struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50_us"`
	P90   int64 `json:"p90_us"`
	P99   int64 `json:"p99_us"`
	P999  int64 `json:"p99_9_us"`
	Max   int64 `json:"max_us"`
}

func quantilesOf(h *hdrhistogram.Histogram) quantiles {
	return quantiles{
		Count: h.TotalCount(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
}

// newHistogram holds latencies of a microsecond to latencyMax.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, latencyMax.Microseconds(), 3) }

// ms is how quantiles are printed.
func ms(microseconds int64) float64 { return float64(microseconds) / 1e3 }

// latencyRow is P3: one caller that waits for each record.
func latencyRow(ctx context.Context, b *bench) error {
	return b.turns(ctx, b.waitingContenders(), func(ctx context.Context, s contender, c cluster, run int) error {
		how := s.modes(1)[0]
		w, err := c.writer(ctx, target{1, recordBytes, how})
		if err != nil {
			return err
		}
		defer w.close()
		_, q, err := closedLoop(ctx, c, w, 1, b.options.warmup, b.options.duration)
		if err != nil {
			return err
		}
		b.report.Latency = append(b.report.Latency, latency{System: s.name, Settings: s.describe(how), Run: run, quantiles: q})
		b.say("p3 run %d: %s: p50 %d µs, p99 %d µs", run, s.name, q.P50, q.P99)
		return nil
	})
}

func (r *report) printLatency(w io.Writer) {
	fmt.Fprintf(w, "\nP3: one caller, one %d-byte record at a time; medians of the runs' quantiles, in ms\n\n", recordBytes)
	rows := [][]string{{"system", "p50", "p90", "p99", "p99.9", "max of all runs", "p50 lowest–highest", "p50 / Levada's", "p99 / Levada's"}}
	p50, p99 := func(l latency) float64 { return ms(l.P50) }, func(l latency) float64 { return ms(l.P99) }
	groups := groupBy(r.Latency, func(l latency) string { return l.System })
	own := groups[0] // Levada comes first
	for _, g := range groups {
		rows = append(rows, []string{
			g.key, number(g.median(p50), 2), number(g.median(func(l latency) float64 { return ms(l.P90) }), 2),
			number(g.median(p99), 2), number(g.median(func(l latency) float64 { return ms(l.P999) }), 2),
			number(quantile(column(g.runs, func(l latency) float64 { return ms(l.Max) }), 1), 1), g.span(p50, 2),
			number(g.median(p50)/own.median(p50), 2), number(g.median(p99)/own.median(p99), 2),
		})
	}
	table(w, rows)
}
