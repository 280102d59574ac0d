package node

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// refusedToJoin runs a node that the cluster must refuse, and says how it ended.
func refusedToJoin(t *testing.T, cfg configs.Config) error {
	t.Helper()
	n, err := newNode(cfg, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return n.serve(ctx, func(Info) { t.Errorf("%s serves", cfg.Node.Name) })
}

// TestCopiedDirectoryIsRefused starts copies of running nodes' data directories, that of the control group's leader
// among them: each must end, and the node it was copied from must not suffer.
func TestCopiedDirectoryIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	nodes, infos := startCluster(t, 3, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	putAndRead(ctx, t, c, 100)
	for _, n := range nodes {
		original := n.cfg
		copied := nodeConfig(t, original.Node.Name, freePorts(t, 4), original.Seeds[0])
		if err := os.CopyFS(copied.Node.DataDir, os.DirFS(original.Node.DataDir)); err != nil {
			t.Fatal(err)
		}
		if err := refusedToJoin(t, copied); err == nil || !strings.Contains(err.Error(), "its data directory was copied") {
			t.Errorf("the copy of %s ended with %v", original.Node.Name, err)
		}
	}
	for range 10 { // longer than gossip takes to spread a wrong word
		state, err := c.Cluster(ctx, 0)
		if err != nil || !state.GetHealthy() {
			t.Fatalf("after the copies have gone: %v, %v", state.GetProblems(), err)
		}
		<-time.After(200 * time.Millisecond)
	}
}

func TestRemoveNode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four nodes; runs without -short")
	}
	nodes, infos := startCluster(t, 3, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	guest := &testNode{cfg: nodeConfig(t, "guest", freePorts(t, 4), nodes[0].cfg.Seeds[0])}
	id := guest.start(t).NodeID
	awaitHealthy(ctx, t, c)
	if _, err := c.RemoveNode(ctx, "guest"); !client.IsConflict(err) {
		t.Errorf("removing a living node: %v", err)
	}
	if _, err := c.RemoveNode(ctx, "nobody"); !client.IsNotFound(err) {
		t.Errorf("removing nobody: %v", err)
	}
	guest.end(t)
	await(ctx, t, func() error {
		_, err := c.RemoveNode(ctx, "guest")
		return err
	})
	awaitHealthy(ctx, t, c)
	if again, err := c.RemoveNode(ctx, id); err != nil || again != id {
		t.Errorf("removing it again, by its id: %s, %v", again, err)
	}
	if err := refusedToJoin(t, guest.cfg); err == nil || !strings.Contains(err.Error(), "retired") && !strings.Contains(err.Error(), "has removed this node") {
		t.Errorf("the removed node came back and ended with %v", err)
	}
}
