package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMetric(t *testing.T) {
	const page = "# HELP go_goroutines Number.\ngo_goroutines_more 7\ngo_goroutines 52\nprocess_resident_memory_bytes 1.5e+07\n"
	if v, err := metric(page, "go_goroutines"); v != 52 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := metric(page, "process_resident_memory_bytes"); v != 15e6 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := metric(page, "levada_streams"); !errors.Is(err, errNoMetric) {
		t.Errorf("a metric that is not there: %v", err)
	}
}

func TestCPUTime(t *testing.T) {
	const stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1"
	if d, err := cpuTime(stat); d != 3*time.Second || err != nil {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{"", "7 (a) S 1", strings.Replace(stat, "250", "x", 1)} {
		if _, err := cpuTime(bad); !errors.Is(err, errStat) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDiskBytesLeavesOutTheJournal(t *testing.T) {
	dir := t.TempDir()
	empty, err := diskBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"journal/1.seg", "groups/1/log/0.seg"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, 1<<20), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := diskBytes(dir); err != nil || got-empty < 1<<20 || got-empty >= 2<<20 {
		t.Errorf("%d bytes, %d before: %v", got, empty, err)
	}
}

func TestPrintFootprints(t *testing.T) {
	var out bytes.Buffer
	printFootprints(&out, []footprint{
		{what: "empty", resident: 10e6, goroutines: 50, disk: 1e6},
		{what: "full", resident: 110e6, goroutines: 5050, cores: 0.25, disk: 11e6},
	}, 1000)
	for _, says := range []string{"| full | 110.0 | 0.0 | 0.0 | 5050 | 0.250 | 0 | 0 | 11.0 |", "| full | 100.0 | 0.0 | 0.0 | 5.00 | 0.250 | 0.00 | 10.0 |"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("no row %q in:\n%s", says, out.String())
		}
	}
}
