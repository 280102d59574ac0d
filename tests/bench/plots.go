package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writePlots writes a picture of each row that was measured into a directory.
func (r *report) writePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range r.plots() {
		if err := os.WriteFile(filepath.Join(dir, name+".svg"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plots returns the pictures by name.
func (r *report) plots() map[string]string {
	out := map[string]string{}
	for _, row := range groupBy(r.Throughput, func(t throughput) string { return t.Row }) {
		groups := groupBy(row.runs, func(t throughput) onShards { return onShards{t.Shards, t.System} })
		sortByShards(groups)
		bars := barsOf(groups, func(t throughput) float64 { return t.MBps }, func(k onShards) (string, string) {
			return fmt.Sprintf("%s, %d shard(s)", k.system, k.shards), k.system
		})
		out[row.key] = barChart(strings.ToUpper(row.key)+": median, lowest and highest of the runs", "record data acknowledged, MB/s", bars)
	}
	if len(r.Reading) > 0 {
		groups := groupBy(r.Reading, func(x reading) [2]string { return [2]string{x.System, x.Settings} })
		bars := barsOf(groups, func(x reading) float64 { return x.MBps }, func(k [2]string) (string, string) {
			how, _, _ := strings.Cut(k[1], " with ")
			return strings.TrimPrefix(k[0], "nats-") + ": " + strings.TrimSuffix(strings.Replace(how, "messages buffered", "", 1), " "), k[0]
		})
		out["p5"] = barChart("P5: median, lowest and highest of the runs", "record data read, MB/s", bars)
	}
	if len(r.Active) > 0 {
		groups := groupBy(r.Active, func(a active) string { return a.System })
		bars := barsOf(groups, func(a active) float64 { return a.perSecond() }, func(k string) (string, string) { return k, k })
		out["p10"] = barChart("P10: median, lowest and highest of the runs", "appends per second", bars)
	}
	if len(r.Paced) > 0 {
		out["p14"] = lineChart(axes{title: "P14: latency from when a record was due; lines end where a system falls behind", x: "load, MB/s", y: "ms", logY: true}, pacedSeries(r.Paced))
	}
	if r.Soak != nil {
		r.Soak.plots(out)
	}
	return out
}

// barsOf makes a bar of each group. name returns its label and what shares its colour.
func barsOf[K comparable, T any](groups []group[K, T], of func(T) float64, name func(K) (label, series string)) []bar {
	var (
		bars  []bar
		known []string
	)
	for _, g := range groups {
		v := column(g.runs, of)
		label, system := name(g.key)
		if !slices.Contains(known, system) {
			known = append(known, system)
		}
		bars = append(bars, bar{label: label, value: median(v), lo: slices.Min(v), hi: slices.Max(v), series: slices.Index(known, system)})
	}
	return bars
}

// pacedSeries are three lines for each system, of the loads it keeps up with.
func pacedSeries(all []paced) []series {
	var lines []series
	for i, system := range groupBy(all, func(p paced) string { return p.System }) {
		p50 := series{name: system.key + " p50", colour: i, dash: "2 4"}
		p99 := series{name: system.key + " p99", colour: i}
		p999 := series{name: system.key + " p99.9", colour: i, dash: "8 4"}
		for _, load := range groupBy(system.runs, func(p paced) float64 { return p.Asked }) {
			if slices.ContainsFunc(load.runs, func(p paced) bool { return p.Behind }) {
				continue
			}
			add := func(s *series, of func(paced) int64) {
				s.points = append(s.points, point{load.key, load.median(func(p paced) float64 { return ms(of(p)) })})
			}
			add(&p50, func(p paced) int64 { return p.P50 })
			add(&p99, func(p paced) int64 { return p.P99 })
			add(&p999, func(p paced) int64 { return p.P999 })
		}
		lines = append(lines, p50, p99, p999)
	}
	return lines
}
