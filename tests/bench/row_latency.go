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

// latency is the outcome of one run of P3, in microseconds.
type latency struct {
	System   string `json:"system"`
	Settings string `json:"settings"`
	Run      int    `json:"run"`
	Records  int64  `json:"records"`
	P50      int64  `json:"p50_us"`
	P90      int64  `json:"p90_us"`
	P99      int64  `json:"p99_us"`
	P999     int64  `json:"p99_9_us"`
	Max      int64  `json:"max_us"`
}

// latencyRow is P3: one caller that waits for each record.
func latencyRow(ctx context.Context, b *bench) error {
	systems := []system{levadaSystem()}
	if b.options.peers {
		one := map[int]natsMode{1: {"sync", 1, 1}}
		systems = append(systems, natsSystem("nats-always", "always", one), natsSystem("nats-default", "", one))
	}
	for run := range b.options.runs {
		for _, s := range systems {
			err := b.with(ctx, s, func(ctx context.Context, c cluster) error { return b.latencyRun(ctx, s, c, run+1) })
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

func (b *bench) latencyRun(ctx context.Context, s system, c cluster, run int) error {
	w, err := c.writer(ctx, 1, recordBytes)
	if err != nil {
		return err
	}
	defer w.close()
	h := hdrhistogram.New(1, latencyMax.Microseconds(), 3)
	start := time.Now()
	for {
		before := time.Now()
		if before.Sub(start) > b.options.warmup+b.options.duration {
			break
		}
		one, cancel := context.WithTimeout(ctx, latencyMax)
		err := w.one(one)
		cancel()
		if err != nil {
			return err
		}
		if before.Sub(start) < b.options.warmup {
			continue
		}
		if err := h.RecordValue(max(1, time.Since(before).Microseconds())); err != nil {
			return err
		}
	}
	l := latency{
		System: s.name, Settings: s.settings(1), Run: run, Records: h.TotalCount(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
	b.report.Latency = append(b.report.Latency, l)
	b.say("p3 run %d: %s: p50 %d µs, p99 %d µs", run, s.name, l.P50, l.P99)
	return nil
}

func (r *report) printLatency(w io.Writer) {
	fmt.Fprintf(w, "\nP3: one caller, one %d-byte record at a time; medians of the runs' quantiles, in ms\n\n", recordBytes)
	rows := [][]string{{"system", "p50", "p90", "p99", "p99.9", "max of all runs", "p50 lowest–highest", "p50 / Levada's", "p99 / Levada's"}}
	var order []string
	runs := map[string][]latency{}
	for _, l := range r.Latency {
		if runs[l.System] == nil {
			order = append(order, l.System)
		}
		runs[l.System] = append(runs[l.System], l)
	}
	p50 := func(l latency) float64 { return float64(l.P50) / 1e3 }
	p99 := func(l latency) float64 { return float64(l.P99) / 1e3 }
	own50, own99 := median(column(runs["levada"], p50)), median(column(runs["levada"], p99))
	for _, s := range order {
		all := column(runs[s], p50)
		rows = append(rows, []string{
			s, number(median(all), 2), number(median(column(runs[s], func(l latency) float64 { return float64(l.P90) / 1e3 })), 2),
			number(median(column(runs[s], p99)), 2), number(median(column(runs[s], func(l latency) float64 { return float64(l.P999) / 1e3 })), 2),
			number(quantile(column(runs[s], func(l latency) float64 { return float64(l.Max) / 1e3 }), 1), 1),
			number(quantile(all, 0), 2) + "–" + number(quantile(all, 1), 2),
			number(median(all)/own50, 2), number(median(column(runs[s], p99))/own99, 2),
		})
	}
	table(w, rows)
}
