package main

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"strings"
	"testing"
)

// round figures, so that the arithmetic can be done in one's head.
func roundFigures() figures {
	return figures{
		baseMemory: 10, idleMemory: 100, activeMemory: 50, shardState: 1, shardSnapshot: 2, connMemory: 100, clientMemory: 10, trafficMemory: 100,
		baseCPU: 0.1, idleCPU: 0.5, trafficCPU: 4, stateCPU: 10, wakeupMicros: 10,
		writeFactor: 2, idleDisk: 10, activeDisk: 10, baseFiles: 20, dataFiles: 500, connsPerPeer: 6, goroutines: 5, baseGoroutines: 50,
	}
}

func roundCluster() cluster {
	return cluster{
		nodes: 10, shards: 1000, copies: 3, active: 0.5, mbps: 100, clients: 30,
		memory: 1000, cores: 4, diskMBps: 100, descriptors: 1000, replicasMax: 400,
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1) }

func TestLoadOf(t *testing.T) {
	l := loadOf(roundCluster(), roundFigures())
	// 100 led groups greet 200 followers 3⅓ times a second: 666⅔ greetings, 74 to each of 9 peers; with two peers 333⅓ to each.
	frames := 2 * 9 / (9/(2000/3.0) + 0.050)
	measured := 2 * 2 / (2/(2000/3.0) + 0.050)
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"replicas", l.replicas, 300},
		{"leaders", l.leaders, 100},
		{"connections", l.nodeConns, 54},
		{"frames", l.frames, frames},
		{"memory", l.memory, 10 + 30 + 7.5 + 100 + 1 + 2 + 5.4 + 0.3},
		{"cores", l.cores, 0.1 + 0.15 + 0.03*4 + 0.0001 + 2*(frames-measured)*10e-6},
		{"disk writes", l.diskMBps, 60},
		{"disk", l.diskGB, (300*10 + 150*10) / 1e6},
		{"descriptors", l.descriptors, 20 + 150 + 54 + 30},
		{"goroutines", l.goroutines, 1550},
	} {
		if !near(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}

func TestLoadOfEdges(t *testing.T) {
	one := cluster{nodes: 1, shards: 10, copies: 1, active: 1}
	if l := loadOf(one, roundFigures()); l.frames != 0 || l.nodeConns != 0 || l.diskMBps != 0 || l.memory != 10+1+0.5+0.01+0.02 {
		t.Errorf("one node has nobody to talk to and no traffic: %+v", l)
	}
	few := roundCluster()
	few.shards = 1 // hardly a heartbeat to each peer: none finds company
	if l := loadOf(few, roundFigures()); l.frames > 0.4*heartbeatsPerSecond || l.frames < 0.39*heartbeatsPerSecond {
		t.Errorf("frames %v", l.frames)
	}
	crowd := roundCluster()
	crowd.shards = 1e9 // all find company: a write goes out every 50 ms
	if l := loadOf(crowd, roundFigures()); l.frames > 2*9*20 || l.frames < 2*9*19.9 {
		t.Errorf("frames %v", l.frames)
	}
	lost := roundCluster()
	lost.lost = 5
	if l := loadOf(lost, roundFigures()); l.replicas != 600 || l.diskMBps != 120 {
		t.Errorf("with half of the nodes: %+v", l)
	}
	many := roundCluster()
	many.shards, many.active = 10_000, 1
	if l := loadOf(many, roundFigures()); l.descriptors != 20+500+54+30 {
		t.Errorf("open segments are bounded: %v descriptors", l.descriptors)
	}
}

func TestFirstLimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*cluster)
		shards int
		first  string
	}{
		{"replicas", func(*cluster) {}, 1333, "shard replicas"},
		{"memory", func(c *cluster) { c.replicasMax = 1e6 }, 0, "memory"},
		{"CPU", func(c *cluster) { c.replicasMax, c.memory = 1e6, 1e6 }, 0, "CPU"},
		{"disk, whatever the shards", func(c *cluster) { c.mbps = 1000 }, 0, "disk writes"},
		{"descriptors", func(c *cluster) { c.clients = 950 }, 0, "descriptors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := roundCluster()
			c.change(&cl)
			shards, first := shardsUntil(cl, roundFigures())
			if !strings.HasPrefix(first.what, c.first) || (c.shards > 0 && shards != c.shards) {
				t.Fatalf("%s at %d shards", first.what, shards)
			}
			if first.share() <= 1 {
				t.Errorf("%s is not used up: %.3f", first.what, first.share())
			}
			if cl.shards = shards; shards > 0 && uses(cl, loadOf(cl, roundFigures()))[0].share() > 1 {
				t.Errorf("%d shards do not fit", shards)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, strings.Fields("plan -nodes 100 -shards 100000 -mbps 1000 -node-replicas-max 4000")); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"each node has 3000 replicas, leads 1000", "| shard replicas (limits.shard_replicas_max) | 3000 | 4000 | 75 % |", "first limit: "} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("the plan does not say %q:\n%s", says, out.String())
		}
	}
	for _, args := range []string{"", "nonsense", "plan -nodes 2", "plan -active 2", "plan -shards x", "state -nodes 2 -shards 1 -shards-per-stream 1"} {
		if err := run(t.Context(), &out, strings.Fields(args)); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	if err := run(t.Context(), &out, []string{"plan", "-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestStateIsMeasured(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, strings.Fields("state -nodes 6 -shards 40 -shards-per-stream 15")); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"40 shards with 3 replicas in streams of 15 on 6 nodes", "| repair, a node lost |", "20 moves", "plan of one node"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("the table does not say %q:\n%s", says, out.String())
		}
	}
}
