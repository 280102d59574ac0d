package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/levada-stream/levada/client"
)

func TestFollowerNoticesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name     string
		ordinals []uint64
		wrong    bool
	}{
		{"in order", []uint64{0, 1, 2}, false},
		{"a gap", []uint64{0, 2}, true},
		{"twice", []uint64{0, 1, 1}, true},
		{"not from the start", []uint64{1}, true},
	} {
		f := &follower{next: make([]int64, 2)}
		var records []client.Record
		for _, o := range c.ordinals {
			records = append(records, client.Record{Shard: 1, Ordinal: o})
		}
		if err := f.take(records); (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	f := &follower{next: make([]int64, 1)}
	if err := f.take([]client.Record{{Shard: 1}}); err == nil {
		t.Error("a shard that should not exist is not noticed")
	}
}

func TestQuarters(t *testing.T) {
	var samples []soakSample
	for i := range 12 {
		samples = append(samples, soakSample{MBps: float64(i)})
	}
	first, last := quarters(samples, func(s soakSample) float64 { return s.MBps })
	if first != 1 || last != 10 {
		t.Errorf("first %v, last %v", first, last)
	}
	if first, last = quarters(samples[:1], func(s soakSample) float64 { return s.MBps }); first != 0 || last != 0 {
		t.Errorf("one sample: first %v, last %v", first, last)
	}
}

func TestSoakLimits(t *testing.T) {
	o := soakOptions{diskMax: 1, freeMin: 10}
	for _, c := range []struct {
		free, used int64
		text       string
	}{
		{10 << 30, 1 << 30, ""},
		{10<<30 - 1, 0, "free"},
		{10 << 30, 1<<30 + 1, "retention"},
	} {
		err := (soakSample{Free: c.free, Nodes: []nodeSample{{JournalBytes: c.used}}}).withinLimits(o)
		if (err == nil) != (c.text == "") || (err != nil && !strings.Contains(err.Error(), c.text)) {
			t.Errorf("%d free, %d used: %v", c.free, c.used, err)
		}
	}
}

func TestMeasureFiles(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"journal/1.jnl": 8192, "groups/7/log/1.seg": 16384, "groups/7/state": 4096, "node.json": 4096} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(make([]byte, size))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil { // until it is synced a file may occupy nothing
			t.Fatal(err)
		}
	}
	var s nodeSample
	if err := s.measureFiles(dir); err != nil {
		t.Fatal(err)
	}
	if s.JournalBytes < 8192 || s.ShardLogBytes < 16384 || s.OtherBytes < 8192 || s.ShardLogBytes > 64<<10 {
		t.Errorf("%+v", s)
	}
}
