package main

import (
	"math"
	"testing"
)

func TestIOCounter(t *testing.T) {
	const text = "rchar: 5\nwchar: 6\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 7\n"
	for name, want := range map[string]int64{"read_bytes": 4096, "write_bytes": 8192, "cancelled_write_bytes": 7} {
		if got, err := ioCounter(text, name); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, want)
		}
	}
	if _, err := ioCounter(text, "bytes"); err == nil {
		t.Error("the end of a counter's name is no counter")
	}
}

func TestAmplification(t *testing.T) {
	before := volumes{disk: 900, parts: true, journal: 300, relocated: 30, shardLogs: 300, dirty: 600}
	for _, c := range []struct {
		name  string
		after volumes
		want  amplification
	}{
		{
			"all written",
			volumes{disk: 900 + 7200, parts: true, journal: 300 + 3300, relocated: 30 + 300, shardLogs: 300 + 3600, dirty: 600},
			amplification{All: 2.4, Parts: true, Journal: 1.1, Relocated: 0.1, ShardLogs: 1.2, Rest: 0.1},
		},
		{ // the same, but half of the shard logs still waits in memory
			"half waits",
			volumes{disk: 900 + 5400, parts: true, journal: 300 + 3300, relocated: 30 + 300, shardLogs: 300 + 1800, dirty: 600 + 1800},
			amplification{All: 2.4, Parts: true, Journal: 1.1, Relocated: 0.1, ShardLogs: 1.2, Rest: 0.1},
		},
	} {
		got := c.after.since(before, 1000)
		for _, f := range [][2]float64{{got.All, c.want.All}, {got.Journal, c.want.Journal}, {got.Relocated, c.want.Relocated}, {got.ShardLogs, c.want.ShardLogs}, {got.Rest, c.want.Rest}} {
			if math.Abs(f[0]-f[1]) > 1e-9 {
				t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
				break
			}
		}
	}
	if got := (volumes{disk: 3000}).since(volumes{}, 1000); got != (amplification{All: 1}) {
		t.Errorf("a system without counters: %+v", got)
	}
	if got := (volumes{disk: 3000}).since(volumes{}, 0); got != (amplification{}) {
		t.Errorf("nothing acknowledged: %+v", got)
	}
}
