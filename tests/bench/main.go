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
)

// row is one measurement.
type row struct {
	name  string
	what  string
	peers bool // it measures the peers too
	run   func(context.Context, *bench) error
}

// allRows lists the measurements in the order in which "all" makes them.
func allRows() []row {
	return []row{
		{"p1", "append 1 KiB records, batched by the client", true, p1().row},
		{"p2", "append 64 KiB records", true, p2().row},
		{"p3", "one caller, one 1 KiB record at a time", true, latencyRow},
		{"p4", "append 1 KiB records, one per message", true, p4().row},
		{"p5", "read from the start, just after writing", true, readRow},
		{"p6", "read from the start, cold", false, coldRow},
		{"p7", "PutRecords through the Kinesis API", true, kinesisRow},
		{"p8", "push latency at a tenth of the throughput", true, pushRow},
		{"p10", "many active shards, one caller each", true, activeRow},
		{"p11", "throughput with many active shards", true, p11().row},
		{"p14", "latency at fixed loads", true, pacedRow},
		{"p9", "idle shards", false, idleRow},
		{"p12", "restart of a node with many shards and much data", false, restartRow},
		{"p13", "kill -9 of a leader", false, failoverRow},
		{"soak", "hours of load with retention and a reader", false, soakRow},
	}
}

func rowOf(name string) (row, bool) {
	all := allRows()
	i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
	if i < 0 {
		return row{}, false
	}
	return all[i], true
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
	b := &bench{options: o, dir: dir, launcher: newLauncher(), ballast: make([]byte, ballastBytes)}
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
	for _, name := range o.rows {
		r, _ := rowOf(name) // parseOptions refused others
		if err := r.run(ctx, b); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	b.report.print(os.Stdout)
	if o.plots != "" {
		errs = append(errs, b.report.writePlots(o.plots))
	}
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
	withPeers := func(name string) bool {
		r, _ := rowOf(name)
		return r.peers
	}
	if b.options.peers && slices.ContainsFunc(b.options.rows, withPeers) {
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
