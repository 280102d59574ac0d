package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// idle is the outcome of P9 for one number of shards. Differences are to the
// same cluster before the shards were created.
type idle struct {
	Shards               int     `json:"shards"`
	Replicas             int     `json:"replicas"`
	CreateSeconds        float64 `json:"create_seconds"`
	Cores                float64 `json:"cores_all_nodes"`
	CoresBefore          float64 `json:"cores_all_nodes_without_shards"`
	Resident             int64   `json:"rss_all_nodes_bytes"`
	ResidentPerReplica   int64   `json:"rss_added_per_replica_bytes"`
	HeapPerReplica       int64   `json:"heap_in_use_added_per_replica_bytes"`
	Goroutines           int     `json:"goroutines_all_nodes"`
	GoroutinesPerReplica float64 `json:"goroutines_added_per_replica"`
}

// footprint is what all nodes together occupy.
type footprint struct {
	memory     memory
	heap       float64
	goroutines float64
}

// idleRow is P9: shards that nobody writes to.
func idleRow(ctx context.Context, b *bench) error {
	shardCounts, err := counts(b.options.idleShards)
	if err != nil {
		return err
	}
	for _, shards := range shardCounts {
		err := b.with(ctx, levadaSystem(), func(ctx context.Context, c cluster) error {
			return b.idleRun(ctx, c.(*levadaCluster), shards) // what levadaSystem starts
		})
		if err != nil {
			return fmt.Errorf("%d shards: %w", shards, err)
		}
	}
	return nil
}

func (b *bench) idleRun(ctx context.Context, c *levadaCluster, shards int) error {
	out := idle{Shards: shards, Replicas: shards * nodes}
	if err := pause(ctx, b.options.settle/3); err != nil {
		return err
	}
	var err error
	if out.CoresBefore, err = coresOver(ctx, c.processes(), b.options.idle/3); err != nil {
		return err
	}
	before, err := c.footprint(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := c.createStream(ctx, shards); err != nil {
		return err
	}
	out.CreateSeconds = time.Since(start).Seconds()
	if err := await(ctx, startMax, c.healthy); err != nil {
		return err
	}
	if err := pause(ctx, b.options.settle); err != nil {
		return err
	}
	if out.Cores, err = coresOver(ctx, c.processes(), b.options.idle); err != nil {
		return err
	}
	after, err := c.footprint(ctx)
	if err != nil {
		return err
	}
	replicas := float64(out.Replicas)
	out.Resident = after.memory.resident
	out.ResidentPerReplica = int64(float64(after.memory.resident-before.memory.resident) / replicas)
	out.HeapPerReplica = int64((after.heap - before.heap) / replicas)
	out.Goroutines, out.GoroutinesPerReplica = int(after.goroutines), (after.goroutines-before.goroutines)/replicas
	b.report.Idle = append(b.report.Idle, out)
	b.say("p9: %d shards: %.2f cores", shards, out.Cores)
	return nil
}

// coresOver returns how many cores processes keep busy for a while.
func coresOver(ctx context.Context, all []*process, d time.Duration) (float64, error) {
	before, err := cpuOf(all)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := pause(ctx, d); err != nil {
		return 0, err
	}
	after, err := cpuOf(all)
	if err != nil {
		return 0, err
	}
	return (after - before).Seconds() / time.Since(start).Seconds(), nil
}

func (c *levadaCluster) footprint(ctx context.Context) (footprint, error) {
	var f footprint
	for _, n := range c.nodes {
		m, err := memoryOf(n.process)
		if err != nil {
			return f, err
		}
		page, err := fetch(ctx, "http://"+n.http+"/metrics")
		if err != nil {
			return f, err
		}
		goroutines, err := gauge(page, "go_goroutines")
		if err != nil {
			return f, err
		}
		heap, err := gauge(page, "go_memstats_heap_inuse_bytes")
		if err != nil {
			return f, err
		}
		f.memory, f.goroutines, f.heap = f.memory.plus(m), f.goroutines+goroutines, f.heap+heap
	}
	return f, nil
}

func (r *report) printIdle(w io.Writer) {
	fmt.Fprintf(w, "\nP9: idle shards, %d replicas each, all %d nodes together\n\n", nodes, nodes)
	rows := [][]string{{"shards", "replicas", "created in s", "cores busy", "without shards", "RSS MiB", "RSS KB per replica", "heap KB per replica", "goroutines", "per replica"}}
	for _, i := range r.Idle {
		rows = append(rows, []string{
			fmt.Sprint(i.Shards), fmt.Sprint(i.Replicas), number(i.CreateSeconds, 1), number(i.Cores, 3), number(i.CoresBefore, 3), mebibytes(i.Resident),
			number(float64(i.ResidentPerReplica)/1e3, 0), number(float64(i.HeapPerReplica)/1e3, 0), fmt.Sprint(i.Goroutines), number(i.GoroutinesPerReplica, 1),
		})
	}
	table(w, rows)
}
