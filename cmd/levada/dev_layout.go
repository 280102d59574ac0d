package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/levada-stream/levada/configs"
)

const (
	// defaultDevDir is where a dev cluster keeps everything, under the current directory.
	defaultDevDir = "levada-dev"
	// devFile describes the running nodes, in the directory.
	devFile = "dev.json"
	// devPortStep is the distance between the ports of two nodes.
	devPortStep = 10
	devNodesMax = 25
)

// devState is the content of dev.json.
type devState struct {
	Nodes []devNodeState `json:"nodes"`
}

// devNodeState is one running node.
type devNodeState struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	GRPC string `json:"grpc"`
	HTTP string `json:"http"`
	// Kinesis is "" if the node does not serve that API.
	Kinesis string `json:"kinesis,omitempty"`
	Config  string `json:"config"`
}

// devNode is one node of a dev cluster: its configuration and where that lies.
type devNode struct {
	name   string
	config configs.Config
	path   string // of the configuration
	log    string // path of its log
}

func devPaths(dir string, i int) (name, config, log string) {
	name = "node" + strconv.Itoa(i+1)
	return name, filepath.Join(dir, name+".yaml"), filepath.Join(dir, name+".log")
}

// existingDevNodes returns the nodes that a directory was made with, none if it
// is new. The environment has no say: a variable would give all nodes the same value.
func existingDevNodes(dir string) ([]devNode, error) {
	noVariables := func(string) (string, bool) { return "", false }
	var nodes []devNode
	for i := range devNodesMax {
		name, path, log := devPaths(dir, i)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		config, err := configs.Load(path, noVariables)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, devNode{name: name, config: config, path: path, log: log})
	}
	return nodes, giveKinesisPorts(nodes)
}

// giveKinesisPorts gives nodes that were made before there was the Kinesis-compatible API a port for it each: their files do not
// name one, and they cannot all take the default.
func giveKinesisPorts(nodes []devNode) error {
	byDefault := configs.Defaults().Kinesis
	if len(nodes) == 0 || slices.ContainsFunc(nodes, func(n devNode) bool { return n.config.Kinesis != byDefault }) {
		return nil
	}
	for i := range nodes {
		c := &nodes[i].config
		c.Kinesis.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(configs.DefaultKinesisPort+i*devPortStep))
		c.Kinesis.Anonymous = true
	}
	return writeDevNodes(filepath.Dir(nodes[0].path), nodes)
}

// planDevNodes makes the configurations of n new nodes. ports holds, per node,
// those of the native API, Raft, gossip, the admin port and the Kinesis-compatible API.
func planDevNodes(dir string, n int, ports [][5]int) []devNode {
	address := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	seeds := make([]string, n)
	for i := range seeds {
		seeds[i] = address(ports[i][2])
	}
	nodes := make([]devNode, n)
	for i := range nodes {
		name, path, log := devPaths(dir, i)
		c := configs.Defaults()
		c.Cluster.Name, c.Cluster.ExpectNodes = "dev", n
		c.Node.Name, c.Node.DataDir = name, filepath.Join(dir, name)
		c.Node.Zone = "zone-" + strconv.Itoa(i+1)
		c.Listen = configs.Addresses{
			GRPC: address(ports[i][0]), Raft: address(ports[i][1]), Gossip: address(ports[i][2]), HTTP: address(ports[i][3]),
		}
		c.Kinesis.Listen, c.Kinesis.Anonymous = address(ports[i][4]), true
		c.Seeds = seeds
		nodes[i] = devNode{name: name, config: c, path: path, log: log}
	}
	return nodes
}

// layoutFrom gives each node four ports in a row from a base on, and one from a base of the Kinesis-compatible API's own.
func layoutFrom(base, kinesis, n int) [][5]int {
	ports := make([][5]int, n)
	for i := range ports {
		first := base + i*devPortStep
		ports[i] = [5]int{first, first + 1, first + 2, first + 3, kinesis + i*devPortStep}
	}
	return ports
}

// chooseDevPorts returns the default layout if all its ports are free, else any free ports.
func chooseDevPorts(n int) ([][5]int, error) {
	ports := layoutFrom(configs.DefaultGRPCPort, configs.DefaultKinesisPort, n)
	if checkPortsFree(planDevNodes("", n, ports)) == nil {
		return ports, nil
	}
	// All are held until all are found, so that none is found twice.
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for i := range ports {
		for j := range ports[i] {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, fmt.Errorf("find a free port: %w", err)
			}
			held = append(held, l)
			ports[i][j] = l.Addr().(*net.TCPAddr).Port
		}
	}
	return ports, nil
}

// checkPortsFree returns an error that names the first address in use.
func checkPortsFree(nodes []devNode) error {
	for _, n := range nodes {
		for _, address := range []string{n.config.Listen.GRPC, n.config.Listen.Raft, n.config.Listen.Gossip, n.config.Listen.HTTP, n.config.Kinesis.Listen} {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return fmt.Errorf("address %s of %s cannot be used: %w", address, n.name, err)
			}
			l.Close()
		}
	}
	return nil
}

// writeDevNodes writes the configurations of new nodes.
func writeDevNodes(dir string, nodes []devNode) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := os.WriteFile(n.path, configs.RenderYAML(n.config), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeDevState replaces dev.json as a whole, so that no reader sees half of it.
func writeDevState(dir string, d devState) error {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, devFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
