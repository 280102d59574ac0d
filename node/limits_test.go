package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// TestLimitsReachTheClient asks a node that does not lead the meta group, and one that does, for more than there may be.
func TestLimitsReachTheClient(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	nodes, infos := startCluster(t, 3, func(c *configs.Config) {
		c.Limits.ShardReplicasMax, c.Limits.StreamsMax, c.Limits.ShardsPerStreamMax = 6, 2, 8
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i, info := range infos {
		c, err := client.Dial(ctx, []string{info.GRPC})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i == 0 {
			awaitHealthy(ctx, t, c)
			create(ctx, t, c, "first", 4)
		}
		for _, r := range []struct {
			shards uint32
			kind   client.Kind
			field  string
			limit  uint64
			says   string
		}{
			{9, client.Invalid, "shards", 8, "limits.shards_per_stream_max"},
			{3, client.LimitReached, "shard_replicas", 18, "need 9 shard replicas; the 3 nodes that take replicas hold 12 of 18 (limits.shard_replicas_max), where 2 such shards would fit"},
		} {
			refusedWith(ctx, t, c, "more", r.shards, r.kind, r.field, r.limit, r.says)
		}
		refusedWith(ctx, t, c, "first", 8, client.Conflict, "", 0, "other settings")
	}
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	create(ctx, t, c, "second", 1)
	refusedWith(ctx, t, c, "third", 1, client.LimitReached, "streams", 2, "limits.streams_max")
	create(ctx, t, c, "first", 4) // what exists is no stream too many
	v := nodes[0].node.measure()
	for name, want := range map[string]float64{
		"levada_shard_replicas_held": 5, "levada_shard_replicas_limit": 6, "levada_streams": 2, "levada_streams_limit": 2,
		"levada_connections_limit": 4096, "levada_admin_connections_limit": 256,
	} {
		if v[name] != want {
			t.Errorf("%s is %v, want %v", name, v[name], want)
		}
	}
	if v["levada_connections"] < 1 {
		t.Errorf("levada_connections is %v", v["levada_connections"])
	}
	if err := c.DeleteStream(ctx, "first"); err != nil {
		t.Fatal(err)
	}
	create(ctx, t, c, "third", 5) // what was deleted makes room
}

func create(ctx context.Context, t *testing.T, c *client.Client, name string, shards uint32) {
	t.Helper()
	if _, _, err := c.CreateStream(ctx, name, &pb.StreamSettings{Shards: shards}, true); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
}

// refusedWith creates a stream that must be refused at once.
func refusedWith(ctx context.Context, t *testing.T, c *client.Client, name string, shards uint32, kind client.Kind, field string, limit uint64, says string) {
	t.Helper()
	start := time.Now()
	_, _, err := c.CreateStream(ctx, name, &pb.StreamSettings{Shards: shards}, true)
	var refused *client.Error
	if !errors.As(err, &refused) {
		t.Fatalf("create %s with %d shards: %v", name, shards, err)
	}
	if refused.Kind != kind || refused.Field != field || refused.Limit != limit || !strings.Contains(refused.Message, says) {
		t.Errorf("kind %s field %q limit %d: %v, want %s %q %d %q", refused.Kind, refused.Field, refused.Limit, refused, kind, field, limit, says)
	}
	if took := time.Since(start); took > adminTimeout/2 {
		t.Errorf("a refusal that is final took %v", took)
	}
}

// Two streams placed at the same time on the room that only one of them can have.
func TestPlacementIsCheckedAgainWhenApplied(t *testing.T) {
	s := storeOf(t, 3)
	for i, id := range []string{"node-0", "node-1", "node-2"} {
		apply(t, s, meta.RegisterNode{ID: id, Name: id, Incarnation: 1, Addresses: meta.Addresses{Raft: "127.0.0.1:1"}, ReplicasMax: 1}, uint64(10+i))
	}
	set := meta.Settings{}.WithDefaults()
	hints := meta.Hints{"node-0": {Alive: true}, "node-1": {Alive: true}, "node-2": {Alive: true}}
	placement, err := meta.Place(s.State(), hints, set)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, meta.CreateStream{Name: "a", Settings: set, Placement: placement}, 20)
	data, err := meta.Encode(meta.CreateStream{Name: "b", Settings: set, Placement: placement})
	if err != nil {
		t.Fatal(err)
	}
	result, _, err := s.Apply(data, 21)
	refused, _ := result.(error)
	if err != nil || fault.KindOf(refused) != fault.LimitReached {
		t.Errorf("the second: %v, %v", refused, err)
	}
}

// TestCreatingAtOnceKeepsToTheLimit: streams that are placed at the same time count on the
// same room. All that fit must be created, the others refused, and no node go above its limit.
func TestCreatingAtOnceKeepsToTheLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	const fit, asked = 4, 7
	nodes, _ := startCluster(t, 3, func(c *configs.Config) { c.Limits.ShardReplicasMax = fit })
	var leader *Node
	for _, n := range nodes {
		if n.node.metaRaft.IsLeader() {
			leader = n.node
		}
	}
	if leader == nil {
		t.Fatal("the meta group has no leader")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	errs := make(chan error, asked)
	for i := range asked {
		go func() {
			errs <- leader.createStream(ctx, meta.CreateStream{Name: fmt.Sprintf("s%d", i), Settings: meta.Settings{}.WithDefaults()})
		}()
	}
	created := 0
	for range asked {
		switch err := <-errs; {
		case err == nil:
			created++
		case fault.KindOf(err) != fault.LimitReached || fault.As(err).Field != "shard_replicas":
			t.Errorf("refused with %v", err)
		}
	}
	state := leader.metaStore.State()
	for _, n := range state.Nodes() {
		if held := state.HeldReplicas(n.ID); held != fit {
			t.Errorf("node %s holds %d replicas, want %d", n.Name, held, fit)
		}
	}
	if created != fit || state.StreamCount() != fit {
		t.Errorf("%d streams created, %d there, want %d", created, state.StreamCount(), fit)
	}
}

func TestRestAfterPlan(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: 0, 20 * time.Microsecond: 200 * time.Microsecond, 14 * time.Millisecond: 140 * time.Millisecond, time.Second: planEvery} {
		if got := restAfter(took); got != want {
			t.Errorf("after %v: %v, want %v", took, got, want)
		}
	}
}

// A client that finds a node at its limit of connections is told so when it gives up.
func TestConnectionsBeyondTheLimitAreExplained(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node; runs without -short")
	}
	nodes, infos := startCluster(t, 1, func(c *configs.Config) { c.Limits.ConnectionsMax = 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	shortCtx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	second, err := client.Dial(shortCtx, []string{infos[0].GRPC})
	if err == nil {
		_, err = second.ListStreams(shortCtx)
		second.Close()
	}
	if !client.IsUnavailable(err) || !strings.Contains(err.Error(), "limits.connections_max") {
		t.Errorf("the second client: %v", err)
	}
	if v := nodes[0].node.measure(); v["levada_connections"] != 1 || v["levada_connections_refused_total"] < 1 {
		t.Errorf("%v connections, %v refused", v["levada_connections"], v["levada_connections_refused_total"])
	}
}
