package node

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/hashkey"
)

// dialed starts a cluster and returns a client of it.
func dialed(t *testing.T, nodes int, change func(*configs.Config)) (*client.Client, []*testNode, context.Context) {
	t.Helper()
	all, infos := startCluster(t, nodes, change)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	var addresses []string
	for _, i := range infos {
		addresses = append(addresses, i.GRPC)
	}
	c, err := client.Dial(ctx, addresses)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, all, ctx
}

// openShards returns the shards that own keys now, ascending by them.
func openShards(ctx context.Context, t *testing.T, c *client.Client, stream string) []*pb.Shard {
	t.Helper()
	shards, err := c.ListShardsWhere(ctx, stream, client.ShardFilter{Kind: pb.ShardFilter_SHARDS_OPEN})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(shards, func(a, b *pb.Shard) int {
		one, _ := hashkey.Parse(a.GetHashStart())
		other, _ := hashkey.Parse(b.GetHashStart())
		return one.Compare(other)
	})
	return shards
}

// TestReshardAtTheEdges splits empty shards at the first, the last and the middle key, down to single keys, merges what is
// unequal, and finds each record where it belongs.
func TestReshardAtTheEdges(t *testing.T) {
	c, _, ctx := dialed(t, 1, func(*configs.Config) {})
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	one, half, last := hashkey.Key{Lo: 1}, hashkey.Key{Hi: 1 << 63}, hashkey.Max
	keys := []hashkey.Key{{}, one, {Lo: 2}, half.Prev(), half, last.Prev(), last}
	written := 0
	put := func() {
		for _, k := range keys {
			q, err := p.Put(ctx, client.Record{PartitionKey: "k", ExplicitHashKey: &k, Data: fmt.Append(nil, written)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := q.Wait(ctx)
			if err != nil {
				t.Fatalf("record %d, hash key %s: %v", written, k, err)
			}
			for _, sh := range openShards(ctx, t, c, "s") {
				start, _ := hashkey.Parse(sh.GetHashStart())
				end, _ := hashkey.Parse(sh.GetHashEnd())
				if owns := (hashkey.Range{Start: start, End: end}).Contains(k); owns != (sh.GetNumber() == r.Shard) {
					t.Fatalf("hash key %s went to shard %d; shard %d has [%s, %s]", k, r.Shard, sh.GetNumber(), start, end)
				}
			}
			written++
		}
	}
	split := func(shard uint32, at ...hashkey.Key) *pb.Reshard {
		t.Helper()
		var bounds []string
		for _, k := range at {
			bounds = append(bounds, k.String())
		}
		r, err := c.SplitShard(ctx, "s", shard, bounds, 0, client.Reshard{Wait: true})
		if err != nil || r.GetPhase() != "done" {
			t.Fatalf("split of shard %d at %v: %v, %v", shard, at, r, err)
		}
		return r
	}
	if _, err := c.SplitShard(ctx, "s", 0, []string{"0"}, 0, client.Reshard{}); !client.IsInvalid(err) {
		t.Errorf("a split at 0: %v", err)
	}
	// 0 | 1 | 2 … 2^127-1 | 2^127 … max-1 | max
	first := split(0, one) // both are empty, and just split below
	low, rest := first.GetChildren()[0], first.GetChildren()[1]
	put()
	middle := split(rest, hashkey.Key{Lo: 2}, half, last)
	put()
	for _, shard := range []uint32{low, middle.GetChildren()[0], middle.GetChildren()[3]} {
		if _, err := c.SplitShard(ctx, "s", shard, nil, 2, client.Reshard{}); !client.IsInvalid(err) {
			t.Errorf("a split of shard %d, which has one key: %v", shard, err)
		}
	}
	if _, err := c.MergeShards(ctx, "s", low, middle.GetChildren()[1], client.Reshard{}); !client.IsInvalid(err) {
		t.Errorf("a merge of shards that are no neighbours: %v", err)
	}
	if _, err := c.SplitShard(ctx, "s", rest, nil, 2, client.Reshard{}); !client.IsConflict(err) {
		t.Errorf("a split of a closed shard: %v", err)
	}
	for shards := openShards(ctx, t, c, "s"); len(shards) > 1; shards = openShards(ctx, t, c, "s") {
		// A single key with half of all, and so on to the end.
		r, err := c.MergeShards(ctx, "s", shards[1].GetNumber(), shards[0].GetNumber(), client.Reshard{Wait: true})
		if err != nil || r.GetPhase() != "done" {
			t.Fatalf("merge: %v, %v", r, err)
		}
		put()
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	checkAscending(ctx, t, c, written)
	// The same again is the same reshard, though its shards are long closed.
	again, err := c.SplitShard(ctx, "s", 0, []string{"1"}, 0, client.Reshard{ID: first.GetId()})
	if err != nil || again.GetNumber() != first.GetNumber() {
		t.Errorf("the first split again: %v, %v", again, err)
	}
	if _, err := c.SplitShard(ctx, "s", 0, []string{"1", "2"}, 0, client.Reshard{ID: first.GetId()}); !client.IsConflict(err) {
		t.Errorf("another split with its id: %v", err)
	}
}

// checkAscending reads all records of stream s, which were put one after the other as 0, 1, 2, …, and wants those of each hash key in order.
func checkAscending(ctx context.Context, t *testing.T, c *client.Client, count int) {
	t.Helper()
	r := c.ReadStream(ctx, "s", client.ReadOptions{})
	defer r.Close()
	last := map[string]client.Record{}
	for n := 0; ; n++ {
		rec, err := r.Next(ctx)
		if err != nil {
			if n != count {
				t.Errorf("%d records of %d were read: %v", n, count, err)
			}
			return
		}
		key := rec.PartitionKey
		if rec.ExplicitHashKey != nil {
			key = rec.ExplicitHashKey.String()
		}
		if before, ok := last[key]; ok && (before.Sequence.Compare(rec.Sequence) >= 0 || len(before.Data) > len(rec.Data) || len(before.Data) == len(rec.Data) && string(before.Data) >= string(rec.Data)) {
			t.Fatalf("key %s: %s at %s was read after %s at %s", key, rec.Data, rec.Sequence, before.Data, before.Sequence)
		}
		last[key] = rec
	}
}

// TestHundredGenerations splits and merges the same keys a hundred times over, with one producer that writes in each generation.
func TestHundredGenerations(t *testing.T) {
	generations := 100
	if testing.Short() {
		generations = 6
	}
	c, nodes, ctx := dialed(t, 1, func(*configs.Config) {})
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	put := func() {
		for i := range 5 {
			q, err := p.Put(ctx, client.Record{PartitionKey: fmt.Sprint("key", i), Data: fmt.Append(nil, written)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := q.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	start := time.Now()
	for range generations / 2 {
		put()
		shards := openShards(ctx, t, c, "s")
		if _, err := c.SplitShard(ctx, "s", shards[0].GetNumber(), nil, 2, client.Reshard{Wait: true}); err != nil {
			t.Fatal(err)
		}
		put()
		shards = openShards(ctx, t, c, "s")
		if _, err := c.MergeShards(ctx, "s", shards[0].GetNumber(), shards[1].GetNumber(), client.Reshard{Wait: true}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	t.Logf("%d generations in %v", generations, time.Since(start).Round(time.Millisecond))
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	checkAscending(ctx, t, c, written)
	// A restart finds them all again.
	nodes[0].end(t)
	nodes[0].start(t)
	checkAscending(ctx, t, c, written)
	all, err := c.ListShardsWhere(ctx, "s", client.ShardFilter{})
	if err != nil || len(all) != 1+generations/2*3 {
		t.Errorf("%d shards after %d generations: %v", len(all), generations, err)
	}
}

// TestSealWithoutAMajority: a reshard whose parent has lost its majority waits, other shards go on, and it ends when
// the majority is back.
func TestSealWithoutAMajority(t *testing.T) {
	if testing.Short() {
		t.Skip("stops nodes of five; runs without -short")
	}
	c, nodes, ctx := dialed(t, 5, func(*configs.Config) {})
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 8, Replicas: 3}, true); err != nil {
		t.Fatal(err)
	}
	// Two nodes may go without the meta group losing its majority; take two that share a shard, and one that both are strangers to.
	shards := openShards(ctx, t, c, "s")
	lost, kept, down := splitByMajority(t, nodes, shards)
	for _, n := range down {
		n.end(t)
	}
	if _, err := c.SplitShard(ctx, "s", lost.GetNumber(), nil, 2, client.Reshard{ID: "stuck"}); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	start, _ := hashkey.Parse(kept.GetHashStart())
	q, err := p.Put(ctx, client.Record{PartitionKey: "k", ExplicitHashKey: &start})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Wait(ctx); err != nil {
		t.Errorf("a shard with its majority takes no record meanwhile: %v", err)
	}
	time.Sleep(2 * time.Second)
	if now, err := c.SplitShard(ctx, "s", lost.GetNumber(), nil, 2, client.Reshard{ID: "stuck"}); err != nil || now.GetPhase() == "done" || now.GetPhase() == "aborted" {
		t.Errorf("without the parent's majority the split is %v, %v", now, err)
	}
	for _, n := range down {
		n.begin(t)
	}
	r, err := c.SplitShard(ctx, "s", lost.GetNumber(), nil, 2, client.Reshard{ID: "stuck", Wait: true})
	if err != nil || r.GetPhase() != "done" {
		t.Fatalf("with the majority back the split is %v, %v", r, err)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

// splitByMajority returns a shard that loses its majority with two nodes, which do not serve the client's first address, one
// that keeps it, and these nodes.
func splitByMajority(t *testing.T, nodes []*testNode, shards []*pb.Shard) (lost, kept *pb.Shard, down []*testNode) {
	t.Helper()
	byName := map[string]*testNode{}
	for _, n := range nodes {
		byName[n.cfg.Node.Name] = n
	}
	for _, sh := range shards {
		var names []string
		for _, r := range sh.GetReplicas() {
			names = append(names, r.GetNodeName())
		}
		for _, other := range shards {
			alive := 0
			for _, r := range other.GetReplicas() {
				if r.GetNodeName() != names[0] && r.GetNodeName() != names[1] {
					alive++
				}
			}
			if alive > 1 {
				return sh, other, []*testNode{byName[names[0]], byName[names[1]]}
			}
		}
	}
	t.Fatal("all shards share their nodes")
	return nil, nil, nil
}

// TestGoalGoesOnAfterAnAbort: a move towards a number of shards that was aborted is tried again.
func TestGoalGoesOnAfterAnAbort(t *testing.T) {
	c, nodes, ctx := dialed(t, 1, func(*configs.Config) {})
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 2, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetShardCount(ctx, "s", 3, client.Reshard{ID: "three"}); err != nil {
		t.Fatal(err)
	}
	aborted := 0
	for range 200 {
		all, err := c.ListReshards(ctx, "s", true, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if _, err := c.AbortReshard(ctx, r.GetId(), "the test"); err == nil {
				aborted++
			}
		}
		if aborted > 0 {
			break
		}
	}
	st, err := c.SetShardCount(ctx, "s", 3, client.Reshard{ID: "three", Wait: true})
	if err != nil || st.GetOpenShards() != 3 || st.GetGoal().GetFailure() != "" {
		t.Fatalf("after %d aborts: %v, %v", aborted, st, err)
	}
	// Once there is nothing to do, nothing is written to the control state on its account.
	before := nodes[0].node.metaStore.State().Version()
	time.Sleep(3 * time.Second)
	if after := nodes[0].node.metaStore.State().Version(); after > before+10 {
		t.Errorf("the control state went from version %d to %d in three idle seconds", before, after)
	}
	t.Logf("%d aborts", aborted)
}
