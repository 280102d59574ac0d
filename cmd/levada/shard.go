package main

import (
	"context"
	"io"
	"strings"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// shardCommands show shards.
type shardCommands struct {
	List     shardListCommand     `cmd:"" help:"List the shards of a stream with their ranges and replicas."`
	Split    shardSplitCommand    `cmd:"" help:"Replace a shard by several, while it is written to and read."`
	Merge    shardMergeCommand    `cmd:"" help:"Replace two neighbouring shards by one, while they are written to and read."`
	Load     shardLoadCommand     `cmd:"" help:"Show how loaded the shards of a stream are, and how the keys of one spread."`
	Lineage  shardLineageCommand  `cmd:"" help:"Draw which shards came from which."`
	Reshards shardReshardsCommand `cmd:"" help:"List splits and merges, the latest first."`
	Abort    shardAbortCommand    `cmd:"" help:"Give up a split or merge whose shards are not closed yet."`
}

// shardListCommand lists shards.
type shardListCommand struct {
	target
	Stream string `arg:"" help:"Name of the stream."`
	Open   bool   `help:"Only those that own keys now." xor:"when"`
	At     string `help:"Only those that owned keys at this time, for example 2026-11-26T05:00:00Z." placeholder:"TIME" xor:"when"`
}

// Run implements the command.
func (c shardListCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	filter, err := filterOf(c.Open, c.At)
	if err != nil {
		return err
	}
	shards, err := cl.ListShardsWhere(ctx, c.Stream, filter)
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
	Opened    string        `json:"opened,omitempty"`
	Closed    string        `json:"closed,omitempty"`
	End       *endView      `json:"end,omitempty"`
}

// endView is where a closed shard ended, in JSON.
type endView struct {
	Ordinal uint64 `json:"ordinal"` // after the last record
	Time    string `json:"time"`
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
		Created: timeText(s.GetCreatedMs()), Opened: timeText(s.GetOpenedMs()), Closed: timeText(s.GetClosedMs()),
	}
	if s.GetClosedMs() > 0 {
		v.End = &endView{Ordinal: s.GetEndOrdinal(), Time: timeText(s.GetEndTimeMs())}
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
