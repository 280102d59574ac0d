package main

import (
	"fmt"
	"io"
)

// soakFigure is one series of a soak: a value of each sample.
type soakFigure struct {
	name   string
	digits int
	of     func(soakSample) float64
}

// soakFigures are those of the table. Figures of nodes are sums over all of them.
func soakFigures() []soakFigure {
	nodes := func(of func(nodeSample) float64) func(soakSample) float64 {
		return func(s soakSample) (total float64) {
			for _, n := range s.Nodes {
				total += of(n)
			}
			return total
		}
	}
	mib := func(of func(nodeSample) int64) func(soakSample) float64 {
		return nodes(func(n nodeSample) float64 { return float64(of(n)) / (1 << 20) })
	}
	return []soakFigure{
		{"MB/s acknowledged", 1, func(s soakSample) float64 { return s.MBps }},
		{"p50 ms", 1, func(s soakSample) float64 { return ms(s.P50) }},
		{"p99 ms", 1, func(s soakSample) float64 { return ms(s.P99) }},
		{"p99.9 ms", 1, func(s soakSample) float64 { return ms(s.P999) }},
		{"records that the reader is behind", 0, func(s soakSample) float64 { return float64(s.Lag) }},
		{"cores busy", 2, nodes(func(n nodeSample) float64 { return n.Cores })},
		{"resident MiB", 0, mib(func(n nodeSample) int64 { return n.Resident })},
		{"heap in use MiB", 0, mib(func(n nodeSample) int64 { return n.Heap })},
		{"goroutines", 0, nodes(func(n nodeSample) float64 { return float64(n.Goroutines) })},
		{"open descriptors", 0, nodes(func(n nodeSample) float64 { return float64(n.Descriptors) })},
		{"journal on disk MiB", 0, mib(func(n nodeSample) int64 { return n.JournalBytes })},
		{"journal segments", 0, nodes(func(n nodeSample) float64 { return float64(n.JournalSegments) })},
		{"shard logs on disk MiB", 0, mib(func(n nodeSample) int64 { return n.ShardLogBytes })},
	}
}

// quarters returns the median of the first quarter of the samples and of the last.
func quarters(samples []soakSample, of func(soakSample) float64) (first, last float64) {
	n := max(1, len(samples)/4)
	return median(column(samples[:n], of)), median(column(samples[len(samples)-n:], of))
}

func (s *soak) print(w io.Writer) {
	fmt.Fprintf(w, "\nSoak: %.1f MB/s asked on %d shards that keep %d MiB each, in segments of %d MiB, with one reader of all at the tail\n\n",
		s.Asked, s.Shards, s.Retention>>20, s.Segment>>20)
	if s.Failure != "" {
		fmt.Fprintf(w, "It failed: %s\n\n", s.Failure)
	}
	if len(s.Samples) == 0 {
		return
	}
	rows := [][]string{{"all nodes together", "median of the first quarter", "of the last", "change", "highest"}}
	for _, f := range soakFigures() {
		first, last := quarters(s.Samples, f.of)
		change := "–"
		if first > 0 {
			change = fmt.Sprintf("%+.0f %%", 100*(last/first-1))
		}
		rows = append(rows, []string{f.name, number(first, f.digits), number(last, f.digits), change, number(quantile(column(s.Samples, f.of), 1), f.digits)})
	}
	table(w, rows)
	end := s.Samples[len(s.Samples)-1].Seconds
	fmt.Fprintf(w, "\n- %.0f s, %d samples; latencies of the whole run in ms: p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f; %d records were never offered\n",
		end, len(s.Samples), ms(s.Whole.P50), ms(s.Whole.P99), ms(s.Whole.P999), ms(s.Whole.Max), s.Missed)
	fmt.Fprintf(w, "- %d records were acknowledged, %d read, in order and without gaps\n", sum(s.Stored), sum(s.Read))
}

// plots adds the pictures of the soak.
func (s *soak) plots(out map[string]string) {
	all := func(name string, colour int, of func(soakSample) float64) series {
		line := series{name: name, colour: colour}
		for _, x := range s.Samples {
			line.points = append(line.points, point{x.Seconds / 60, of(x)})
		}
		return line
	}
	eachNode := func(what, dash string, of func(nodeSample) int64, unit float64) []series {
		var lines []series
		for i := range nodes {
			line := series{name: fmt.Sprintf("node %d %s", i+1, what), colour: i, dash: dash}
			for _, x := range s.Samples {
				line.points = append(line.points, point{x.Seconds / 60, float64(of(x.Nodes[i])) / unit})
			}
			lines = append(lines, line)
		}
		return lines
	}
	draw := func(name, title, unit string, logY bool, lines ...series) {
		out["soak-"+name] = lineChart(axes{title: "Soak: " + title, x: "minutes", y: unit, logY: logY}, lines)
	}
	draw("throughput", "record data acknowledged", "MB/s", false, all("acknowledged", 0, func(x soakSample) float64 { return x.MBps }))
	draw("latency", "latency from when a record was due", "ms", true, all("p50", 0, func(x soakSample) float64 { return ms(x.P50) }),
		all("p99", 1, func(x soakSample) float64 { return ms(x.P99) }), all("p99.9", 2, func(x soakSample) float64 { return ms(x.P999) }))
	draw("memory", "memory of the nodes", "MiB", false, append(eachNode("resident", "", func(n nodeSample) int64 { return n.Resident }, 1<<20),
		eachNode("heap", "4 4", func(n nodeSample) int64 { return n.Heap }, 1<<20)...)...)
	draw("disk", "files of the nodes", "MiB", false, append(eachNode("shard logs", "", func(n nodeSample) int64 { return n.ShardLogBytes }, 1<<20),
		eachNode("journal", "4 4", func(n nodeSample) int64 { return n.JournalBytes }, 1<<20)...)...)
	draw("counts", "goroutines and open descriptors", "number", false, append(eachNode("goroutines", "", func(n nodeSample) int64 { return n.Goroutines }, 1),
		eachNode("descriptors", "4 4", func(n nodeSample) int64 { return n.Descriptors }, 1)...)...)
	draw("reader", "records that the reader is behind", "records", false, all("behind", 0, func(x soakSample) float64 { return float64(x.Lag) }))
}
