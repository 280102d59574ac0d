package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// options are the flags.
type options struct {
	rows       []string
	dir        string
	levada     string
	results    string
	profiles   string
	plots      string
	kinesalite string // directory
	basePort   int
	callers    int
	peers      bool

	runs       int
	duration   time.Duration
	warmup     time.Duration
	tune       time.Duration
	prewarm    int64
	shards     string
	manyShards string
	manyPeers  bool
	readMiB    int64

	active     int
	rates      string
	rateShards int
	rateTime   time.Duration
	pushShards string
	pushShare  float64
	coldMiB    int64

	idleShards string
	settle     time.Duration
	idle       time.Duration

	restartShards   int
	restartMiB      int64
	restartFreshMiB int64

	kills      int
	killShards int
	killPace   time.Duration

	soak soakOptions
}

func parseOptions(arguments []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	o.generalFlags(f)
	o.rowFlags(f)
	o.soak.flags(f)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: go run . [flags] all | ROW …")
		for _, r := range allRows() {
			fmt.Fprintf(f.Output(), "  %-5s %s\n", r.name, r.what)
		}
		f.PrintDefaults()
	}
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	o.rows = f.Args()
	if len(o.rows) == 0 {
		f.Usage()
		return o, errors.New("name at least one row")
	}
	if len(o.rows) == 1 && o.rows[0] == "all" {
		o.rows = nil
		for _, r := range allRows() {
			o.rows = append(o.rows, r.name)
		}
	}
	for _, name := range o.rows {
		if _, ok := rowOf(name); !ok {
			return o, fmt.Errorf("unknown row %q", name)
		}
	}
	return o, o.validate()
}

func (o *options) generalFlags(f *flag.FlagSet) {
	f.StringVar(&o.dir, "dir", "", "directory for data, on the disk to measure; a new one below it is deleted at the end (default: the system's temporary directory)")
	f.StringVar(&o.levada, "levada", "", "levada binary (default: built from this tree)")
	f.StringVar(&o.results, "results", "results.json", "file for the results")
	f.StringVar(&o.profiles, "profile", "", "directory for profiles of Levada's leader node and of the client, from a run of p1 of its own that counts for nothing else")
	f.StringVar(&o.plots, "plots", "", "directory for plots, in SVG")
	f.IntVar(&o.basePort, "base-port", 31000, "first of 30 ports")
	f.IntVar(&o.callers, "callers", 2, "goroutines that put records into Levada's producer, or that offer records by a schedule to any system (p1, p2, p4, p8, p11, p14, soak)")
	f.BoolVar(&o.peers, "peers", true, "measure the peers too")
	f.IntVar(&o.runs, "runs", 5, "runs per system (all but p9, p13 and soak)")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "measured part of a run (all but p5, p6, p9, p12, p13, p14 and soak)")
	f.DurationVar(&o.warmup, "warmup", 1500*time.Millisecond, "part of a run before that")
	f.DurationVar(&o.tune, "tune", time.Second, "how long each setting of a system is tried, where there are several (p1, p2, p4, p8, p11, p14)")
	f.Int64Var(&o.prewarm, "prewarm", 1280, "MiB that each new Levada cluster takes before it is measured, so that its journal's files are in their second round; 0 measures a new cluster (p1, p2, p4, p8, p10, p11, p14)")
}

func (o *options) rowFlags(f *flag.FlagSet) {
	f.StringVar(&o.shards, "shards", "1,16", "numbers of shards (p1, p2, p4, p7)")
	f.StringVar(&o.kinesalite, "kinesalite", "", "directory in which npm has installed kinesalite, to be measured beside (p7)")
	f.StringVar(&o.manyShards, "many-shards", "16,256", "numbers of shards whose throughputs are compared (p11)")
	f.BoolVar(&o.manyPeers, "many-peers", false, "measure the peers in p11 too: hundreds of NATS streams take minutes to create and to tune, and stall under some settings")
	f.Int64Var(&o.readMiB, "read", 1024, "MiB that are written and then read (p5)")
	f.IntVar(&o.active, "active", 200, "shards, with one caller each (p10)")
	f.StringVar(&o.rates, "rates", "20,50,100", "loads in MB/s (p14)")
	f.IntVar(&o.rateShards, "rate-shards", 16, "shards that the load is spread over (p14)")
	f.DurationVar(&o.rateTime, "rate-duration", 10*time.Second, "measured part of each load (p14)")
	f.StringVar(&o.pushShards, "push-shards", "1,16", "numbers of shards (p8)")
	f.Float64Var(&o.pushShare, "push-share", 0.1, "load as a share of the throughput measured just before (p8)")
	f.Int64Var(&o.coldMiB, "cold", 2048, "MiB that are written and then read cold (p6)")
	f.StringVar(&o.idleShards, "idle-shards", "100,1000", "numbers of idle shards (p9)")
	f.DurationVar(&o.settle, "settle", 15*time.Second, "wait before idling counts (p9)")
	f.DurationVar(&o.idle, "idle", 30*time.Second, "how long idling is measured (p9)")
	f.IntVar(&o.restartShards, "restart-shards", 1000, "shards (p12)")
	f.Int64Var(&o.restartMiB, "restart-data", 9537, "MiB that each node holds before its first restart; the disk must have room for three times as much, and for the journals (p12)")
	f.Int64Var(&o.restartFreshMiB, "restart-fresh", 128, "MiB that are written right before each restart (p12)")
	f.IntVar(&o.kills, "kills", 10, "kills (p13)")
	f.IntVar(&o.killShards, "kill-shards", 12, "shards, with one writer each (p13)")
	f.DurationVar(&o.killPace, "kill-pace", 5*time.Millisecond, "pause between two records of a writer (p13)")
}

func (o *options) validate() error {
	for _, c := range []struct {
		flag string
		ok   bool
	}{
		{"runs", o.runs >= 1},
		{"callers", o.callers >= 1},
		{"restart-shards", o.restartShards >= 1},
		{"restart-data", o.restartMiB >= 1},
		{"restart-fresh", o.restartFreshMiB >= 1},
		{"kills", o.kills >= 1},
		{"kill-shards", o.killShards >= 1},
		{"active", o.active >= 1},
		{"rate-shards", o.rateShards >= 1},
		{"rate-duration", o.rateTime > 0},
		{"push-share", o.pushShare > 0},
		{"cold", o.coldMiB >= 1},
		{"duration", o.duration > 0},
	} {
		if !c.ok {
			return fmt.Errorf("-%s must be above 0", c.flag)
		}
	}
	return o.soak.validate()
}
