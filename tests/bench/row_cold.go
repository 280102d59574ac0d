package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// coldRead is the outcome of one run of P6.
type coldRead struct {
	Node    string  `json:"node_read_from"`
	Restart float64 `json:"seconds_until_restarted"`
	Files   int     `json:"shard_log_files"`
	// Raw are the disk's own speeds on the same files just before and just after.
	Before rawSpeeds `json:"disk_before"`
	After  rawSpeeds `json:"disk_after"`
	// DiskBytes is what the servers had to fetch from the disk per byte of record data.
	DiskBytes float64 `json:"servers_disk_bytes_per_byte"`
	reading
}

// rawSpeeds are MB per second of reading files past the page cache, 1 MiB at a
// time, with so many reads on their way.
type rawSpeeds struct {
	One  float64 `json:"depth_1_mb_per_second"`
	Four float64 `json:"depth_4_mb_per_second"`
}

// coldRow is P6: read a shard from its start after the servers were restarted
// and the kernel has forgotten their files.
func coldRow(ctx context.Context, b *bench) error {
	s := levadaContender()
	return b.with(ctx, s.system, func(ctx context.Context, c cluster) error {
		l := c.(*levadaCluster) // what levadaContender starts
		w, err := c.writer(ctx, target{1, recordBytes, levadaDefaults()})
		if err != nil {
			return err
		}
		count, err := fill(ctx, w, b.options.coldMiB<<20)
		w.close()
		if err != nil {
			return err
		}
		for run := range b.options.runs {
			r, err := l.coldRun(ctx, count)
			if err != nil {
				return err
			}
			r.System, r.Settings, r.Run = s.name, l.readers(1)[0].settings, run+1
			b.report.Cold = append(b.report.Cold, r)
			b.say("p6 run %d: %.1f MB/s, the disk alone %.1f and %.1f MB/s", r.Run, r.MBps, r.Before.One, r.Before.Four)
		}
		return nil
	})
}

func (c *levadaCluster) coldRun(ctx context.Context, count int64) (r coldRead, err error) {
	begun := time.Now()
	if err := c.restart(ctx); err != nil {
		return r, err
	}
	r.Restart = time.Since(begun).Seconds()
	if err := pause(ctx, calm); err != nil {
		return r, err
	}
	leader, _, err := c.busiest(ctx, streamName(1)) // a reader goes to the leader
	if err != nil {
		return r, err
	}
	r.Node = leader.name
	files, err := filepath.Glob(filepath.Join(c.dir, leader.name, "groups", "*", "log", "*.seg"))
	if err != nil {
		return r, err
	}
	if r.Files = len(files); r.Files == 0 {
		return r, fmt.Errorf("%s has no files of a shard log where they are looked for", leader.name)
	}
	if r.Before, err = rawSpeedsOf(files); err != nil {
		return r, err
	}
	if err := dropCachedBelow(c.dir); err != nil {
		return r, err
	}
	fetched0, err := ioOf(c.processes(), "read_bytes")
	if err != nil {
		return r, err
	}
	if r.reading, err = readOnce(ctx, c, c.readers(1)[0], count); err != nil {
		return r, err
	}
	fetched1, err := ioOf(c.processes(), "read_bytes")
	if err != nil {
		return r, err
	}
	r.DiskBytes = float64(fetched1-fetched0) / float64(count*recordBytes)
	r.After, err = rawSpeedsOf(files)
	return r, err
}

func rawSpeedsOf(files []string) (s rawSpeeds, err error) {
	if err := dropCached(files); err != nil {
		return s, err
	}
	if s.One, err = rawRead(files, 1); err != nil {
		return s, err
	}
	s.Four, err = rawRead(files, 4)
	return s, err
}

// dropCachedBelow makes the kernel forget all files below a directory.
func dropCachedBelow(dir string) error {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a server has just deleted it
			return nil
		case err == nil && d.Type().IsRegular():
			files = append(files, path)
		}
		return err
	})
	return errors.Join(err, dropCached(files))
}

// restart stops all nodes in order and starts them again.
func (c *levadaCluster) restart(ctx context.Context) error {
	if err := stopAll(c.processes()); err != nil {
		return err
	}
	for _, n := range c.nodes {
		p, err := c.b.launcher.start(n.command)
		if err != nil {
			return err
		}
		n.process = p
	}
	return await(ctx, startMax, c.healthy)
}

func (r *report) printCold(w io.Writer) {
	fmt.Fprintf(w, "\nP6: one reader reads one shard of %.1f GB from the start, after a restart of all nodes and with nothing of their files in the page cache "+
		"(posix_fadvise); the disk alone reads the same files with O_DIRECT, 1 MiB at a time, before and after, of which the better counts; medians of the runs\n\n",
		float64(r.Cold[0].Records)*recordBytes/1e9)
	g := groupBy(r.Cold, func(coldRead) string { return "levada" })[0]
	of := func(digits int, f func(coldRead) float64) string { return number(g.median(f), digits) }
	one := func(x coldRead) float64 { return max(x.Before.One, x.After.One) }
	four := func(x coldRead) float64 { return max(x.Before.Four, x.After.Four) }
	speed := func(x coldRead) float64 { return x.MBps }
	table(w, [][]string{
		{"MB/s", "lowest–highest", "disk alone, 1 read at a time", "of it", "4 reads at a time", "of it", "fetched from disk per byte", "CPU s/GB servers", "client", "restart s"},
		{
			of(1, speed), g.span(speed, 1), of(1, one), of(0, func(x coldRead) float64 { return 100 * x.MBps / one(x) }) + " %",
			of(1, four), of(0, func(x coldRead) float64 { return 100 * x.MBps / four(x) }) + " %", of(2, func(x coldRead) float64 { return x.DiskBytes }),
			of(2, func(x coldRead) float64 { return x.ServerCPU }), of(2, func(x coldRead) float64 { return x.ClientCPU }), of(1, func(x coldRead) float64 { return x.Restart }),
		},
	})
}
