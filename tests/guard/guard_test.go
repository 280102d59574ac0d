package main

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const printed = `goos: linux
pkg: github.com/levada-stream/levada/journal
BenchmarkEncode/file=direct/known=true-2         	    8000	      6500 ns/op	38940.50 MB/s	       5 B/op	       0 allocs/op
BenchmarkAppend/disk=real/callers=16-2           	     350	    201663 ns/op	  20.31 MB/s	         7.955 entries/round	    1090 B/op	       7 allocs/op
BenchmarkBroken
PASS
`

func TestParse(t *testing.T) {
	want := map[string]reading{
		"Encode/file=direct/known=true": {"ns/op": 6500, "MB/s": 38940.5, "B/op": 5, "allocs/op": 0},
		"Append/disk=real/callers=16":   {"ns/op": 201663, "MB/s": 20.31, "entries/round": 7.955, "B/op": 1090, "allocs/op": 7},
	}
	if d := cmp.Diff(want, parse(printed)); d != "" {
		t.Error(d)
	}
}

func TestFastestRunCounts(t *testing.T) {
	r := reading{}
	for _, by := range []reading{{"ns/op": 30, "B/op": 1}, {"ns/op": 20, "B/op": 5}, {"ns/op": 25}} {
		r.improve(by)
	}
	if d := cmp.Diff(reading{"ns/op": 20, "B/op": 1}, r); d != "" {
		t.Error(d)
	}
}

func TestJudge(t *testing.T) {
	subject, reference := bench{pkg: "p", name: "a"}, bench{pkg: "p", name: "b"}
	timed := beside("x", 1.5, subject, reference)
	for _, c := range []struct {
		name   string
		row    row
		got    reading
		broken bool
	}{
		{"as fast as it must be", timed, reading{"ns/op": 150}, false},
		{"slower", timed, reading{"ns/op": 151}, true},
		{"not measured", timed, reading{"ns/op": math.NaN()}, true},
		{"allocates what it may", memory("p", "a", 2, 1000), reading{"allocs/op": 2, "B/op": 1150}, false},
		{"once more", memory("p", "a", 2, 1000), reading{"allocs/op": 3, "B/op": 1000}, true},
		{"a tenth more and the slack", memory("p", "a", 2, 1000), reading{"allocs/op": 2, "B/op": 1165}, true},
	} {
		v := c.row.judge(map[bench]reading{subject: c.got, reference: {"ns/op": 100}})
		if v.broken != c.broken {
			t.Errorf("%s: broken is %t: %s", c.name, v.broken, v.text)
		}
	}
}

// TestTableIsSound: a name that is twice in the table, or a limit that is missing, is a slip.
func TestTableIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range table() {
		if seen[r.what] {
			t.Errorf("%q is twice in the table", r.what)
		}
		seen[r.what] = true
		if r.timed() == (r.ratio == 0) {
			t.Errorf("%q has a reference and no ratio, or the reverse", r.what)
		}
		for _, b := range r.benches() {
			for _, part := range strings.Split(pattern(b.name), "/") {
				if _, err := regexp.Compile(part); err != nil || strings.Contains(b.name, "|") {
					t.Errorf("%q: the name %q cannot be asked for: %v", r.what, b.name, err)
				}
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d rows", len(seen))
	}
}

// TestFaultsFit: each fault still fits the sources, and there is a row to notice it; no row names one that is not there.
func TestFaultsFit(t *testing.T) {
	t.Chdir("../..")
	noticed, known := map[string]bool{}, map[string]bool{}
	for _, r := range table() {
		if r.notices != "" {
			noticed[r.notices] = true
		}
	}
	for _, lot := range lots() {
		if _, err := writeOverlay(t.TempDir(), lot); err != nil {
			t.Error(err)
		}
		for name := range lot {
			known[name] = true
		}
	}
	if d := cmp.Diff(known, noticed); d != "" {
		t.Errorf("faults, and those that rows name: %s", d)
	}
}
