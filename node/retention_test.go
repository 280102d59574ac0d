package node

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// TestRetentionFreesAnIdleShard: what is trimmed leaves the disk also when
// nothing is written to the shard any more.
func TestRetentionFreesAnIdleShard(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for two rounds of retention; runs without -short")
	}
	nodes, infos := startCluster(t, 1, func(c *configs.Config) { c.Storage.SegmentBytes = configs.MiB })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1}, true); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := c.Put(ctx, "s", client.Record{PartitionKey: fmt.Sprint(i), Data: make([]byte, 1000<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	most := int64(2 << 20)
	if _, err := c.UpdateStream(ctx, "s", client.StreamChange{RetentionBytes: &most}); err != nil {
		t.Fatal(err)
	}
	soon, cancelSoon := context.WithTimeout(ctx, 5*retentionEvery)
	defer cancelSoon()
	await(soon, t, func() error {
		segments, err := filepath.Glob(filepath.Join(nodes[0].cfg.Node.DataDir, "groups", "1", "log", "*.seg"))
		if err == nil && len(segments) > 3 {
			err = fmt.Errorf("%d segments of 1 MiB are still there, the stream keeps 2 MiB", len(segments))
		}
		return err
	})
}
