package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// devCommand runs a cluster on this machine.
type devCommand struct {
	Nodes        int           `help:"Number of nodes." default:"3"`
	Data         string        `help:"Directory of everything the nodes keep. One that exists is used again, with its nodes and ports." default:"${devdir}" type:"path" placeholder:"DIR"`
	BasePort     int           `help:"First port: the n-th node takes five from P+10(n-1) on. Default: 7400, and 4567 for the Kinesis API, or free ports where those are taken." placeholder:"P"`
	StartTimeout time.Duration `help:"How long the nodes may take until they are ready." default:"60s"`
}

// Run implements the command.
func (c devCommand) Run(ctx context.Context, s *session) error {
	nodes, err := c.layout()
	if err != nil {
		return err
	}
	state := filepath.Join(c.Data, devFile)
	if err := os.Remove(state); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it would speak of the last run's processes
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program to start it again: %w", err)
	}
	cluster := newDevCluster(s, binary, nodes)
	defer cluster.stop()
	if err := cluster.start(); err != nil {
		return err
	}
	defer os.Remove(state)
	starting, cancel := context.WithTimeout(ctx, c.StartTimeout)
	err = cluster.awaitReady(starting)
	cancel()
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	if err := writeDevState(c.Data, cluster.state()); err != nil {
		return err
	}
	if err := c.greet(s.out, nodes); err != nil {
		return err
	}
	err = cluster.watch(ctx)
	if ctx.Err() != nil {
		s.warn("stopping the nodes; their data stay in %s", c.Data)
	}
	return err
}

// check implements checker.
func (c devCommand) check(*session) error {
	if c.StartTimeout <= 0 {
		return usagef("--start-timeout: %s must be above 0, for example 60s", c.StartTimeout)
	}
	if c.Data == "" {
		return usagef("--data: must name a directory; leave the flag out for ./%s", defaultDevDir)
	}
	if info, err := os.Stat(c.Data); err == nil && !info.IsDir() {
		return usagef("--data: %s is a file; name a directory, which need not exist yet", c.Data)
	}
	return nil
}

// layout returns the nodes to run: those of the directory, or new ones.
func (c devCommand) layout() ([]devNode, error) {
	if c.Nodes < 1 || c.Nodes > devNodesMax {
		return nil, usagef("--nodes must be 1 to %d", devNodesMax)
	}
	if c.BasePort < 0 || c.BasePort+devPortStep*c.Nodes > 65535 {
		return nil, usagef("--base-port must leave room for %d ports up to 65535", devPortStep*c.Nodes)
	}
	nodes, err := existingDevNodes(c.Data)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return c.newLayout()
	}
	if len(nodes) != c.Nodes {
		return nil, usagef("%s holds a cluster of %d nodes: use --nodes %d, another --data, or delete it", c.Data, len(nodes), len(nodes))
	}
	if first := nodes[0].config.Listen.GRPC; c.BasePort != 0 && !strings.HasSuffix(first, fmt.Sprintf(":%d", c.BasePort)) {
		return nil, usagef("%s holds a cluster whose first address is %s: leave out --base-port, use another --data, or delete it", c.Data, first)
	}
	if err := checkPortsFree(nodes); err != nil {
		return nil, fmt.Errorf("%w\nis this cluster running already? %s says with which processes", err, filepath.Join(c.Data, devFile))
	}
	return nodes, nil
}

func (c devCommand) newLayout() ([]devNode, error) {
	var nodes []devNode
	if c.BasePort != 0 {
		nodes = planDevNodes(c.Data, c.Nodes, layoutFrom(c.BasePort, c.BasePort+4, c.Nodes))
		if err := checkPortsFree(nodes); err != nil {
			return nil, fmt.Errorf("%w\nchoose another --base-port, or leave it out to take free ports", err)
		}
	} else {
		ports, err := chooseDevPorts(c.Nodes)
		if err != nil {
			return nil, err
		}
		nodes = planDevNodes(c.Data, c.Nodes, ports)
	}
	return nodes, writeDevNodes(c.Data, nodes)
}

// greet says what is there and what to type next.
func (c devCommand) greet(w io.Writer, nodes []devNode) error {
	var addresses, lines []string
	for _, n := range nodes {
		addresses = append(addresses, n.config.Listen.GRPC)
		lines = append(lines, fmt.Sprintf("  %s  API %s  Kinesis http://%s  admin http://%s/metrics  log %s", n.name, n.config.Listen.GRPC, n.config.Kinesis.Listen, n.config.Listen.HTTP, n.log))
	}
	self := selfName()
	_, err := fmt.Fprintf(w, `%d nodes serve:
%s

In another terminal:
  export LEVADA_ENDPOINT=%s
  %s stream create demo --shards 4
  seq 1 1000000 | %s put demo
  %s read demo --max 5
  %s cluster status

Kinesis programs: endpoint http://%s, any keys. Everybody on this machine may do everything (kinesis.anonymous).

Ctrl-C stops the nodes. Their data stay in %s.
`, len(nodes), strings.Join(lines, "\n"), strings.Join(addresses, ","), self, self, self, self, nodes[0].config.Kinesis.Listen, c.Data)
	return err
}

// selfName is how the user would call this program again.
func selfName() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/levada"
	}
	if filepath.IsAbs(os.Args[0]) || strings.Contains(os.Args[0], string(filepath.Separator)) {
		return os.Args[0]
	}
	return "levada"
}

// errNodesEnded reports that no node of a dev cluster runs any more.
var errNodesEnded = errors.New("all nodes have ended")
