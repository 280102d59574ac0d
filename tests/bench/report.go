package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// report is the results file.
type report struct {
	Machine    machine          `json:"machine"`
	Arguments  []string         `json:"arguments"`
	Levada     string           `json:"levada"`
	NATS       string           `json:"nats,omitempty"`
	Throughput []throughput     `json:"throughput,omitempty"` // p1, p2, p4, p7 and p11
	Tuning     []tuned          `json:"tuning,omitempty"`
	Reading    []reading        `json:"p5,omitempty"`
	Latency    []latency        `json:"p3,omitempty"`
	Cold       []coldRead       `json:"p6,omitempty"`
	Push       []push           `json:"p8,omitempty"`
	Active     []active         `json:"p10,omitempty"`
	Paced      []paced          `json:"p14,omitempty"`
	Idle       []idle           `json:"p9,omitempty"`
	Restarts   []restarted      `json:"p12,omitempty"`
	Failover   *failoverSummary `json:"p13,omitempty"`
	Soak       *soak            `json:"soak,omitempty"`
	Failures   []string         `json:"failures,omitempty"` // of peers, in runs that count only as far as they came
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// print writes the tables, in Markdown, ready for a page.
func (r *report) print(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s · %s, %d cores, %d MiB · Linux %s · %s · %s · load average before %s\n", m.Time, m.CPU, m.Cores, m.MemoryMiB, m.Kernel, m.FileSystem, m.Go, m.LoadBefore)
	fmt.Fprintf(w, "Levada: %s · NATS: %s · arguments: %s\n", r.Levada, r.NATS, strings.Join(r.Arguments, " "))
	for _, print := range r.sections() {
		print(w)
	}
	if len(r.Failures) > 0 {
		fmt.Fprintf(w, "\nRuns in which a peer failed, and which count only as far as they came:\n\n")
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "- %s\n", f)
	}
}

// sections are the tables of what was measured, in the order of the rows.
func (r *report) sections() []func(io.Writer) {
	var out []func(io.Writer)
	add := func(measured bool, print func(io.Writer)) {
		if measured {
			out = append(out, print)
		}
	}
	appended := func(a appending) {
		all := slices.DeleteFunc(slices.Clone(r.Throughput), func(t throughput) bool { return t.Row != a.name })
		add(len(all) > 0, func(w io.Writer) { a.print(w, all) })
	}
	appended(p1())
	appended(p2())
	add(len(r.Latency) > 0, r.printLatency)
	appended(p4())
	add(len(r.Reading) > 0, r.printReading)
	add(len(r.Cold) > 0, r.printCold)
	appended(p7())
	add(len(r.Push) > 0, r.printPush)
	add(len(r.Active) > 0, r.printActive)
	appended(p11())
	add(len(r.Paced) > 0, r.printPaced)
	add(len(r.Idle) > 0, r.printIdle)
	add(len(r.Restarts) > 0, r.printRestarts)
	add(r.Failover != nil, func(w io.Writer) { r.Failover.print(w) })
	add(r.Soak != nil, func(w io.Writer) { r.Soak.print(w) })
	return out
}

// onShards is a system with so many shards.
type onShards struct {
	shards int
	system string
}

func sortByShards[T any](groups []group[onShards, T]) {
	slices.SortStableFunc(groups, func(a, b group[onShards, T]) int { return cmp.Compare(a.key.shards, b.key.shards) })
}

// group is runs of the same thing.
type group[K comparable, T any] struct {
	key  K
	runs []T
}

// groupBy puts together what has the same key, in the order in which keys come first.
func groupBy[K comparable, T any](all []T, key func(T) K) []group[K, T] {
	var out []group[K, T]
	for _, x := range all {
		k := key(x)
		i := slices.IndexFunc(out, func(g group[K, T]) bool { return g.key == k })
		if i < 0 {
			i = len(out)
			out = append(out, group[K, T]{key: k})
		}
		out[i].runs = append(out[i].runs, x)
	}
	return out
}

func (g group[K, T]) median(of func(T) float64) float64 { return median(column(g.runs, of)) }

// span is the lowest and the highest of the runs.
func (g group[K, T]) span(of func(T) float64, digits int) string {
	v := column(g.runs, of)
	return number(quantile(v, 0), digits) + "–" + number(quantile(v, 1), digits)
}

// ratioTo says how many times as fast Levada is, of a peer.
func ratioTo(system string, levada, peer float64) string {
	if system == "levada" || levada <= 0 || peer <= 0 {
		return "–"
	}
	return number(levada/peer, 1) + " ×"
}

// table writes rows of cells in Markdown, aligned.
func table(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for i, row := range rows {
		fmt.Fprintf(t, "| %s\t|\n", strings.Join(row, "\t| "))
		if i == 0 {
			fmt.Fprintf(t, "|%s\n", strings.Repeat("---\t|", len(row)))
		}
	}
	_ = t.Flush() // the terminal's errors are nobody's business
}

// median returns the middle value, the mean of the two middle ones if there are two.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// quantile returns the smallest value that a share q of all does not exceed.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

// column extracts a figure of each element.
func column[T any](all []T, of func(T) float64) []float64 { return columnOf(all, of) }

func columnOf[T, U any](all []T, of func(T) U) []U {
	var out []U
	for _, x := range all {
		out = append(out, of(x))
	}
	return out
}

func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

func mebibytes(bytes int64) string { return number(float64(bytes)/(1<<20), 0) }

// counts reads a list of numbers such as "1,16".
func counts(list string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no list of numbers", list)
		}
		out = append(out, n)
	}
	return out, nil
}
