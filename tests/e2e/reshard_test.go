package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// TestReshardTour splits, merges and scales a stream from the command line, with lines written before, between and after, and
// reads them back: each once, those of a key in order.
func TestReshardTour(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	s := shell{t, c.Nodes[0].GRPC + "," + c.Nodes[1].GRPC}
	s.must(nil, "stream", "create", "log", "--shards", "2")
	lines := makeLines(12_000)
	written := 0
	put := func() {
		t.Helper()
		s.must(strings.NewReader(text(lines[written:written+2000])), "put", "log", "--key-regex", keyPattern)
		written += 2000
	}
	put()
	half := "170141183460469231731687303715884105728" // 2^127, where shard 1 begins
	quarter := "85070591730234615865843651857942052864"
	if out := s.must(nil, "shard", "split", "log", "0", "--at", quarter, "--reason", "the tour"); !strings.Contains(out, "done") || !strings.Contains(out, "the tour") {
		t.Errorf("split at a key:\n%s", out)
	}
	put()
	s.must(nil, "shard", "split", "log", "1", "--parts", "3")
	s.must(nil, "shard", "split", "log", "2", "--by-load", "--id", "by-load")
	if out := s.must(nil, "shard", "split", "log", "2", "--by-load", "--id", "by-load"); !strings.Contains(out, "by-load") {
		t.Errorf("the same again:\n%s", out)
	}
	put()
	r := s.run(nil, "shard", "merge", "log", "3", "4")
	if r.code != 0 || !strings.Contains(r.out, "merge") || !strings.Contains(r.err, "its id is") {
		t.Errorf("merge: code %d\n%s%s", r.code, r.out, r.err)
	}
	put()
	if out := s.must(nil, "stream", "scale", "log", "5"); !regexp.MustCompile(`open shards +5\n`).MatchString(out) {
		t.Errorf("scale to 5:\n%s", out)
	}
	put()
	s.must(nil, "stream", "scale", "log", "1")
	put()
	sameLines(t, lines, s.must(nil, "read", "log"))

	var shards []struct {
		ID      string   `json:"id"`
		State   string   `json:"state"`
		Parents []string `json:"parents"`
		Start   string   `json:"hash_start"`
	}
	if err := json.Unmarshal([]byte(s.must(nil, "shard", "list", "log", "-o", "json")), &shards); err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, sh := range shards {
		if sh.State == "open" {
			open++
		}
	}
	if open != 1 || len(shards) < 15 {
		t.Errorf("%d shards, %d open", len(shards), open)
	}
	if out := s.must(nil, "shard", "list", "log", "--open"); strings.Count(out, "\n") != 2 {
		t.Errorf("open shards:\n%s", out)
	}
	lineage := s.must(nil, "shard", "lineage", "log")
	for _, want := range []string{"└─ ", "├─ ", "closed 2", "  open", "from 3,4", half} {
		if !strings.Contains(lineage, want) {
			t.Errorf("no %q in the lineage:\n%s", want, lineage)
		}
	}
	if out := s.must(nil, "shard", "lineage", "log", "--at", "2020-01-01T00:00:00Z"); strings.TrimSpace(out) != "" {
		t.Errorf("lineage before there was a stream:\n%s", out)
	}
	if out := s.must(nil, "shard", "reshards", "log", "--limit", "3"); strings.Count(out, "\n") != 4 {
		t.Errorf("three reshards:\n%s", out)
	}
	if out := s.must(nil, "shard", "load", "log", fmt.Sprint(len(shards)-1)); !strings.Contains(out, "samples") {
		t.Errorf("load:\n%s", out)
	}
}

// TestReshardRefusals: what the command line refuses, and what it says.
func TestReshardRefusals(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	s := shell{t, c.Nodes[0].GRPC}
	s.must(nil, "stream", "create", "log", "--shards", "3")
	for _, row := range []struct {
		args string
		code int
		says string
	}{
		{"shard split log 0 --at 1 --parts 2", 2, "--at and --parts can't be used together"},
		{"shard split log 0 --at 1 --by-load", 2, "--by-load"},
		{"shard split log 0 --at 0", 2, "--at: a shard with keys"},
		{"shard split log 0 --at ten", 2, "--at: hash key must be a decimal integer"},
		{"shard split log 0 --parts 257", 2, "--parts"},
		{"shard split log 9", 3, "has no shard 9"},
		{"shard split nolog 0", 3, "nolog"},
		{"shard merge log 0 2", 2, "no neighbours"},
		{"shard merge log 0 0", 2, ""},
		{"shard abort nothing", 3, "there is no reshard"},
		{"stream scale log", 2, "--cancel"},
		{"stream scale log 10001", 2, "shards must be between"},
		{"stream scaling log maybe", 2, "on"},
		{"stream scaling log on --split-after 5s", 2, "--split-after"},
		{"stream scaling log on --min 9 --max 8", 2, "--min"},
		{"stream scaling log on --salt-parts 1", 2, "--salt-parts"},
		{"stream salt log 5 4", 1, "does not permit"},
		{"stream salt log five 4", 2, "HASH-KEY"},
		{"stream problem log slow", 2, "hot-shard"},
		{"stream problem log hot-shard 77", 1, "not open"},
		{"shard load log --window 1s", 2, "--window"},
		{"shard load nolog", 3, "nolog"},
		{"shard list log --open --at 2026-01-01T00:00:00Z", 2, "together"},
		{"shard lineage log --at yesterday", 2, "2026-11-26T05:00:00Z"},
	} {
		r := s.run(nil, strings.Fields(row.args)...)
		if r.code != row.code || !strings.Contains(r.err, row.says) {
			t.Errorf("levada %s: code %d, want %d; it says %q, want %q in it", row.args, r.code, row.code, r.err, row.says)
		}
	}
	if out := s.must(nil, "stream", "scaling", "log", "advise", "--bytes-per-second", "2MiB", "--reason", "to see"); !strings.Contains(out, "advise: 2MiB/s a shard, 1 to 256 shards") {
		t.Errorf("a policy:\n%s", out)
	}
	if out := s.must(nil, "stream", "scaling", "log"); !strings.Contains(out, "mode advise: to see") {
		t.Errorf("the events:\n%s", out)
	}
	if out := s.must(nil, "stream", "create", "lazy", "--on-demand"); !strings.Contains(out, "on (on demand)") {
		t.Errorf("on demand:\n%s", out)
	}
	if out := s.must(nil, "stream", "problem", "lazy", "lag"); !strings.Contains(out, "split") {
		t.Errorf("a problem:\n%s", out)
	}
}
