package main

import (
	"context"
	"io"
	"strings"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// shardCommands show shards.
type shardCommands struct {
	List shardListCommand `cmd:"" help:"List the shards of a stream with their ranges and replicas."`
}

// shardListCommand lists shards.
type shardListCommand struct {
	target
	Stream string `arg:"" help:"Name of the stream."`
}

// Run implements the command.
func (c shardListCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	shards, err := cl.ListShards(ctx, c.Stream)
	if err != nil {
		return err
	}
	return printShards(s.out, shards, c.json())
}

// shardView is a shard in JSON.
type shardView struct {
	ID        string        `json:"id"`
	Number    uint32        `json:"number"`
	Group     uint64        `json:"group"`
	State     string        `json:"state"`
	HashStart string        `json:"hash_start"`
	HashEnd   string        `json:"hash_end"`
	Leader    string        `json:"leader"`
	LeaderID  string        `json:"leader_id"`
	Address   string        `json:"leader_address"`
	Replicas  []replicaView `json:"replicas"`
	Parents   []string      `json:"parents"`
	Children  []string      `json:"children"`
	Created   string        `json:"created"`
	Closed    string        `json:"closed,omitempty"`
}

// replicaView is a replica in JSON.
type replicaView struct {
	Node    string `json:"node"`
	NodeID  string `json:"node_id"`
	Address string `json:"address"`
	Leader  bool   `json:"leader"`
}

func viewShard(s *levadav1.Shard) shardView {
	v := shardView{
		ID: s.GetId(), Number: s.GetNumber(), Group: s.GetGroup(), State: s.GetState(),
		HashStart: s.GetHashStart(), HashEnd: s.GetHashEnd(), LeaderID: s.GetLeaderNode(), Address: s.GetLeaderAddress(),
		Replicas: []replicaView{}, Parents: shardIDs(s.GetParents()), Children: shardIDs(s.GetChildren()),
		Created: timeText(s.GetCreatedMs()), Closed: timeText(s.GetClosedMs()),
	}
	for _, r := range s.GetReplicas() {
		v.Replicas = append(v.Replicas, replicaView{Node: r.GetNodeName(), NodeID: r.GetNode(), Address: r.GetAddress(), Leader: r.GetLeader()})
		if r.GetNode() == s.GetLeaderNode() {
			v.Leader = r.GetNodeName()
		}
	}
	return v
}

func shardIDs(numbers []uint32) []string {
	ids := make([]string, 0, len(numbers))
	for _, n := range numbers {
		ids = append(ids, shardID(n))
	}
	return ids
}

func printShards(w io.Writer, shards []*levadav1.Shard, asJSON bool) error {
	views := make([]shardView, 0, len(shards))
	t := newTable("shard", "state", "leader", "replicas", "hash start", "hash end")
	for _, shard := range shards {
		v := viewShard(shard)
		views = append(views, v)
		names := make([]string, 0, len(v.Replicas))
		for _, r := range v.Replicas {
			names = append(names, r.Node)
		}
		leader := v.Leader
		if leader == "" {
			leader = v.LeaderID
		}
		t.add(v.ID, v.State, leader, strings.Join(names, ","), v.HashStart, v.HashEnd)
	}
	if asJSON {
		return printJSON(w, views)
	}
	return t.print(w)
}
