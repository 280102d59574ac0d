package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "sizing:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: sizing plan|state|idle [flags]; -h after one of them lists its flags")

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("sizing "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "plan":
		c, f := defaultCluster(), measuredFigures()
		c.register(flags)
		f.register(flags)
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return printPlan(out, c, f)
	case "state":
		var size stateSize
		flags.IntVar(&size.nodes, "nodes", 100, "nodes, at least 3")
		flags.IntVar(&size.shards, "shards", 100_000, "shards of all streams")
		flags.IntVar(&size.shardsPerStream, "shards-per-stream", 1000, "shards of each stream")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return measureState(out, size)
	case "idle":
		var o idleOptions
		flags.StringVar(&o.dir, "dir", os.TempDir(), "where the nodes keep their data; on a disk")
		flags.IntVar(&o.basePort, "base-port", 41000, "first of 30 ports")
		flags.IntVar(&o.shards, "shards", 1000, "shards with three replicas, at most what limits.shard_replicas_max allows")
		flags.DurationVar(&o.settle, "settle", 15*time.Second, "rest before each measurement")
		flags.DurationVar(&o.over, "over", 20*time.Second, "how long CPU is measured")
		flags.IntVar(&o.megabytes, "megabytes", 200, "megabytes of records written to measure the disk")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return measureIdle(ctx, out, o)
	}
	return errUsage
}
