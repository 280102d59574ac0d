package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// throughput is the outcome of one run of P1 or P2.
type throughput struct {
	Row       string  `json:"row"`
	System    string  `json:"system"`
	Settings  string  `json:"settings"`
	Shards    int     `json:"shards"`
	Run       int     `json:"run"`
	Seconds   float64 `json:"seconds"`
	Records   int64   `json:"records"`
	MBps      float64 `json:"mb_per_second"` // 10^6 bytes of record data
	ServerCPU float64 `json:"server_cpu_seconds_per_gb"`
	ClientCPU float64 `json:"client_cpu_seconds_per_gb"`
	CoresBusy float64 `json:"cores_busy"`
	PeakMax   int64   `json:"peak_memory_largest_process_bytes"`
	PeakSum   int64   `json:"peak_memory_all_servers_bytes"`
}

// tuned is how fast a peer was with one setting.
type tuned struct {
	Row    string  `json:"row"`
	System string  `json:"system"`
	Shards int     `json:"shards"`
	Mode   string  `json:"mode"`
	MBps   float64 `json:"mb_per_second"`
	Error  string  `json:"error,omitempty"`
	Kept   bool    `json:"kept"`
}

// prewarmMax bounds how long the volume before the first run may take.
const prewarmMax = time.Minute

// appending is P1 or P2: append records of one size, batched by the client.
type appending struct {
	name string
	size int
}

func (a appending) row(ctx context.Context, b *bench) error {
	shardCounts, err := counts(b.options.shards)
	if err != nil {
		return err
	}
	systems := []system{levadaSystem()}
	if b.options.peers {
		for _, peer := range []struct{ name, sync string }{{"nats-always", "always"}, {"nats-default", ""}} {
			modes := map[int]natsMode{}
			for _, shards := range shardCounts {
				if modes[shards], err = a.tuneNATS(ctx, b, peer.name, peer.sync, shards); err != nil {
					return err
				}
			}
			systems = append(systems, natsSystem(peer.name, peer.sync, modes))
		}
	}
	for run := range b.options.runs {
		for _, s := range systems {
			err := b.with(ctx, s, func(ctx context.Context, c cluster) error { return a.once(ctx, b, s, c, shardCounts, run+1) })
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if b.options.profiles != "" && a.size == recordBytes {
		for _, shards := range shardCounts {
			if err := b.profileLevada(ctx, shards); err != nil {
				return fmt.Errorf("profile with %d shards: %w", shards, err)
			}
		}
	}
	return nil
}

// once measures one system with each number of shards, on one cluster.
func (a appending) once(ctx context.Context, b *bench, s system, c cluster, shardCounts []int, run int) error {
	for i, shards := range shardCounts {
		w, err := c.writer(ctx, shards, a.size)
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
		t.Row, t.System, t.Settings, t.Shards, t.Run = a.name, s.name, s.settings(shards), shards, run
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
	for end := time.Now().Add(prewarmMax); acked.Load()*int64(to.size()) < w.bytes && time.Now().Before(end); {
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
	cpu0, err := cpuOf(c.processes())
	if err != nil {
		return t, err
	}
	own0, start, first := ownCPU(), time.Now(), acked.Load()
	if err := pause(ctx, duration); err != nil {
		return t, err
	}
	last, elapsed, own1 := acked.Load(), time.Since(start), ownCPU()
	cpu1, err := cpuOf(c.processes())
	if err != nil {
		return t, err
	}
	if t.PeakMax, t.PeakSum, err = peaks(c.processes()); err != nil {
		return t, err
	}
	t.Records, t.Seconds = last-first, elapsed.Seconds()
	bytes := float64(t.Records) * float64(w.size())
	t.MBps = bytes / 1e6 / t.Seconds
	t.CoresBusy = (cpu1 - cpu0 + own1 - own0).Seconds() / t.Seconds
	if bytes > 0 {
		t.ServerCPU = (cpu1 - cpu0).Seconds() / bytes * 1e9
		t.ClientCPU = (own1 - own0).Seconds() / bytes * 1e9
	}
	return t, nil
}

// tuneNATS tries each way to publish for a moment, all on one cluster, and returns the fastest.
func (a appending) tuneNATS(ctx context.Context, b *bench, name, sync string, shards int) (natsMode, error) {
	modes := natsModes(shards, a.size)
	outcomes := make([]tuned, len(modes))
	err := b.with(ctx, natsSystem(name, sync, nil), func(ctx context.Context, c cluster) error {
		for i, mode := range modes {
			c.(*natsCluster).modes = map[int]natsMode{shards: mode} // what natsSystem starts
			mbps, err := a.tryMode(ctx, b, c, shards)
			outcomes[i] = tuned{Row: a.name, System: name, Shards: shards, Mode: mode.String(), MBps: mbps}
			if err != nil { // a setting that the server does not take: say so and try the others
				outcomes[i].Error = err.Error()
			}
			b.say("%s tuning: %s, %d shards, %s: %.1f MB/s %s", a.name, name, shards, mode, mbps, outcomes[i].Error)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	if err != nil {
		return natsMode{}, err
	}
	best := -1
	for i, o := range outcomes {
		if o.Error == "" && (best < 0 || o.MBps > outcomes[best].MBps) {
			best = i
		}
	}
	if best < 0 {
		return natsMode{}, fmt.Errorf("%s takes none of the settings", name)
	}
	outcomes[best].Kept = true
	b.report.Tuning = append(b.report.Tuning, outcomes...)
	return modes[best], nil
}

func (a appending) tryMode(ctx context.Context, b *bench, c cluster, shards int) (mbps float64, _ error) {
	w, err := c.writer(ctx, shards, a.size)
	if err != nil {
		return 0, err
	}
	defer w.close()
	t, err := flood(ctx, c, w, warmup{duration: b.options.tune / 2}, b.options.tune)
	return t.MBps, err
}

func (a appending) print(w io.Writer, all []throughput) {
	fmt.Fprintf(w, "\n%s: append %d-byte records, client batching; medians of the runs\n\n", strings.ToUpper(a.name), a.size)
	rows := [][]string{{"shards", "system", "MB/s", "lowest–highest", "records/s", "Levada is", "CPU s/GB servers", "client", "cores busy", "peak MiB largest node", "all nodes"}}
	type group struct {
		shards int
		system string
	}
	var order []group
	runs := map[group][]throughput{}
	for _, t := range all {
		g := group{t.Shards, t.System}
		if runs[g] == nil {
			order = append(order, g)
		}
		runs[g] = append(runs[g], t)
	}
	slices.SortStableFunc(order, func(a, b group) int { return cmp.Compare(a.shards, b.shards) })
	speed := func(g group) []float64 { return column(runs[g], func(t throughput) float64 { return t.MBps }) }
	for _, g := range order {
		of := func(f func(throughput) float64) float64 { return median(column(runs[g], f)) }
		v := speed(g)
		ratio := "–"
		if own := median(speed(group{g.shards, "levada"})); g.system != "levada" && own > 0 && median(v) > 0 {
			ratio = number(own/median(v), 1) + " ×"
		}
		rows = append(rows, []string{
			fmt.Sprint(g.shards), g.system, number(median(v), 1), number(quantile(v, 0), 1) + "–" + number(quantile(v, 1), 1),
			number(of(func(t throughput) float64 { return float64(t.Records) / t.Seconds }), 0), ratio,
			number(of(func(t throughput) float64 { return t.ServerCPU }), 2), number(of(func(t throughput) float64 { return t.ClientCPU }), 2),
			number(of(func(t throughput) float64 { return t.CoresBusy }), 2),
			mebibytes(int64(of(func(t throughput) float64 { return float64(t.PeakMax) }))), mebibytes(int64(of(func(t throughput) float64 { return float64(t.PeakSum) }))),
		})
	}
	table(w, rows)
	fmt.Fprintln(w)
	for _, g := range order {
		fmt.Fprintf(w, "- %s, %d shards: %s\n", g.system, g.shards, runs[g][0].Settings)
	}
}
