package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
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

	// With its stream the replica goes; what it counted stays counted.
	if err := c.DeleteStream(ctx, "s"); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, func() error {
		if n := metric(t, infos[0].HTTP, "levada_shard_replicas"); n != 0 {
			return fmt.Errorf("%v replicas of a deleted stream", n)
		}
		return nil
	})
	if n := metric(t, infos[0].HTTP, "levada_records_total"); n != 10 {
		t.Errorf("levada_records_total is %v after 10 records", n)
	}
}

// metric reads one value from a node's admin port.
func metric(t *testing.T, address, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
