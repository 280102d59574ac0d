package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

// keys is the number of different partition keys.
const keys = 1 << 20

// streamName names the stream of so many shards.
func streamName(shards int) string { return fmt.Sprintf("bench-%d", shards) }

// levadaSystem is Levada with its defaults.
func levadaSystem() system { return levadaTuned("", 0) }

// levadaTuned is Levada with more in its configuration files, and with streams
// that keep so many bytes per shard, 0 for no limit.
func levadaTuned(config string, retention int64) system {
	return system{
		name:     "levada",
		settings: "defaults of the server; 1 stream, partition keys spread over its shards",
		// The journal fills each of its files once before it uses it, and then
		// uses it for ever: what it does in its first gigabyte it never does again.
		prewarm: true,
		start: func(ctx context.Context, b *bench, dir string) (cluster, error) {
			c, err := startLevada(ctx, b, dir, config, retention)
			if c == nil {
				return nil, err
			}
			return c, err
		},
	}
}

// levadaNode is one node's process and addresses.
type levadaNode struct {
	*process
	grpc, http, kinesis string
}

// levadaCluster is three Levada nodes and a client of theirs.
type levadaCluster struct {
	b         *bench
	dir       string // holds the nodes' directories
	nodes     []*levadaNode
	retention int64          // bytes per shard that streams keep, 0 for no limit
	client    *client.Client // nil until the cluster is healthy
}

func (c *levadaCluster) processes() []*process {
	var all []*process
	for _, n := range c.nodes {
		all = append(all, n.process)
	}
	return all
}

func startLevada(ctx context.Context, b *bench, dir, more string, retention int64) (*levadaCluster, error) {
	c := &levadaCluster{b: b, dir: dir, retention: retention}
	keysFile := "keys:\n  - id: " + kinesisKeyID + "\n    secret: " + kinesisSecret + "\n    name: bench\n    allow:\n      - {actions: [\"*\"], streams: [\"*\"]}\n"
	if err := os.WriteFile(kinesisKeys(dir), []byte(keysFile), 0o600); err != nil {
		return c, err
	}
	for i := range nodes {
		name := fmt.Sprintf("node%d", i+1)
		config := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(config, []byte(levadaConfig(b, dir, name, i)+more), 0o600); err != nil {
			return c, err
		}
		p, err := b.launcher.start(command{name: name, binary: b.levada, args: []string{"serve", "--config", config}, log: filepath.Join(dir, name+".log")})
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, &levadaNode{process: p, grpc: b.address(i, 0), http: b.address(i, 3), kinesis: b.address(i, 4)})
	}
	if err := await(ctx, startMax, c.healthy); err != nil {
		return c, fmt.Errorf("new Levada cluster: %w", err)
	}
	return c, nil
}

func levadaConfig(b *bench, dir, name string, i int) string {
	var seeds strings.Builder
	for j := range nodes {
		fmt.Fprintf(&seeds, "  - %s\n", b.address(j, 2))
	}
	return fmt.Sprintf("cluster:\n  name: bench\n  expect_nodes: %d\nnode:\n  name: %s\n  zone: zone-%d\n  data_dir: %s\n"+
		"listen:\n  grpc: %s\n  raft: %s\n  gossip: %s\n  http: %s\nkinesis:\n  listen: %s\n  keys_file: %s\nseeds:\n%s",
		nodes, name, i+1, filepath.Join(dir, name), b.address(i, 0), b.address(i, 1), b.address(i, 2), b.address(i, 3), b.address(i, 4), kinesisKeys(dir), seeds.String())
}

// kinesisKeys is the file of the keys of the Kinesis API.
func kinesisKeys(dir string) string { return filepath.Join(dir, "keys.yaml") }

// kinesis returns the endpoints of the Kinesis API.
func (c *levadaCluster) kinesis() []string {
	return columnOf(c.nodes, func(n *levadaNode) string { return "http://" + n.kinesis })
}

// healthy returns nil if all nodes are ready and the cluster says that nothing is wrong.
func (c *levadaCluster) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var endpoints []string
	for _, n := range c.nodes {
		if !n.running() {
			return fmt.Errorf("%s has ended", n.name)
		}
		if _, err := fetch(ctx, "http://"+n.http+"/readyz"); err != nil {
			return err
		}
		endpoints = append(endpoints, n.grpc)
	}
	if c.client == nil {
		cl, err := client.Dial(ctx, endpoints)
		if err != nil {
			return err
		}
		c.client = cl
	}
	state, err := c.client.Cluster(ctx, 0)
	if err != nil {
		return err
	}
	alive := 0
	for _, n := range state.GetNodes() {
		if n.GetState() == "alive" {
			alive++
		}
	}
	if !state.GetHealthy() || alive != nodes {
		return fmt.Errorf("%d of %d nodes are alive, problems: %v", alive, nodes, state.GetProblems())
	}
	return nil
}

// stop ends the client, and with it what it has running.
func (c *levadaCluster) stop() {
	if c.client != nil {
		_ = c.client.Close() // it fails never
	}
}

// createStream creates the benchmark's stream and waits until every shard has a leader.
func (c *levadaCluster) createStream(ctx context.Context, shards int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	_, _, err := c.client.CreateStream(ctx, streamName(shards), &levadav1.StreamSettings{Shards: uint32(shards), Replicas: nodes, RetentionBytes: c.retention}, true)
	return err
}

// leading returns the shards that each node leads, by its native address.
func (c *levadaCluster) leading(ctx context.Context, stream string) (map[string][]uint32, error) {
	shards, err := c.client.ListShards(ctx, stream)
	if err != nil {
		return nil, err
	}
	byNode := map[string][]uint32{}
	for _, s := range shards {
		byNode[s.GetLeaderAddress()] = append(byNode[s.GetLeaderAddress()], s.GetNumber())
	}
	return byNode, nil
}

// busiest returns the node that leads the most shards, the first of several, and those shards.
func (c *levadaCluster) busiest(ctx context.Context, stream string) (*levadaNode, []uint32, error) {
	byNode, err := c.leading(ctx, stream)
	if err != nil {
		return nil, nil, err
	}
	var best *levadaNode
	for _, n := range c.nodes {
		if best == nil || len(byNode[n.grpc]) > len(byNode[best.grpc]) {
			best = n
		}
	}
	if len(byNode[best.grpc]) == 0 {
		return nil, nil, fmt.Errorf("no node leads a shard of stream %s", stream)
	}
	return best, byNode[best.grpc], nil
}

func (c *levadaCluster) readers(shards int) []reader {
	return []reader{{"one stream reader with its defaults", func(ctx context.Context, count int64, got *atomic.Int64) error {
		r := c.client.ReadStream(ctx, streamName(shards), client.ReadOptions{From: client.TrimHorizon(), Follow: true})
		defer r.Close()
		for range count {
			if _, err := r.Next(ctx); err != nil {
				return err
			}
			got.Add(1)
		}
		return nil
	}}}
}

// tail is one stream reader of all shards.
func (c *levadaCluster) tail(ctx context.Context, shards int, ready func(), got func(data []byte)) error {
	r := c.client.ReadStream(ctx, streamName(shards), client.ReadOptions{From: client.Latest(), Follow: true})
	defer r.Close()
	ready()
	for {
		records, err := r.NextBatch(ctx)
		if err != nil {
			return err
		}
		for _, record := range records {
			got(record.Data)
		}
	}
}
