package node

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// TestDataPathWithoutMetaGroup: a node that starts while the meta group has no
// majority serves the shards that have theirs, by its own copy of the control state.
func TestDataPathWithoutMetaGroup(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts a node of three; runs without -short")
	}
	nodes, infos := startCluster(t, 3, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 3, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	shards, err := c.ListShards(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	own := uint32(0)
	for _, sh := range shards {
		if sh.GetReplicas()[0].GetNode() == infos[0].NodeID {
			own = sh.GetNumber()
		}
	}
	for _, n := range nodes {
		n.end(t)
	}
	nodes[0].begin(t)
	defer func() { // they end together
		nodes[1].begin(t)
		nodes[2].begin(t)
	}()
	conn, err := grpc.NewClient("passthrough:///"+infos[0].GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	soon, cancelSoon := context.WithTimeout(ctx, 3*withoutMeta)
	defer cancelSoon()
	await(soon, t, func() error { // a shard with all its replicas must be served
		_, err := pb.NewStreamsClient(conn).GetRecords(ctx, &pb.GetRecordsRequest{Stream: "s", Shard: own, NoForward: true})
		return err
	})
}
