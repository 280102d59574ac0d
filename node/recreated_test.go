package node

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/fault"
)

// TestAppendsAreForTheStreamThatIsMeant deletes a stream and creates it again, and appends by the id of either and of one to come: a node that knows another
// stream by the name takes nothing, and says nothing of its shards.
func TestAppendsAreForTheStreamThatIsMeant(t *testing.T) {
	_, infos := startCluster(t, 1, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	create := func() uint64 {
		t.Helper()
		st, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1, Replicas: 1}, true)
		if err != nil {
			t.Fatal(err)
		}
		return st.GetId()
	}
	before := create()
	if err := c.DeleteStream(ctx, "s"); err != nil {
		t.Fatal(err)
	}
	now := create()
	conn, err := grpc.NewClient(infos[0].GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, id := range []uint64{0, before, now, now + 1} {
		call, err := pb.NewStreamsClient(conn).Append(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := call.Send(&pb.AppendRequest{Stream: "s", StreamId: id, Id: 7, Batch: []byte("no batch")}); err != nil {
			t.Fatal(err)
		}
		resp, err := call.Recv()
		if id == 0 || id == now { // it is about the batch
			if err != nil || fault.KindOf(faultpb.FromProto(resp.GetError())) != fault.Invalid {
				t.Errorf("id %d: %v, %v", id, resp, err)
			}
			continue
		}
		if fault.KindOf(faultpb.FromStatus(err)) != fault.Unavailable {
			t.Errorf("id %d, of another stream: %v, %v", id, resp, err)
		}
	}
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pending, err := p.Put(ctx, client.Record{PartitionKey: "k", Data: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	if r := pending.Result(); r.Err != nil {
		t.Error(r.Err)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestClosedShardsGiveNoTokensToAppend splits a shard: its readers have their tokens still, its writers are told to look for another.
func TestClosedShardsGiveNoTokensToAppend(t *testing.T) {
	_, infos := startCluster(t, 1, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	one := client.TokenBucket{Name: "b", Take: 1, Rate: 1, Burst: 10}
	r := client.Record{PartitionKey: "k"}
	shard, err := c.ShardFor(ctx, "s", r)
	if err != nil || shard != 0 {
		t.Fatalf("shard %d, %v", shard, err)
	}
	if wait, err := c.TakeAppendTokens(ctx, "s", shard, one); wait != 0 || err != nil {
		t.Errorf("of an open shard: %v, %v", wait, err)
	}
	if _, err := c.SetShardCount(ctx, "s", 2, client.Reshard{Wait: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TakeAppendTokens(ctx, "s", shard, one); !client.IsShardClosed(err) {
		t.Errorf("of a closed shard: %v", err)
	}
	if wait, err := c.TakeTokens(ctx, "s", shard, one); wait != 0 || err != nil {
		t.Errorf("of a closed shard, to read: %v, %v", wait, err)
	}
	if shard, err := c.ShardFor(ctx, "s", r); err != nil || shard == 0 {
		t.Errorf("now the record's shard is %d, %v", shard, err)
	}
	first := client.Claim{Stream: "s", Shard: 1, Name: "n", Holder: "first"}
	second := first
	second.Holder = "second"
	if held, _, err := c.TakeClaim(ctx, first, time.Minute); !held || err != nil {
		t.Errorf("a first claim: %v, %v", held, err)
	}
	if held, wait, err := c.TakeClaim(ctx, second, time.Minute); held || wait < time.Second || err != nil {
		t.Errorf("a second claim: %v, %v, %v", held, wait, err)
	}
	if held, _, err := c.TakeClaim(ctx, second, 0); !held || err != nil {
		t.Errorf("a claim taken over: %v, %v", held, err)
	}
	if held, err := c.RenewClaim(ctx, first, time.Minute); held || err != nil {
		t.Errorf("the first renewed: %v, %v", held, err)
	}
	if err := c.ReleaseClaim(ctx, second); err != nil {
		t.Error(err)
	}
	if held, err := c.RenewClaim(ctx, first, time.Minute); !held || err != nil {
		t.Errorf("the first renewed after the second has gone: %v, %v", held, err)
	}
}
