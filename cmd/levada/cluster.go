package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// clusterCommands show the cluster.
type clusterCommands struct {
	Status clusterStatusCommand `cmd:"" help:"Say whether the cluster is healthy (exit code 10 if not), with its last failovers."`
	Nodes  clusterNodesCommand  `cmd:"" help:"List the nodes."`
	Remove clusterRemoveCommand `cmd:"" name:"remove-node" help:"Retire a node that is gone for good; its replicas are placed elsewhere."`
}

// clusterStatusCommand shows health.
type clusterStatusCommand struct {
	target
	Failovers uint32 `help:"Number of failovers to show." default:"5"`
}

// Run implements the command.
func (c clusterStatusCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	cluster, err := cl.Cluster(ctx, c.Failovers)
	if err != nil {
		return err
	}
	if err := printStatus(s.out, cluster, c.json()); err != nil {
		return err
	}
	if !cluster.GetHealthy() {
		return errUnhealthy
	}
	return nil
}

// clusterNodesCommand lists nodes.
type clusterNodesCommand struct{ target }

// Run implements the command.
func (c clusterNodesCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	cluster, err := cl.Cluster(ctx, 0)
	if err != nil {
		return err
	}
	return printNodes(s.out, cluster, c.json())
}

// clusterView is the cluster in JSON.
type clusterView struct {
	ID                  string         `json:"id"`
	Name                string         `json:"name"`
	Healthy             bool           `json:"healthy"`
	Problems            []string       `json:"problems"`
	MetaLeader          string         `json:"meta_leader"`
	Version             uint64         `json:"version"`
	NodesAlive          int            `json:"nodes_alive"`
	Nodes               int            `json:"nodes"`
	Streams             uint32         `json:"streams"`
	Shards              uint32         `json:"shards"`
	ShardsWithoutLeader uint32         `json:"shards_without_leader"`
	Failovers           []failoverView `json:"failovers"`
}

// failoverView is a change of a shard's leader in JSON.
type failoverView struct {
	Time   string `json:"time"`
	Stream string `json:"stream"`
	Shard  string `json:"shard"`
	From   string `json:"from"`
	To     string `json:"to"`
	Term   uint64 `json:"term"`
	Reason string `json:"reason"`
}

// nodeView is a node in JSON.
type nodeView struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	State     string   `json:"state"`
	GRPC      string   `json:"grpc"`
	HTTP      string   `json:"http"`
	Raft      string   `json:"raft"`
	Zone      string   `json:"zone"`
	Roles     []string `json:"roles"`
	DiskClass string   `json:"disk_class"`
	Replicas  uint32   `json:"replicas"`
	Leaders   uint32   `json:"leaders"`
	MetaVoter bool     `json:"meta_voter"`
	Version   string   `json:"version"`
}

// nodeNames maps ids to names for display.
func nodeNames(c *levadav1.GetClusterResponse) func(id string) string {
	names := map[string]string{}
	for _, n := range c.GetNodes() {
		names[n.GetId()] = n.GetName()
	}
	return func(id string) string {
		if name := names[id]; name != "" {
			return name
		}
		return id
	}
}

func viewCluster(c *levadav1.GetClusterResponse) clusterView {
	name := nodeNames(c)
	v := clusterView{
		ID: c.GetClusterId(), Name: c.GetClusterName(), Healthy: c.GetHealthy(), Problems: append([]string{}, c.GetProblems()...),
		MetaLeader: name(c.GetMetaLeader()), Version: c.GetVersion(),
		Streams: c.GetStreams(), Shards: c.GetShards(), ShardsWithoutLeader: c.GetShardsWithoutLeader(), Failovers: []failoverView{},
	}
	for _, n := range c.GetNodes() {
		if retired(n) {
			continue
		}
		if n.GetState() == "alive" {
			v.NodesAlive++
		}
		v.Nodes++
	}
	for _, f := range c.GetFailovers() {
		v.Failovers = append(v.Failovers, failoverView{
			Time: timeText(f.GetTimeMs()), Stream: f.GetStream(), Shard: shardID(f.GetShard()),
			From: name(f.GetFromNode()), To: name(f.GetToNode()), Term: f.GetTerm(), Reason: f.GetReason(),
		})
	}
	return v
}

// retired reports whether a node is listed but no longer part of the cluster.
func retired(n *levadav1.Node) bool { return n.GetState() == "replaced" || n.GetState() == "removed" }

func printStatus(w io.Writer, c *levadav1.GetClusterResponse, asJSON bool) error {
	v := viewCluster(c)
	if asJSON {
		return printJSON(w, v)
	}
	health := "healthy"
	if !v.Healthy {
		health = "NOT HEALTHY"
	}
	t := newTable()
	t.add("cluster", v.Name+" ("+v.ID+")")
	t.add("health", health)
	for _, p := range v.Problems {
		t.add("problem", p)
	}
	t.add("nodes", fmt.Sprintf("%d of %d alive", v.NodesAlive, v.Nodes))
	t.add("meta leader", v.MetaLeader)
	t.add("streams", strconv.Itoa(int(v.Streams)))
	t.add("shards", fmt.Sprintf("%d, %d without leader", v.Shards, v.ShardsWithoutLeader))
	if err := t.print(w); err != nil || len(v.Failovers) == 0 {
		return err
	}
	fmt.Fprintln(w)
	t = newTable("failover", "stream", "shard", "from", "to", "term", "reason")
	for _, f := range v.Failovers {
		t.add(f.Time, f.Stream, f.Shard, f.From, f.To, strconv.FormatUint(f.Term, 10), f.Reason)
	}
	return t.print(w)
}

func printNodes(w io.Writer, c *levadav1.GetClusterResponse, asJSON bool) error {
	views := make([]nodeView, 0, len(c.GetNodes()))
	t := newTable("name", "state", "grpc", "http", "zone", "disk", "replicas", "leaders", "meta", "version", "id")
	for _, n := range c.GetNodes() {
		views = append(views, nodeView{
			ID: n.GetId(), Name: n.GetName(), State: n.GetState(), GRPC: n.GetGrpcAddress(), HTTP: n.GetHttpAddress(), Raft: n.GetRaftAddress(),
			Zone: n.GetZone(), Roles: append([]string{}, n.GetRoles()...), DiskClass: n.GetDiskClass(),
			Replicas: n.GetReplicas(), Leaders: n.GetLeaders(), MetaVoter: n.GetMetaVoter(), Version: n.GetVersion(),
		})
		role := "learner"
		if n.GetMetaVoter() {
			role = "voter"
		}
		if n.GetId() == c.GetMetaLeader() {
			role = "leader"
		}
		if retired(n) {
			role = "" // part of nothing any more
		}
		t.add(n.GetName(), n.GetState(), n.GetGrpcAddress(), n.GetHttpAddress(), n.GetZone(), n.GetDiskClass(),
			strconv.Itoa(int(n.GetReplicas())), strconv.Itoa(int(n.GetLeaders())), role, n.GetVersion(), n.GetId())
	}
	if asJSON {
		return printJSON(w, views)
	}
	return t.print(w)
}

// nodeAddress finds a node by name, id or address.
func nodeAddress(c *levadav1.GetClusterResponse, text string) (string, error) {
	var names []string
	for _, n := range c.GetNodes() {
		if text == n.GetName() || text == n.GetId() || text == n.GetGrpcAddress() {
			return n.GetGrpcAddress(), nil
		}
		names = append(names, n.GetName())
	}
	return "", usagef("--node: the cluster has no node %s; it has %s", text, strings.Join(names, ", "))
}
