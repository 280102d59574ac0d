package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/tests/internal/cluster"
)

// TestDiskFull fills the disk of one node of three, first so far that the node must refuse writes by
// itself, then altogether. The others must go on, what the full node says
// must name the cause, and with room again it must serve as before.
func TestDiskFull(t *testing.T) {
	dir, err := os.MkdirTemp("", "levada-full-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir) // only logs and configurations are left
		}
	})
	small := filepath.Join(dir, "node3")
	cluster.MountSmall(t, small, "400m")
	c := cluster.Start(t, cluster.Options{Dir: dir})
	full := c.Nodes[2]
	full.MayExit = true // on a full disk a node may stop, if it says why
	ctx, cancel := context.WithTimeout(t.Context(), 4*callMax)
	defer cancel()
	if err := c.CreateStream(ctx, "s", &levadav1.StreamSettings{Shards: 3}); err != nil {
		t.Fatal(err)
	}
	writesWork(t, c, "s", 3)
	ballast := filepath.Join(small, "ballast")
	for _, leave := range []int64{8 << 20, 0} {
		if err := os.Remove(ballast); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		cluster.FillDisk(t, ballast, leave)
		if err := cluster.Await(ctx, func(context.Context) error { return says(full, "disk") }); err != nil {
			t.Errorf("with %d bytes left: %v", leave, err)
		}
		load(ctx, t, c, 24<<20)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if !full.Running() {
		t.Logf("%s stopped on the full disk, which is allowed", full.Name)
	}
	healed(t, c)
	writesWork(t, c, "s", 3)
	replicasEqual(t, c, "s", 3)
}

func says(n *cluster.Node, word string) error {
	text, err := n.LogText()
	if err == nil && !strings.Contains(text, word) {
		return errors.New(n.Name + " says nothing of the " + word)
	}
	return err
}

// load writes bytes through the healthy nodes, each batch until a shard takes it.
func load(ctx context.Context, t *testing.T, c *cluster.Cluster, bytes int) {
	t.Helper()
	batch := encode([]string{"k", "k"}, 500_000)
	batch[12] = 1 // pinned
	batch = seal(batch)
	for sent, i := 0, 0; sent < bytes; sent, i = sent+len(batch), i+1 {
		err := cluster.Await(ctx, func(ctx context.Context) error {
			_, err := appendOnce(ctx, c.Nodes[i%2], "s", uint32(i%3), batch)
			return err
		})
		if err != nil {
			t.Fatalf("with one full disk of three, writes stopped: %v", err)
		}
	}
}
