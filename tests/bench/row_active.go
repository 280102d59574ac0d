package main

import (
	"context"
	"fmt"
	"io"
)

// activeBytes is the size of P10's records.
const activeBytes = 4 << 10

// active is the outcome of one run of P10.
type active struct {
	System   string `json:"system"`
	Settings string `json:"settings"`
	Shards   int    `json:"shards"`
	Run      int    `json:"run"`
	usage
	quantiles
}

// activeRow is P10: many shards, and one caller for each.
func activeRow(ctx context.Context, b *bench) error {
	return b.turns(ctx, b.waitingContenders(), func(ctx context.Context, s contender, c cluster, run int) error {
		how := s.modes(b.options.active)[0]
		w, err := c.writer(ctx, target{b.options.active, activeBytes, how})
		if err != nil {
			return err
		}
		defer w.close()
		if err := b.prewarm(ctx, s.system, w); err != nil {
			return err
		}
		a := active{System: s.name, Settings: s.describe(how), Shards: b.options.active, Run: run}
		if a.usage, a.quantiles, err = closedLoop(ctx, c, w, a.Shards, b.options.warmup, b.options.duration); err != nil {
			return err
		}
		b.report.Active = append(b.report.Active, a)
		b.say("p10 run %d: %s: %.0f appends/s, p50 %.1f ms, p99 %.1f ms", run, s.name, a.perSecond(), ms(a.P50), ms(a.P99))
		return nil
	})
}

func (r *report) printActive(w io.Writer) {
	fmt.Fprintf(w, "\nP10: %d shards, one caller each, which appends one %d-byte record, waits for it, and appends the next; medians of the runs. "+
		"Latencies are in ms, of a closed loop: nobody queues behind a slow append but its own caller\n\n", r.Active[0].Shards, activeBytes)
	groups := groupBy(r.Active, func(a active) string { return a.System })
	rate := func(a active) float64 { return a.perSecond() }
	rows := [][]string{{"system", "appends/s", "lowest–highest", "Levada is", "p50", "p99", "p99.9", "max of all runs", "cores busy", "CPU s/GB servers", "client"}}
	var lines []writtenLine
	for _, g := range groups {
		of := func(digits int, f func(active) float64) string { return number(g.median(f), digits) }
		rows = append(rows, []string{
			g.key, of(0, rate), g.span(rate, 0), ratioTo(g.key, groups[0].median(rate), g.median(rate)),
			of(1, func(a active) float64 { return ms(a.P50) }), of(1, func(a active) float64 { return ms(a.P99) }),
			of(1, func(a active) float64 { return ms(a.P999) }), number(quantile(column(g.runs, func(a active) float64 { return ms(a.Max) }), 1), 1),
			of(2, func(a active) float64 { return a.CoresBusy }), of(2, func(a active) float64 { return a.ServerCPU }), of(2, func(a active) float64 { return a.ClientCPU }),
		})
		lines = append(lines, writtenLine{fmt.Sprint(g.runs[0].Shards), g.key, columnOf(g.runs, func(a active) amplification { return a.Written })})
	}
	table(w, rows)
	printWritten(w, "shards", lines)
	fmt.Fprintln(w)
	for _, g := range groups {
		fmt.Fprintf(w, "- %s: %s\n", g.key, g.runs[0].Settings)
	}
}
