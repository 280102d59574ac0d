package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// The ways in which a node goes before it is started again.
const (
	killedNode  = "killed (SIGKILL)"
	stoppedNode = "stopped (SIGTERM)"
)

// restarted is the outcome of one run of P12.
type restarted struct {
	Run  int    `json:"run"`
	Node string `json:"node"`
	How  string `json:"how"`
	// Bytes are those of the records that each node holds, without keys and headers.
	Bytes int64 `json:"record_bytes"`
	// Ready is when the node says that it serves, with every replica open; Healthy, when the cluster says that nothing is missing. Both count
	// from the start of the process.
	Ready   float64 `json:"seconds_until_ready"`
	Healthy float64 `json:"seconds_until_healthy"`
	// CPU, Read and Resident are the node's, until it was ready.
	CPU      float64 `json:"cpu_seconds"`
	Read     int64   `json:"disk_bytes_read"`
	Resident int64   `json:"rss_bytes"`
}

// restartRow is P12: a node that holds many shards and much data goes, right after a load, and comes again to a
// kernel that has forgotten its files.
func restartRow(ctx context.Context, b *bench) error {
	return b.with(ctx, levadaSystem(), func(ctx context.Context, c cluster) error {
		w, err := c.writer(ctx, target{b.options.restartShards, recordBytes, levadaDefaults()})
		if err != nil {
			return err
		}
		defer w.close()
		count, err := fill(ctx, w, b.options.restartMiB<<20)
		if err != nil {
			return err
		}
		for run := range b.options.runs {
			for _, how := range []string{killedNode, stoppedNode} {
				// What was written last is not in the shard logs yet, and has to come from the journal.
				fresh, err := fill(ctx, w, b.options.restartFreshMiB<<20)
				if err != nil {
					return err
				}
				count += fresh
				r, err := c.(*levadaCluster).restartOne(ctx, run%nodes, how) // what levadaSystem starts
				if err != nil {
					return fmt.Errorf("run %d, %s: %w", run+1, how, err)
				}
				r.Run, r.Bytes = run+1, count*recordBytes
				b.report.Restarts = append(b.report.Restarts, r)
				b.say("p12 run %d: %s, %s: ready after %.2f s, the cluster healthy after %.2f s", r.Run, r.Node, how, r.Ready, r.Healthy)
			}
		}
		return nil
	})
}

// restartOne ends the i-th node and starts it again.
func (c *levadaCluster) restartOne(ctx context.Context, i int, how string) (r restarted, err error) {
	n := c.nodes[i]
	r.Node, r.How = n.name, how
	if how == killedNode {
		err = n.kill()
	} else {
		err = stopAll([]*process{n.process})
	}
	if err != nil {
		return r, err
	}
	if err := dropCachedBelow(filepath.Join(c.dir, n.name)); err != nil {
		return r, err
	}
	start := time.Now()
	p, err := c.b.launcher.start(n.command)
	if err != nil {
		return r, err
	}
	n.process = p
	err = await(ctx, startMax, func(ctx context.Context) error {
		_, err := fetch(ctx, "http://"+n.http+"/readyz")
		return err
	})
	if err != nil {
		return r, err
	}
	r.Ready = time.Since(start).Seconds()
	own := []*process{p}
	spent, err := cpuOf(own)
	if err != nil {
		return r, err
	}
	if r.Read, err = ioOf(own, "read_bytes"); err != nil {
		return r, err
	}
	m, err := memoryOf(p)
	if err != nil {
		return r, err
	}
	r.CPU, r.Resident = spent.Seconds(), m.resident
	if err := await(ctx, startMax, c.healthy); err != nil {
		return r, err
	}
	r.Healthy = time.Since(start).Seconds()
	return r, nil
}

func (r *report) printRestarts(w io.Writer) {
	fmt.Fprintf(w, "\nP12: a node with %.1f GB of %d-byte records goes, right after a load, and is started again with nothing of its files in the page cache "+
		"(posix_fadvise); times count from the start of the process; medians of the runs\n\n", float64(r.Restarts[0].Bytes)/1e9, recordBytes)
	rows := [][]string{{"the node was", "restarts", "ready after s", "lowest–highest", "cluster healthy after s", "lowest–highest", "CPU s", "read from disk MB", "RSS MiB when ready"}}
	for _, g := range groupBy(r.Restarts, func(x restarted) string { return x.How }) {
		ready, healthy := func(x restarted) float64 { return x.Ready }, func(x restarted) float64 { return x.Healthy }
		rows = append(rows, []string{
			g.key, fmt.Sprint(len(g.runs)), number(g.median(ready), 2), g.span(ready, 2), number(g.median(healthy), 2), g.span(healthy, 2),
			number(g.median(func(x restarted) float64 { return x.CPU }), 2), number(g.median(func(x restarted) float64 { return float64(x.Read) / 1e6 }), 0),
			mebibytes(int64(g.median(func(x restarted) float64 { return float64(x.Resident) }))),
		})
	}
	table(w, rows)
}
