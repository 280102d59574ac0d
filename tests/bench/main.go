package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	rows     []string
	dir      string
	levada   string
	results  string
	profiles string
	basePort int
	callers  int
	peers    bool

	runs     int
	duration time.Duration
	warmup   time.Duration
	tune     time.Duration
	prewarm  int64
	shards   string
	readMiB  int64

	idleShards string
	settle     time.Duration
	idle       time.Duration

	kills      int
	killShards int
	killPace   time.Duration
}

var (
	p1 = appending{"p1", recordBytes}
	p2 = appending{"p2", 64 << 10}
)

// rows are the measurements, by the name that asks for them.
var rows = map[string]func(context.Context, *bench) error{
	"p1": p1.row, "p2": p2.row, "p3": latencyRow, "p5": readRow, "p9": idleRow, "p13": failoverRow,
}

func parseOptions(arguments []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.dir, "dir", "", "directory for data, on the disk to measure; a new one below it is deleted at the end (default: the system's temporary directory)")
	f.StringVar(&o.levada, "levada", "", "levada binary (default: built from this tree)")
	f.StringVar(&o.results, "results", "results.json", "file for the results")
	f.StringVar(&o.profiles, "profile", "", "directory for profiles of Levada's leader node and of the client, from a run of p1 of its own that counts for nothing else")
	f.IntVar(&o.basePort, "base-port", 31000, "first of 30 ports")
	f.IntVar(&o.callers, "callers", 2, "goroutines that put records into Levada's producer (p1)")
	f.BoolVar(&o.peers, "peers", true, "measure the peers too")
	f.IntVar(&o.runs, "runs", 5, "runs per system (p1, p2, p3, p5)")
	f.DurationVar(&o.duration, "duration", 3*time.Second, "measured part of a run (p1, p2, p3)")
	f.DurationVar(&o.warmup, "warmup", 1500*time.Millisecond, "part of a run before that (p1, p2, p3)")
	f.DurationVar(&o.tune, "tune", time.Second, "how long each setting of a peer is tried (p1, p2)")
	f.Int64Var(&o.prewarm, "prewarm", 1280, "MiB that each new Levada cluster takes before p1 measures, so that its journal's files are in their second round; 0 measures a new cluster")
	f.StringVar(&o.shards, "shards", "1,16", "numbers of shards (p1, p2)")
	f.Int64Var(&o.readMiB, "read", 1024, "MiB that are written and then read (p5)")
	f.StringVar(&o.idleShards, "idle-shards", "100,1000", "numbers of idle shards (p9)")
	f.DurationVar(&o.settle, "settle", 15*time.Second, "wait before idling counts (p9)")
	f.DurationVar(&o.idle, "idle", 30*time.Second, "how long idling is measured (p9)")
	f.IntVar(&o.kills, "kills", 10, "kills (p13)")
	f.IntVar(&o.killShards, "kill-shards", 12, "shards, with one writer each (p13)")
	f.DurationVar(&o.killPace, "kill-pace", 5*time.Millisecond, "pause between two records of a writer (p13)")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: go run . [flags] p1 | p2 | p3 | p5 | p9 | p13 …")
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
	for _, r := range o.rows {
		if rows[r] == nil {
			return o, fmt.Errorf("unknown row %q", r)
		}
	}
	if o.runs < 1 || o.callers < 1 || o.kills < 1 || o.killShards < 1 {
		return o, errors.New("-runs, -callers, -kills and -kill-shards must be above 0")
	}
	return o, nil
}

func main() {
	o, err := parseOptions(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures all rows asked for. What was measured is reported even when a later row fails.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "levada-bench-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: o, dir: dir, launcher: newLauncher()}
	defer b.launcher.close()
	b.report.Machine = describeMachine(dir)
	b.report.Arguments = os.Args[1:]
	if memoryBacked(b.report.Machine.FileSystem) {
		return fmt.Errorf("%s is in memory (%s): name a directory on a disk with -dir", dir, b.report.Machine.FileSystem)
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	var errs []error
	for _, r := range o.rows {
		if err := rows[r](ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	b.report.print(os.Stdout)
	return errors.Join(append(errs, b.report.write(o.results))...)
}

// build makes the binaries of the systems asked for. NATS's server is a tool of this module.
func (b *bench) build(ctx context.Context) error {
	b.levada = b.options.levada
	if b.levada == "" {
		b.levada = filepath.Join(b.dir, "bin", "levada")
		if err := build(ctx, filepath.Join("..", ".."), b.levada, "./cmd/levada"); err != nil {
			return err
		}
	}
	absolute, err := filepath.Abs(b.levada)
	if err != nil {
		return err
	}
	b.levada = absolute
	if b.options.peers && slices.ContainsFunc(b.options.rows, func(r string) bool { return r == "p1" || r == "p2" || r == "p3" || r == "p5" }) {
		b.nats = filepath.Join(b.dir, "bin", "nats-server")
		if err := build(ctx, ".", b.nats, "github.com/nats-io/nats-server/v2"); err != nil {
			return err
		}
		b.report.NATS = firstOutput(ctx, b.nats, "--version")
	}
	b.report.Levada = firstOutput(ctx, b.levada, "version")
	return nil
}

func build(ctx context.Context, dir, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s in %s (run this from its own directory): %w\n%s", pkg, dir, err, text)
	}
	return nil
}

// firstOutput returns the first line that a program prints, "unknown" if it fails.
func firstOutput(ctx context.Context, binary string, arguments ...string) string {
	out, err := exec.CommandContext(ctx, binary, arguments...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
