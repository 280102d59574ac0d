package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say what to start. The zero value is three nodes with small files.
type Options struct {
	Nodes int    // 0 means 3
	Name  string // of the cluster; "" means "test"
	Race  bool   // build with the race detector
	// Failpoints builds with marks at which ArmFailpoint lets a node die.
	Failpoints bool
	// Proxied puts a Network between the nodes' Raft ports.
	Proxied bool
	Tuning  Tuning
	// Dir is where configurations, data and logs go; "" means a new temporary directory,
	// removed after the test unless it failed.
	Dir string
}

// Cluster is a set of nodes that were configured to know each other.
type Cluster struct {
	Dir     string
	Nodes   []*Node
	Network *Network // nil unless Options.Proxied
	options Options
}

// StartMax bounds how long a new cluster may take until it is healthy. The
// machine of a test may be slow and busy; a cluster alone takes a few seconds.
const StartMax = 60 * time.Second

// Start configures and starts a cluster and waits until it is healthy. The test's
// cleanup kills the nodes and, if the test failed, prints the ends of their logs.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := New(tb, o)
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			tb.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(tb.Context(), StartMax)
	defer cancel()
	if err := c.AwaitHealthy(ctx); err != nil {
		tb.Fatalf("the new cluster is not healthy after %v: %v", StartMax, err)
	}
	return c
}

// portsPerNode is how many addresses newNode takes.
const portsPerNode = 5

// New configures a cluster without starting it.
func New(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Name == "" {
		o.Name = "test"
	}
	c := &Cluster{Dir: o.Dir, options: o}
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "levada-test-")
		if err != nil {
			tb.Fatal(err)
		}
		c.Dir = dir
	}
	program := binary(tb, flavour{o.Race, o.Failpoints})
	ports, err := freePorts(portsPerNode * o.Nodes)
	if err != nil {
		tb.Fatal(err)
	}
	var seeds []string
	for i := range o.Nodes {
		n := newNode(c.Dir, fmt.Sprintf("node%d", i+1), program, ports[portsPerNode*i:portsPerNode*(i+1)])
		if o.Failpoints {
			n.environment, n.MayExit = []string{"LEVADA_FAILPOINT_FILE=" + c.failpointFile()}, true
		}
		c.Nodes = append(c.Nodes, n)
		seeds = append(seeds, n.Gossip)
	}
	tb.Cleanup(func() { c.cleanup(tb) })
	if o.Proxied {
		network, addrs, err := newNetwork(c.Nodes)
		if err != nil {
			tb.Fatal(err)
		}
		c.Network = network
		for i, n := range c.Nodes {
			n.advertised = addrs[i]
		}
	}
	for _, n := range c.Nodes {
		if err := n.write(o.Name, o.Nodes, seeds, o.Tuning); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

func (c *Cluster) failpointFile() string { return filepath.Join(c.Dir, "failpoint") }

// ArmFailpoint lets the node die that next passes the mark of that name.
func (c *Cluster) ArmFailpoint(name string) error {
	if err := os.Remove(c.failpointFile() + ".hit"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(c.failpointFile(), []byte(name), 0o600)
}

// FailpointHit reports whether a node died at the mark that was armed last.
func (c *Cluster) FailpointHit() bool {
	_, err := os.Stat(c.failpointFile() + ".hit")
	return err == nil
}

// Add configures one more node, down, that seeds from the others. Its cluster
// name and data directory may be given to make it a wrong one; "" means the usual.
func (c *Cluster) Add(tb testing.TB, name, clusterName, data string) *Node {
	tb.Helper()
	ports, err := freePorts(portsPerNode)
	if err != nil {
		tb.Fatal(err)
	}
	n := newNode(c.Dir, name, Binary(tb, c.options.Race), ports)
	if data != "" {
		n.Data = data
	}
	if clusterName == "" {
		clusterName = c.options.Name
	}
	var seeds []string
	for _, other := range c.Nodes {
		seeds = append(seeds, other.Gossip)
	}
	if err := n.write(clusterName, len(c.Nodes), seeds, c.options.Tuning); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		n.close()
		if err := n.Kill(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("=== end of the log of %s\n%s", n.Name, n.logTail(logLines))
		}
	})
	return n
}

// logLines is how much of each log a failed test prints.
const logLines = 200

func (c *Cluster) cleanup(tb testing.TB) {
	if err := c.each(func(n *Node) error { n.close(); return n.Kill() }); err != nil {
		tb.Error(err)
	}
	if c.Network != nil {
		if err := c.Network.Close(); err != nil {
			tb.Error(err)
		}
	}
	for _, n := range c.Nodes {
		if bad := n.crashes(); bad != "" {
			tb.Errorf("%s crashed: %s", n.Name, bad)
		}
		if exits := n.exited(); len(exits) > 0 && !n.MayExit {
			tb.Errorf("%s ended by itself %s", n.Name, strings.Join(exits, ", "))
		}
	}
	if tb.Failed() {
		for _, n := range c.Nodes {
			tb.Logf("=== end of the log of %s\n%s", n.Name, n.logTail(logLines))
		}
		tb.Logf("configurations, data and logs are kept in %s", c.Dir)
		return
	}
	if c.options.Dir == "" {
		if err := os.RemoveAll(c.Dir); err != nil {
			tb.Error(err)
		}
	}
}

// crashes returns the first line of the log that only a program error writes.
func (n *Node) crashes() string {
	text, err := n.LogText()
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(text) {
		for _, mark := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if strings.HasPrefix(line, mark) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

// each calls f for all nodes at once.
func (c *Cluster) each(f func(n *Node) error) error {
	errs := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// KillAll ends all processes at once, as a power cut of the building would.
func (c *Cluster) KillAll() error { return c.each((*Node).Kill) }

// StartDown starts every node that is down.
func (c *Cluster) StartDown() error {
	return c.each(func(n *Node) error {
		if n.Running() {
			return nil
		}
		if err := n.Kill(); err != nil { // reaps one that ended by itself
			return err
		}
		return n.Start()
	})
}

// Endpoints returns the API addresses of all nodes, as --endpoint takes them.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, n := range c.Nodes {
		out = append(out, n.GRPC)
	}
	return out
}

// pollEvery is the pause between two looks at something awaited.
const pollEvery = 50 * time.Millisecond

// Await calls check until it returns nil or the context ends. It then returns the last
// error that was not the context's own doing.
func Await(ctx context.Context, check func(ctx context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

// AwaitHealthy waits until every running node is ready and says that the
// cluster is healthy, with exactly the running nodes alive.
func (c *Cluster) AwaitHealthy(ctx context.Context) error {
	return Await(ctx, func(ctx context.Context) error {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			if err := n.Ready(ctx); err != nil {
				return err
			}
			if err := c.healthyBy(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
		return nil
	})
}

func (c *Cluster) healthyBy(ctx context.Context, n *Node) error {
	state, err := n.State(ctx)
	if err != nil {
		return err
	}
	if !state.GetHealthy() {
		return fmt.Errorf("not healthy: %v", state.GetProblems())
	}
	alive := map[string]bool{}
	for _, other := range state.GetNodes() {
		if other.GetState() == "alive" {
			alive[other.GetName()] = true
		}
	}
	for _, other := range c.Nodes {
		if other.Running() != alive[other.Name] {
			return fmt.Errorf("%s: running %v, alive %v", other.Name, other.Running(), alive[other.Name])
		}
	}
	return nil
}
