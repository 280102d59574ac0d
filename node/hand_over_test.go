package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

func TestHeir(t *testing.T) {
	voter := func(id string) meta.Member { return meta.Member{Node: id, Voter: true} }
	all := []meta.Member{voter("a"), voter("b"), voter("c"), {Node: "d"}}
	alive := meta.Hint{Alive: true}
	for _, c := range []struct {
		name  string
		group uint64
		hints meta.Hints
		want  string
	}{
		{"one after the other", 4, meta.Hints{"a": alive, "b": alive, "c": alive, "d": alive}, "b"},
		{"the other", 5, meta.Hints{"a": alive, "b": alive, "c": alive, "d": alive}, "c"},
		{"the dead inherit nothing", 4, meta.Hints{"a": alive, "b": {}, "c": alive}, "c"},
		{"nor those without room", 5, meta.Hints{"a": alive, "b": alive, "c": {Alive: true, Full: true}}, "b"},
		{"nobody", 4, meta.Hints{"a": alive, "d": alive}, ""},
	} {
		if got := heir("a", c.group, all, c.hints); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestStoppingNodeHandsOver stops a node in order: each shard it led has another leader, by its own doing.
func TestStoppingNodeHandsOver(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	nodes, infos := startCluster(t, 3, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC, infos[1].GRPC, infos[2].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	putAndRead(ctx, t, c, 100)
	awaitHealthy(ctx, t, c)
	leads := func(n *testNode) (shards int) {
		for _, g := range n.node.host.Groups() {
			if g.ID() != 0 && g.IsLeader() {
				shards++
			}
		}
		return shards
	}
	most := slices.MaxFunc(nodes, func(a, b *testNode) int { return cmp.Compare(leads(a), leads(b)) })
	if leads(most) == 0 {
		t.Fatal("no node leads a shard")
	}
	most.end(t)
	stopped := most.node.nodeID
	await(ctx, t, func() error {
		shards, err := c.ListShards(ctx, "s")
		if err != nil {
			return err
		}
		for _, sh := range shards {
			if sh.GetLeaderNode() == stopped || sh.GetLeaderNode() == "" {
				return fmt.Errorf("shard %d is still led by the node that stopped", sh.GetNumber())
			}
		}
		return nil
	})
	state, err := c.Cluster(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	handed := 0
	for _, f := range state.GetFailovers() {
		if f.GetFromNode() != stopped {
			continue
		}
		if f.GetReason() != raftfsm.ReasonHandedOver {
			t.Errorf("shard %d: %s", f.GetShard(), f.GetReason())
		}
		handed++
	}
	if handed == 0 {
		t.Error("no shard was handed over")
	}
}
