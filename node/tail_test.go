package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/vfs"
)

// TestTailIsCurrentOnEveryNode holds up one follower's disk, so that it lacks what the others have acknowledged: asked where the
// shard ends it says nothing rather than what it knows.
func TestTailIsCurrentOnEveryNode(t *testing.T) {
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
	create(ctx, t, c, "s", 1)
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put := func() {
		t.Helper()
		acknowledged := make(chan error, 1)
		record := client.Record{PartitionKey: "key", Data: []byte("data")}
		if err := p.PutFunc(ctx, record, func(r client.Result) { acknowledged <- r.Err }); err != nil {
			t.Fatal(err)
		}
		if err := <-acknowledged; err != nil {
			t.Fatal(err)
		}
	}
	put()
	follower := -1
	await(ctx, t, func() error {
		shards, err := c.ListShards(ctx, "s")
		if err != nil {
			return err
		}
		for i, n := range nodes {
			if leader := shards[0].GetLeaderNode(); leader != "" && leader != n.node.nodeID {
				follower = i
				return nil
			}
		}
		return fmt.Errorf("the shard has no leader")
	})
	tailOf := func(local bool) (uint64, error) { return tailAt(ctx, t, infos[follower].GRPC, local) }
	await(ctx, t, func() error {
		if tail, err := tailOf(true); err != nil || tail != 1 {
			return fmt.Errorf("the follower has %d records, %w", tail, err)
		}
		return nil
	})
	disk := nodes[follower].disk
	disk.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Times: vfs.Forever, Hang: true})
	defer disk.Clear()
	put() // the other two are a majority
	if tail, err := tailOf(true); err != nil || tail != 1 {
		t.Fatalf("the follower has %d records, %v: it was to be held up at 1", tail, err)
	}
	limited, cancelWait := context.WithTimeout(ctx, 2*time.Second)
	defer cancelWait()
	if tail, err := tailAt(limited, t, infos[follower].GRPC, false); err == nil {
		t.Errorf("the follower says that the shard ends at %d, after 2 were acknowledged", tail)
	}
	disk.Clear()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if tail, err := tailOf(false); err != nil || tail != 2 {
		t.Errorf("with its disk back the follower says %d, %v", tail, err)
	}
}

// tailAt asks one node where shard 0 ends.
func tailAt(ctx context.Context, t *testing.T, address string, local bool) (uint64, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*completeTimeout)
	defer cancel()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := pb.NewStreamsClient(conn).GetRecords(ctx, &pb.GetRecordsRequest{
		Stream: "s", From: &pb.Position{At: &pb.Position_Latest{Latest: true}}, LocalOnly: local, NoForward: true,
	})
	return resp.GetTailOrdinal(), err
}
