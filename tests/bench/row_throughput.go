package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// throughput is the outcome of one run of P1, P2, P4, P7 or P11.
type throughput struct {
	Row      string `json:"row"`
	System   string `json:"system"`
	Settings string `json:"settings"`
	Shards   int    `json:"shards"`
	Run      int    `json:"run"`
	usage
	PeakMax int64 `json:"peak_memory_largest_process_bytes"`
	PeakSum int64 `json:"peak_memory_all_servers_bytes"`
}

// volumeMax bounds how long so many bytes may take to be written or read: a slow disk does 20 MB/s.
func volumeMax(bytes int64) time.Duration {
	return time.Minute + time.Duration(float64(bytes)/20e6*float64(time.Second))
}

// appending is a row that appends as much as the system takes.
type appending struct {
	name   string
	title  string
	size   int
	shards func(*options) string
	// levada and nats are the modes to try, of which the best is kept.
	levada func() []mode
	nats   func(shards int) []mode
	// others are measured instead, if there are any.
	others []contender
}

func p1() appending {
	return appending{
		name: "p1", title: "append 1024-byte records, client batching", size: recordBytes, shards: func(o *options) string { return o.shards },
		levada: usualModes, nats: func(shards int) []mode { return natsModes(shards, recordBytes) },
	}
}

func p2() appending {
	const size = 64 << 10
	a := p1()
	a.name, a.title, a.size, a.nats = "p2", "append 65536-byte records, client batching", size, func(shards int) []mode { return natsModes(shards, size) }
	return a
}

func p4() appending {
	a := p1()
	a.name, a.title, a.levada, a.nats = "p4", "append 1024-byte records, one record per message, many on their way", levadaSingles, natsSingles
	return a
}

func p11() appending {
	a := p1()
	a.name, a.shards = "p11", func(o *options) string { return o.manyShards }
	return a
}

func usualModes() []mode { return []mode{levadaDefaults()} }

func (a appending) contenders(peers bool) []contender {
	if a.others != nil {
		return a.others
	}
	all := []contender{{levadaSystem(), func(int) []mode { return a.levada() }}}
	if peers {
		for _, s := range natsSystems() {
			all = append(all, contender{s, a.nats})
		}
	}
	return all
}

func (a appending) row(ctx context.Context, b *bench) error {
	shardCounts, err := counts(a.shards(&b.options))
	if err != nil {
		return err
	}
	contenders := a.contenders(b.options.peers && (a.name != p11().name || b.options.manyPeers))
	kept := make([]map[int]mode, len(contenders)) // by number of shards
	for i, c := range contenders {
		kept[i] = map[int]mode{}
		for _, shards := range shardCounts {
			if kept[i][shards], err = a.best(ctx, b, c, shards); err != nil {
				return err
			}
		}
	}
	for run := range b.options.runs {
		for i, s := range contenders {
			err := b.with(ctx, s.system, func(ctx context.Context, c cluster) error {
				return a.once(ctx, b, s.system, c, kept[i], shardCounts, run+1)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if b.options.profiles != "" && a.name == "p1" {
		for _, shards := range shardCounts {
			if err := b.profileLevada(ctx, shards); err != nil {
				return fmt.Errorf("profile with %d shards: %w", shards, err)
			}
		}
	}
	return nil
}

// once measures one system with each number of shards, on one cluster.
func (a appending) once(ctx context.Context, b *bench, s system, c cluster, modes map[int]mode, shardCounts []int, run int) error {
	for i, shards := range shardCounts {
		w, err := c.writer(ctx, target{shards, a.size, modes[shards]})
		if err != nil {
			return err
		}
		resetPeaks(c.processes())
		volume := int64(0)
		if i == 0 && s.prewarm {
			volume = b.options.prewarm << 20
		}
		t, err := flood(ctx, c, w, warmup{b.options.warmup, volume}, b.options.duration)
		w.close()
		if err != nil {
			return fmt.Errorf("%d shards: %w", shards, err)
		}
		t.Row, t.System, t.Settings, t.Shards, t.Run = a.name, s.name, s.describe(modes[shards]), shards, run
		b.report.Throughput = append(b.report.Throughput, t)
		b.say("%s run %d: %s, %d shards: %.1f MB/s", a.name, run, s.name, shards, t.MBps)
	}
	return nil
}

// warmup is what comes before a measurement: at least so long and so many bytes.
type warmup struct {
	duration time.Duration
	bytes    int64
}

func (w warmup) run(ctx context.Context, to writer, acked *atomic.Int64) error {
	if err := pause(ctx, w.duration); err != nil {
		return err
	}
	for end := time.Now().Add(volumeMax(w.bytes)); acked.Load()*int64(to.size()) < w.bytes && time.Now().Before(end); {
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
	return nil
}

// flood loads a cluster and measures what happens after a warm-up.
func flood(ctx context.Context, c cluster, w writer, before warmup, duration time.Duration) (t throughput, err error) {
	debug.FreeOSMemory() // the generator starts each run alike
	var acked atomic.Int64
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.flood(loading, &acked) }()
	defer func() {
		stop()
		if floodErr := <-ended; err == nil {
			err = floodErr
		}
	}()
	if err := before.run(ctx, w, &acked); err != nil {
		return t, err
	}
	if t.usage, err = meter(ctx, c, &acked, time.Now(), duration, w.size()); err != nil {
		return t, err
	}
	t.PeakMax, t.PeakSum, err = peaks(c.processes())
	return t, err
}

func (a appending) print(w io.Writer, all []throughput) {
	fmt.Fprintf(w, "\n%s: %s; medians of the runs\n\n", strings.ToUpper(a.name), a.title)
	rows := [][]string{{"shards", "system", "MB/s", "lowest–highest", "records/s", "Levada is", "CPU s/GB servers", "client", "cores busy", "peak MiB largest node", "all nodes"}}
	groups := groupBy(all, func(t throughput) onShards { return onShards{t.Shards, t.System} })
	sortByShards(groups)
	speed := func(t throughput) float64 { return t.MBps }
	own := map[int]float64{} // Levada's, by number of shards
	var lines []writtenLine
	for _, g := range groups {
		if g.key.system == "levada" {
			own[g.key.shards] = g.median(speed)
		}
		lines = append(lines, writtenLine{fmt.Sprint(g.key.shards), g.key.system, columnOf(g.runs, func(t throughput) amplification { return t.Written })})
	}
	for _, g := range groups {
		rows = append(rows, []string{
			fmt.Sprint(g.key.shards), g.key.system, number(g.median(speed), 1), g.span(speed, 1),
			number(g.median(func(t throughput) float64 { return t.perSecond() }), 0), ratioTo(g.key.system, own[g.key.shards], g.median(speed)),
			number(g.median(func(t throughput) float64 { return t.ServerCPU }), 2), number(g.median(func(t throughput) float64 { return t.ClientCPU }), 2),
			number(g.median(func(t throughput) float64 { return t.CoresBusy }), 2),
			mebibytes(int64(g.median(func(t throughput) float64 { return float64(t.PeakMax) }))),
			mebibytes(int64(g.median(func(t throughput) float64 { return float64(t.PeakSum) }))),
		})
	}
	table(w, rows)
	printWritten(w, "shards", lines)
	fmt.Fprintln(w)
	if a.name == p11().name {
		printScaling(w, groups)
	}
	for _, g := range groups {
		fmt.Fprintf(w, "- %s, %d shards: %s\n", g.key.system, g.key.shards, g.runs[0].Settings)
	}
}

// printScaling says what becomes of each system's throughput with more shards.
func printScaling(w io.Writer, groups []group[onShards, throughput]) {
	for _, system := range groupBy(groups, func(g group[onShards, throughput]) string { return g.key.system }) {
		speed := func(g group[onShards, throughput]) float64 {
			return g.median(func(t throughput) float64 { return t.MBps })
		}
		few := system.runs[0]
		for _, many := range system.runs[1:] {
			fmt.Fprintf(w, "- %s: %.0f %% of the throughput at %d shards is left at %d\n", system.key, 100*speed(many)/speed(few), few.key.shards, many.key.shards)
		}
	}
}
