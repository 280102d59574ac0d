package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// reading is the outcome of reading once.
type reading struct {
	System    string  `json:"system"`
	Settings  string  `json:"settings"`
	Run       int     `json:"run"`
	Records   int64   `json:"records"`
	Seconds   float64 `json:"seconds"`
	MBps      float64 `json:"mb_per_second"` // 10^6 bytes of record data
	ServerCPU float64 `json:"server_cpu_seconds_per_gb"`
	ClientCPU float64 `json:"client_cpu_seconds_per_gb"`
}

// readRow is P5: read one shard from the start right after it was written.
func readRow(ctx context.Context, b *bench) error {
	systems := []contender{levadaContender()}
	if b.options.peers {
		systems = append(systems, only(natsSystem("nats-default", ""), natsMode{"async", 1, 2048}))
	}
	return b.turns(ctx, systems, b.readRun)
}

// readRun fills one shard and reads it in each way that the system has.
func (b *bench) readRun(ctx context.Context, s contender, c cluster, run int) error {
	w, err := c.writer(ctx, target{1, recordBytes, s.modes(1)[0]})
	if err != nil {
		return err
	}
	count, err := fill(ctx, w, b.options.readMiB<<20)
	w.close()
	if err != nil {
		return err
	}
	for _, way := range c.readers(1) {
		r, err := readOnce(ctx, c, way, count)
		if err != nil {
			if err = b.forgive(ctx, s.name, fmt.Errorf("%s: %w", way.settings, err)); err != nil {
				return err
			}
			continue
		}
		r.System, r.Settings, r.Run = s.name, way.settings, run
		b.report.Reading = append(b.report.Reading, r)
		b.say("p5 run %d: %s, %s: %.1f MB/s", run, s.name, way.settings, r.MBps)
	}
	return nil
}

// fill writes at least so many bytes and returns the number of records.
func fill(ctx context.Context, w writer, bytes int64) (int64, error) {
	var acked atomic.Int64
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.flood(loading, &acked) }()
	err := warmup{bytes: bytes}.run(ctx, w, &acked)
	stop()
	err = errors.Join(err, <-ended)
	if got := acked.Load() * int64(w.size()); err == nil && got < bytes {
		err = fmt.Errorf("only %d of %d bytes were taken in %v", got, bytes, volumeMax(bytes))
	}
	return acked.Load(), err
}

func readOnce(ctx context.Context, c cluster, way reader, count int64) (r reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, volumeMax(count*recordBytes))
	defer cancel()
	cpu0, err := cpuOf(c.processes())
	if err != nil {
		return r, err
	}
	var got atomic.Int64
	own0, start := ownCPU(), time.Now()
	if err := way.read(ctx, count, &got); err != nil {
		return r, fmt.Errorf("after %d of %d records: %w", got.Load(), count, err)
	}
	elapsed, own1 := time.Since(start), ownCPU()
	cpu1, err := cpuOf(c.processes())
	if err != nil {
		return r, err
	}
	bytes := float64(count) * recordBytes
	r.Records, r.Seconds = count, elapsed.Seconds()
	r.MBps = bytes / 1e6 / r.Seconds
	r.ServerCPU, r.ClientCPU = (cpu1-cpu0).Seconds()/bytes*1e9, (own1-own0).Seconds()/bytes*1e9
	return r, nil
}

func (r *report) printReading(w io.Writer) {
	fmt.Fprintf(w, "\nP5: one reader reads one shard of %d-byte records from the start, just after they were written; medians of the runs\n\n", recordBytes)
	type way struct{ system, settings string }
	groups := groupBy(r.Reading, func(x reading) way { return way{x.System, x.Settings} })
	speed := func(x reading) float64 { return x.MBps }
	own := 0.0
	for _, g := range groups {
		if g.key.system == "levada" {
			own = g.median(speed)
		}
	}
	rows := [][]string{{"system", "how", "MB/s", "lowest–highest", "Levada is", "CPU s/GB servers", "client"}}
	for _, g := range groups {
		rows = append(rows, []string{
			g.key.system, g.key.settings, number(g.median(speed), 1), g.span(speed, 1), ratioTo(g.key.system, own, g.median(speed)),
			number(g.median(func(x reading) float64 { return x.ServerCPU }), 2), number(g.median(func(x reading) float64 { return x.ClientCPU }), 2),
		})
	}
	table(w, rows)
}
