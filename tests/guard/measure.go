package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// bench names a benchmark, with the length of one run.
type bench struct {
	pkg  string // path from the module's root
	name string // without "Benchmark"
	time string // -benchtime; empty means runTime
}

// runTime is the length of one run: short ones fit between the work of others, and many of them one does.
const runTime = "20ms"

// reading is what one run of a benchmark printed, by unit.
type reading map[string]float64

// measurer runs benchmarks and remembers the best of each.
type measurer struct {
	binaries map[string]string // by package
	best     map[bench]reading
}

// build compiles the tests of all packages that the rows need.
func build(dir, overlay string, rows []row) (*measurer, error) {
	m := &measurer{binaries: map[string]string{}, best: map[bench]reading{}}
	args := []string{"test", "-c", "-o", dir + string(filepath.Separator)}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	for _, r := range rows {
		for _, b := range r.benches() {
			m.binaries[b.pkg] = filepath.Join(dir, path.Base(b.pkg)+".test")
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(m.binaries)) {
		args = append(args, "./"+pkg)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	return m, nil
}

// measure runs the benchmarks of the rows so many times, all of them once before any of them again.
func (m *measurer) measure(rows []row, rounds int) error {
	type job struct{ pkg, time string }
	jobs := map[job][]string{}
	wanted := map[bench]bool{}
	for _, r := range rows {
		for _, b := range r.benches() {
			j := job{b.pkg, b.time}
			if pattern := pattern(b.name); !slices.Contains(jobs[j], pattern) {
				jobs[j] = append(jobs[j], pattern)
			}
			wanted[b] = true
		}
	}
	for range rounds {
		for j, patterns := range jobs {
			if err := m.runOnce(j.pkg, j.time, patterns); err != nil {
				return err
			}
		}
	}
	for b := range wanted {
		if m.best[b] == nil {
			return fmt.Errorf("there is no benchmark %s in %s: the table is out of date", b.name, b.pkg)
		}
	}
	return nil
}

// pattern matches exactly one benchmark: -bench takes it apart at the slashes.
func pattern(name string) string {
	parts := strings.Split("Benchmark"+name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// processors is fixed so that the names in the output are.
const processors = 2

func (m *measurer) runOnce(pkg, length string, patterns []string) error {
	run := length
	if run == "" {
		run = runTime
	}
	cmd := exec.Command(m.binaries[pkg], "-test.run=^$", "-test.bench="+strings.Join(patterns, "|"),
		"-test.benchtime="+run, "-test.benchmem", fmt.Sprintf("-test.cpu=%d", processors), "-test.timeout=2m")
	cmd.Dir = filepath.FromSlash(pkg)
	// A benchmark's heap holds next to nothing, so the collector would run every few operations and its work be what is measured.
	cmd.Env = append(os.Environ(), "GOGC=800")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchmarks of %s: %w\n%s", pkg, err, out)
	}
	for name, r := range parse(string(out)) {
		b := bench{pkg, name, length}
		if m.best[b] == nil {
			m.best[b] = reading{}
		}
		m.best[b].improve(r)
	}
	return nil
}

// improve takes the lower of each value: what is measured besides the benchmark adds to all of them, also to what is allocated.
func (r reading) improve(by reading) {
	for unit, v := range by {
		if old, seen := r[unit]; !seen || v < old {
			r[unit] = v
		}
	}
}

// parse reads the lines that the testing package prints for benchmarks.
func parse(out string) map[string]reading {
	all := map[string]reading{}
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(f[0], "Benchmark"), fmt.Sprintf("-%d", processors))
		r := reading{}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				r[f[i+1]] = v
			}
		}
		all[name] = r
	}
	return all
}
