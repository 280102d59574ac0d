package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	nodes       = 3
	recordBytes = 1024 // of a record's data, where a row does not say otherwise
	startMax    = 60 * time.Second
	pollEvery   = 50 * time.Millisecond
)

// mode is one way in which clients can write; each system has its own kind. Its text goes into the report.
type mode fmt.Stringer

// system is something to measure, with its settings.
type system struct {
	name string
	// settings says what differs from the servers' defaults, for the report.
	settings string
	// prewarm asks for a volume of writes before the first measurement.
	prewarm bool
	start   func(ctx context.Context, b *bench, dir string) (cluster, error)
}

// describe says everything about how the system is used.
func (s system) describe(how mode) string { return s.settings + "; " + how.String() }

// contender is a system and the modes of it that a row may use with so many shards, at least one.
type contender struct {
	system
	modes func(shards int) []mode
}

// only makes a contender that has one mode.
func only(s system, how mode) contender { return contender{s, func(int) []mode { return []mode{how} }} }

func levadaContender() contender { return only(levadaSystem(), levadaDefaults()) }

func natsContenders(how natsMode) []contender {
	return columnOf(natsSystems(), func(s system) contender { return only(s, how) })
}

// target is what a writer writes to, and how.
type target struct {
	shards int
	size   int // bytes of a record's data
	how    mode
}

// cluster is a running system.
type cluster interface {
	// processes returns the servers' processes, running or not.
	processes() []*process
	// stop ends what this process runs for the cluster; not the servers.
	stop()
	// writer creates what n shards are in the system, 3 replicas each, and
	// returns what writes records to them.
	writer(ctx context.Context, t target) (writer, error)
	// readers returns the ways to read all of what writer created as n shards.
	readers(shards int) []reader
	// tail reads what is written to n shards from now on, until ctx ends. It calls ready when its readers are
	// about to be at the tail, and got, concurrently, with each record's data.
	tail(ctx context.Context, shards int, ready func(), got func(data []byte)) error
	// volumes returns what the servers have written to their disks since they were started.
	volumes(ctx context.Context) (volumes, error)
}

// writer writes to the shards of a cluster.
type writer interface {
	// size is the length of a record's data.
	size() int
	// flood appends records to all shards as fast as the system
	// takes them, until ctx ends, and adds those acknowledged to acked. It returns when
	// nothing is outstanding any more.
	flood(ctx context.Context, acked *atomic.Int64) error
	// one appends one record to a shard and returns when it is acknowledged. It may be called concurrently.
	one(ctx context.Context, shard int) error
	// send hands over the n-th record of a schedule and waits only for room; n decides where it goes. done is called
	// once, when the record is acknowledged or given up, unless send returns an error. The data are the
	// writer's until then.
	send(ctx context.Context, n uint64, data []byte, done func(shard int, err error)) error
	close()
}

// reader is one way to read.
type reader struct {
	settings string
	// read reads from the start on and adds the records that it has got to got, until these are count.
	read func(ctx context.Context, count int64, got *atomic.Int64) error
}

// bench is what all measurements of a run share.
type bench struct {
	options  options
	dir      string // holds binaries, configurations, data and logs
	levada   string // path of the binary
	nats     string
	launcher *launcher
	report   report
	ballast  []byte // never touched: see ballastBytes
}

// ballastBytes stands for what a program with clients in it holds besides. Without it the garbage collector
// would run for every few megabytes that go through the small heap of this generator, and be part of what
// is measured.
const ballastBytes = 64 << 20

// with runs f on a fresh cluster of the system, and then ends its processes and deletes its files.
func (b *bench) with(ctx context.Context, s system, f func(ctx context.Context, c cluster) error) (err error) {
	dir := filepath.Join(b.dir, s.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := s.start(ctx, b, dir)
	defer func() {
		if c == nil {
			return
		}
		if err != nil && ctx.Err() == nil {
			for _, p := range c.processes() {
				b.say("--- end of the log of %s\n%s", p.name, p.logEnd())
			}
		}
		c.stop()
		// Stopping in order would flush what is about to be deleted.
		var errs []error
		for _, p := range c.processes() {
			errs = append(errs, p.kill())
		}
		err = errors.Join(append(errs, err, os.RemoveAll(dir))...)
		syscall.Sync() // so that the next in turn does not pay for this one's pages
	}()
	if err != nil {
		return err
	}
	return f(ctx, c)
}

// say tells the user what is going on.
func (b *bench) say(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
}

// port returns the address of a port of this run; each node has ten.
func (b *bench) address(node, i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.options.basePort+10*node+i))
}

// await calls check until it returns nil, and fails with its last error when
// max has passed, or with that of the context.
func await(ctx context.Context, max time.Duration, check func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, max)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", max, err)
		case <-tick.C:
		}
	}
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
