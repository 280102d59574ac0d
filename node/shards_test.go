package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// TestLostLogsDoNotHoldUpOthers: replicas that wait for records which nobody
// has any more must not keep the others of the node from starting.
func TestLostLogsDoNotHoldUpOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts a node; runs without -short")
	}
	nodes, infos := startCluster(t, 1, func(c *configs.Config) { c.Raft.SnapshotEntries = 64 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put := func(stream, key string) error {
		_, err := c.Put(ctx, stream, client.Record{PartitionKey: key, Data: []byte("x")})
		return err
	}
	for _, s := range []struct {
		name            string
		shards, records int
	}{{"lost", startsAtOnce, 150 * startsAtOnce}, {"well", 4, 40}} {
		if _, _, err := c.CreateStream(ctx, s.name, &pb.StreamSettings{Shards: uint32(s.shards)}, true); err != nil {
			t.Fatal(err)
		}
		for i := range s.records {
			if err := put(s.name, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := nodes[0].cfg.Node.DataDir
	await(ctx, t, func() error { // every one of the first stream shall have a snapshot
		taken, err := filepath.Glob(filepath.Join(dir, "groups", "[1-8]", "snapshot*"))
		if err == nil && len(taken) != startsAtOnce {
			err = fmt.Errorf("%d snapshots", len(taken))
		}
		return err
	})
	nodes[0].end(t)
	for group := 1; group <= startsAtOnce; group++ {
		if err := os.RemoveAll(filepath.Join(dir, "groups", fmt.Sprint(group), "log")); err != nil {
			t.Fatal(err)
		}
	}
	nodes[0].begin(t)
	for i := range 40 {
		if err := put("well", fmt.Sprint(i)); err != nil {
			t.Fatalf("a stream that lost nothing is not served: %v", err)
		}
	}
}
