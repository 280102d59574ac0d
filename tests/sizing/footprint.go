package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// footprint is what one node occupies, the mean of all.
type footprint struct {
	what                  string
	resident, heap, stack float64 // bytes
	goroutines, cores     float64
	files, sockets        float64 // descriptors
	disk                  float64 // bytes allocated below the data directory, but for the journal
}

// measure rests, measures CPU for a while, and then the rest.
func (r *rig) measure(ctx context.Context, what string, o idleOptions) (footprint, error) {
	f := footprint{what: what}
	if err := pause(ctx, o.settle); err != nil {
		return f, err
	}
	before, err := r.cpu()
	if err != nil {
		return f, err
	}
	start := time.Now()
	if err := pause(ctx, o.over); err != nil {
		return f, err
	}
	after, err := r.cpu()
	if err != nil {
		return f, err
	}
	share := 1 / float64(len(r.nodes))
	f.cores = (after - before).Seconds() / time.Since(start).Seconds() * share
	for _, n := range r.nodes {
		if err := r.add(ctx, &f, n, share); err != nil {
			return f, fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return f, nil
}

// add adds a share of one node's figures.
func (r *rig) add(ctx context.Context, f *footprint, n devNode, share float64) error {
	page, err := fetch(ctx, n)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		into *float64
	}{
		{"process_resident_memory_bytes", &f.resident},
		{"go_memstats_heap_inuse_bytes", &f.heap},
		{"go_memstats_stack_inuse_bytes", &f.stack},
		{"go_goroutines", &f.goroutines},
	} {
		v, err := metric(page, m.name)
		if err != nil {
			return err
		}
		*m.into += v * share
	}
	data := filepath.Join(r.dir, n.Name)
	files, sockets, err := descriptors(n.PID, data)
	if err != nil {
		return err
	}
	f.files, f.sockets = f.files+float64(files)*share, f.sockets+float64(sockets)*share
	disk, err := diskBytes(data)
	f.disk += float64(disk) * share
	return err
}

var errNoMetric = errors.New("not in /metrics")

// metric finds the value of a metric without labels.
func metric(page, name string) (float64, error) {
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s: %w", name, errNoMetric)
}

// descriptors counts the open files below data and the sockets of a process.
func descriptors(pid int, data string) (files, sockets int, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(target, data+"/"):
			files++
		case strings.HasPrefix(target, "socket:"):
			sockets++
		}
	}
	return files, sockets, nil
}

// diskBytes sums what the system has allocated, the journal apart: its size is a setting.
func diskBytes(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "journal" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum, err
}

// cpu sums the CPU time of all nodes.
func (r *rig) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, n := range r.nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID))
		if err != nil {
			return 0, err
		}
		d, err := cpuTime(string(text))
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

var errStat = errors.New("not the format of /proc/PID/stat")

// cpuTime reads the user and kernel time of a process from its /proc/PID/stat, in hundredths of a second.
func cpuTime(stat string) (time.Duration, error) {
	_, rest, ok := cutLast(stat, ")") // the name before it may hold anything
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errStat
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errStat, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// printFootprints writes one row per step and what each replica adds to the step before.
func printFootprints(out io.Writer, steps []footprint, replicas int) {
	fmt.Fprintln(out, "| a node, mean of three | resident MB | heap MB | stacks MB | goroutines | CPU cores | open data files | sockets | disk MB beside the journal |\n|---|---|---|---|---|---|---|---|---|")
	for _, f := range steps {
		fmt.Fprintf(out, "| %s | %.1f | %.1f | %.1f | %.0f | %.3f | %.0f | %.0f | %.1f |\n",
			f.what, f.resident/1e6, f.heap/1e6, f.stack/1e6, f.goroutines, f.cores, f.files, f.sockets, f.disk/1e6)
	}
	fmt.Fprintln(out, "\n| per replica, more than the step before | resident KB | heap KB | stacks KB | goroutines | CPU cores per 1,000 | open data files | disk KB |\n|---|---|---|---|---|---|---|---|")
	per := float64(replicas) // three replicas on three nodes: as many on each as there are shards
	for i := 1; i < len(steps); i++ {
		a, b := steps[i-1], steps[i]
		fmt.Fprintf(out, "| %s | %.1f | %.1f | %.1f | %.2f | %.3f | %.2f | %.1f |\n", b.what, (b.resident-a.resident)/1e3/per, (b.heap-a.heap)/1e3/per,
			(b.stack-a.stack)/1e3/per, (b.goroutines-a.goroutines)/per, (b.cores-a.cores)*1000/per, (b.files-a.files)/per, (b.disk-a.disk)/1e3/per)
	}
}
