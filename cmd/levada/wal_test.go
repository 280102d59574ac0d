package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal"
	"github.com/levada-stream/levada/wal/record"
)

// newShardLog makes a log of three blocks of four records, one segment each, as a node that was killed leaves it.
func newShardLog(t *testing.T) (dir string, segments []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "log")
	w := wal.NewWriter(wal.WriterOptions{})
	l, err := wal.Open(vfs.OS(), dir, wal.Options{Group: 7, Shard: 3, SegmentBytes: 8 << 10, Writer: w})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		b := record.NewBuilder(0)
		for range 4 {
			if err := b.Add(record.Record{Key: []byte("k"), Data: make([]byte, 1000)}); err != nil {
				t.Fatal(err)
			}
		}
		block := wal.Block{First: 4 * n, Count: 4, Time: int64(n), Index: n + 1, Payload: [][]byte{b.Finish(record.ProducerID{}, 0, false)}}
		if _, err := l.Append(block); err != nil {
			t.Fatal(err)
		}
		if err := l.Flush(t.Context(), block.End()); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range l.Segments() {
		segments = append(segments, s.Path)
	}
	if err := l.Abandon(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(segments) != 3 {
		t.Fatalf("segments %q", segments)
	}
	return dir, segments
}

func editFile(t *testing.T, name string, edit func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, edit(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWALVerifyStates(t *testing.T) {
	tear := func(b []byte) []byte { return b[:4096+3000] }
	flip := func(b []byte) []byte { b[4096+2000] ^= 1; return b }
	version := func(b []byte) []byte { return append([]byte("LVSEGMT2"), b[8:]...) }
	for _, c := range []struct {
		name   string
		nth    int
		edit   func([]byte) []byte
		states []string
		code   int
	}{
		{"whole", 2, slices.Clone[[]byte], []string{"good", "good", "good"}, 0},
		{"torn", 2, tear, []string{"good", "good", "torn"}, 0},
		{"flipped", 1, flip, []string{"good", "damaged", "good"}, 1},
		{"cut short, not the last", 1, tear, []string{"good", "damaged", "good"}, 1},
		{"no segment", 0, version, []string{"damaged", "good", "good"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, segments := newShardLog(t)
			editFile(t, segments[c.nth], c.edit)
			table := command(t.Context(), "", "wal", "verify", dir)
			asJSON := command(t.Context(), "", "wal", "verify", dir, "-o", "json")
			if table.code != c.code || asJSON.code != c.code {
				t.Errorf("codes %d and %d, want %d", table.code, asJSON.code, c.code)
			}
			var report walReportView
			if err := json.Unmarshal([]byte(asJSON.out), &report); err != nil {
				t.Fatal(err)
			}
			var states []string
			for _, s := range report.Segments {
				states = append(states, s.State)
			}
			if diff := cmp.Diff(c.states, states); diff != "" || report.OK != (c.code == 0) {
				t.Errorf("ok %t, states (-want +got):\n%s", report.OK, diff)
			}
			rows := regexp.MustCompile(`(?m)(good|torn|damaged|unreadable)$`).FindAllString(table.out, -1)
			if diff := cmp.Diff(c.states, rows); diff != "" {
				t.Errorf("the table's states (-want +got):\n%s\n%s", diff, table.out)
			}
			if c.code == 0 {
				return
			}
			for _, want := range []string{segments[c.nth], "at byte", "move the directory aside"} {
				if !strings.Contains(table.err, want) {
					t.Errorf("%q does not say %q", table.err, want)
				}
			}
			dumped := command(t.Context(), "", "wal", "dump", dir)
			if dumped.code != c.code || !strings.Contains(dumped.err, segments[c.nth]) {
				t.Errorf("dump ends with %d: %s", dumped.code, dumped.err)
			}
		})
	}
}

// TestWALVerifyUnreadable: what cannot be read is neither good nor known to be damaged.
func TestWALVerifyUnreadable(t *testing.T) {
	dir, segments := newShardLog(t)
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(segments[1], 0o700); err != nil {
		t.Fatal(err)
	}
	o := command(t.Context(), "", "wal", "verify", dir)
	if o.code != exitFailed || strings.Count(o.out, "unreadable\n") != 1 || strings.Contains(o.out, "damaged") || !strings.Contains(o.err, segments[1]) {
		t.Errorf("%+v", o)
	}
}

func TestWALWithoutSegments(t *testing.T) {
	dir := t.TempDir()
	verify := command(t.Context(), "", "wal", "verify", dir)
	dump := command(t.Context(), "", "wal", "dump", dir)
	if verify != dump || verify.code != exitFailed || verify.out != "" || !strings.Contains(verify.err, "DATA/groups/GROUP/log") {
		t.Errorf("verify: %+v\ndump: %+v", verify, dump)
	}
}

func TestWALDumpFrom(t *testing.T) {
	dir, _ := newShardLog(t)
	o := command(t.Context(), "", "wal", "dump", dir, "--records", "--from", "6")
	var ordinals []string
	for _, m := range regexp.MustCompile(`(?m)^record +(\d+)`).FindAllStringSubmatch(o.out, -1) {
		ordinals = append(ordinals, m[1])
	}
	if diff := cmp.Diff([]string{"6", "7", "8", "9", "10", "11"}, ordinals); diff != "" || o.code != 0 {
		t.Errorf("code %d, records (-want +got):\n%s", o.code, diff)
	}
}
