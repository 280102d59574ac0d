package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// volumes is what all servers together have written to their disks since they
// were started, in bytes.
type volumes struct {
	disk int64 // as the kernel counts it

	// By Levada's own counters; parts is false for a system that has none.
	parts     bool
	journal   int64
	relocated int64 // part of journal
	shardLogs int64
	dirty     int64 // of shard logs, in memory now: a debt
}

// amplification is what was written per byte of record data and replica.
type amplification struct {
	All       float64 `json:"all"`
	Parts     bool    `json:"parts_known"`
	Journal   float64 `json:"journal"`
	Relocated float64 `json:"relocated_in_journal"`
	ShardLogs float64 `json:"shard_logs"`
	// Rest is what the node's counters do not tell: above all journal files
	// that are filled with zeros before their first use, and snapshots.
	Rest float64 `json:"rest"`
}

// since returns what was written between two moments per byte of acknowledged
// record data and replica. What waits in memory for its write counts as
// written, so that the moment at which a large piece leaves changes nothing.
func (v volumes) since(before volumes, userBytes int64) amplification {
	if userBytes <= 0 {
		return amplification{}
	}
	per := func(bytes int64) float64 { return float64(bytes) / float64(userBytes) / nodes }
	owed := v.dirty - before.dirty
	a := amplification{All: per(v.disk - before.disk + owed), Parts: v.parts}
	if v.parts {
		a.Journal, a.Relocated = per(v.journal-before.journal), per(v.relocated-before.relocated)
		a.ShardLogs = per(v.shardLogs - before.shardLogs + owed)
		a.Rest = max(0, a.All-a.Journal-a.ShardLogs) // the counters are read a moment after the kernel's
	}
	return a
}

// ioOf sums a counter of /proc/PID/io over processes. write_bytes counts a page
// when it is made dirty in the page cache, or when it is written past it;
// read_bytes counts what had to come from the disk.
func ioOf(all []*process, counter string) (int64, error) {
	sum := int64(0)
	for _, p := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.pid()))
		if err != nil {
			return 0, err
		}
		n, err := ioCounter(string(text), counter)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/io: %w", p.pid(), err)
		}
		sum += n
	}
	return sum, nil
}

func ioCounter(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("no counter %s", name)
}

func (c *natsCluster) volumes(context.Context) (volumes, error) {
	disk, err := ioOf(c.servers, "write_bytes")
	return volumes{disk: disk}, err
}

func (c *levadaCluster) volumes(ctx context.Context) (v volumes, err error) {
	v.parts = true
	if v.disk, err = ioOf(c.processes(), "write_bytes"); err != nil {
		return v, err
	}
	for _, n := range c.nodes {
		page, err := fetch(ctx, "http://"+n.http+"/metrics")
		if err != nil {
			return v, err
		}
		for name, sum := range map[string]*int64{
			"levada_journal_bytes_total":           &v.journal,
			"levada_journal_relocated_bytes_total": &v.relocated,
			"levada_shard_log_bytes_total":         &v.shardLogs,
			"levada_shard_log_dirty_bytes":         &v.dirty,
		} {
			value, err := gauge(page, name)
			if err != nil {
				return v, err
			}
			*sum += int64(value)
		}
	}
	return v, nil
}

// writtenLine is a row of the table of bytes written.
type writtenLine struct {
	at     string // what the row is measured at, such as a number of shards
	system string
	runs   []amplification
}

// printWritten writes the table of bytes written, with medians of the runs. what says what the lines are at.
func printWritten(w io.Writer, what string, lines []writtenLine) {
	fmt.Fprint(w, "\nBytes written to disk per byte of acknowledged record data, for each of the 3 replicas\n\n")
	rows := [][]string{{what, "system", "all", "journal", "of it moved", "shard logs", "rest"}}
	for _, l := range lines {
		of := func(f func(amplification) float64) string { return number(median(column(l.runs, f)), 2) }
		cells := []string{l.at, l.system, of(func(a amplification) float64 { return a.All })}
		if l.runs[0].Parts {
			cells = append(cells, of(func(a amplification) float64 { return a.Journal }), of(func(a amplification) float64 { return a.Relocated }),
				of(func(a amplification) float64 { return a.ShardLogs }), of(func(a amplification) float64 { return a.Rest }))
		} else {
			cells = append(cells, "–", "–", "–", "–")
		}
		rows = append(rows, cells)
	}
	table(w, rows)
}
