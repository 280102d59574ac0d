package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/hashkey"
)

// quick is a policy with the shortest windows there are.
func quick(mode string) *pb.Scaling {
	return &pb.Scaling{Mode: mode, BytesPerSecond: 100_000, SplitSeconds: 10, MergeSeconds: 10, CooldownSeconds: 1, ShardsMax: 16, ReshardsPerHour: 1000}
}

// load puts about so many bytes a second until ctx ends, with keys by a Zipf law.
func load(ctx context.Context, t *testing.T, c *client.Client, stream string, perSecond int) {
	p, err := c.Producer(stream, client.ProducerOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 4, 5000)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	data := make([]byte, 500)
	for ctx.Err() == nil {
		for range perSecond / 100 / len(data) {
			if _, err := p.Put(context.Background(), client.Record{PartitionKey: fmt.Sprint("word", zipf.Uint64()), Data: data}); err != nil {
				t.Error(err)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	closing, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(closing); err != nil {
		t.Error(err)
	}
}

// awaitLong asks until ok, for two minutes at most.
func awaitLong(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// TestScalingFollowsTheLoad: a skewed load splits a stream until no shard is above its target; a stream that only takes advice has the
// same load and stays as it is; when the load stops, the shards merge again.
func TestScalingFollowsTheLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and a half; runs without -short")
	}
	c, _, ctx := dialed(t, 3, func(*configs.Config) {})
	for _, name := range []string{"follows", "advised"} {
		if _, _, err := c.CreateStream(ctx, name, &pb.StreamSettings{Shards: 1}, true); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]string{"follows": "on", "advised": "advise"} {
		if _, err := c.SetScaling(ctx, name, quick(mode), "the test"); err != nil {
			t.Fatal(err)
		}
	}
	loading, endLoad := context.WithCancel(ctx)
	var loads sync.WaitGroup
	for _, name := range []string{"follows", "advised"} {
		loads.Go(func() { load(loading, t, c, name, 300_000) })
	}
	hottest := func() (hottest float64, known bool) {
		all, err := c.ListLoads(ctx, "follows", 10)
		if err != nil {
			t.Fatal(err)
		}
		known = true
		for _, l := range all {
			hottest = max(hottest, l.GetBytesPerSecond())
			known = known && l.GetKnown() && time.Since(time.UnixMilli(l.GetKnownSinceMs())) > 20*time.Second
		}
		return hottest, known && len(all) > 2
	}
	awaitLong(t, "shards below their target", func() bool {
		most, known := hottest()
		return known && most > 0 && most <= 100_000
	})
	grown := len(openShards(ctx, t, c, "follows"))
	if n := len(openShards(ctx, t, c, "advised")); n != 1 {
		t.Errorf("the stream that only takes advice has %d shards", n)
	}
	endLoad()
	loads.Wait()
	awaitLong(t, "one shard again", func() bool { return len(openShards(ctx, t, c, "follows")) == 1 })
	kinds := map[string]map[string]int{}
	for _, name := range []string{"follows", "advised"} {
		events, err := c.ListScalingEvents(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		kinds[name] = map[string]int{}
		for _, e := range events {
			kinds[name][e.GetKind()]++
			if e.GetReason() == "" || (e.GetKind() == "split") != strings.Contains(e.GetReason(), "; into ") && e.GetKind() != "advice" {
				t.Errorf("event %v", e)
			}
			t.Logf("%s %s %v: %s", name, e.GetKind(), e.GetShards(), e.GetReason())
		}
	}
	if k := kinds["follows"]; k["split"] == 0 || k["merge"] == 0 || k["policy"] != 1 || k["advice"] > 0 {
		t.Errorf("events of the stream that follows its load: %v", k)
	}
	if k := kinds["advised"]; k["advice"] == 0 || k["split"]+k["merge"] > 0 {
		t.Errorf("events of the stream that takes advice: %v", k)
	}
	t.Logf("%d shards under load", grown)
}

// TestProblemsAndHotKeys: a shard that is reported hot is cut by its load; one whose load is a single key is not, until the policy permits to salt it.
func TestProblemsAndHotKeys(t *testing.T) {
	c, nodes, ctx := dialed(t, 1, func(*configs.Config) {})
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(keys ...string) (shards map[uint32]int) {
		shards = map[uint32]int{}
		for i := range 400 {
			q, err := p.Put(ctx, client.Record{PartitionKey: keys[i%len(keys)], Data: make([]byte, 4000)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := q.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			shards[r.Shard]++
		}
		return shards
	}
	put("a", "b", "c", "d", "e", "f", "g", "h")
	// Three keys make no sixteen parts; the same again is the same split all the same.
	if _, _, err := c.CreateStream(ctx, "other", &pb.StreamSettings{Shards: 1, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := c.Put(ctx, "other", client.Record{PartitionKey: fmt.Sprint("key", i%3), Data: make([]byte, 4000)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		r, err := c.SplitShardByLoad(ctx, "other", 0, 16, client.Reshard{ID: "by load", Wait: true})
		if err != nil || len(r.GetChildren()) < 2 || len(r.GetChildren()) > 4 {
			t.Fatalf("a split by load of three keys: %v, %v", r, err)
		}
	}
	report := func(id string, shards ...uint32) *pb.ReportProblemResponse {
		t.Helper()
		out, err := c.ReportProblem(ctx, &pb.ReportProblemRequest{Id: id, Stream: "s", Problem: pb.Problem_PROBLEM_HOT_SHARD, Shards: shards, Reporter: "the test"})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := report("one")
	if len(out.GetReshards()) != 1 || len(out.GetEvents()) != 1 || !strings.Contains(out.GetEvents()[0].GetReason(), "reported to be hot by the test") {
		t.Fatalf("a hot shard: %v", out)
	}
	if again := report("one", 0); len(again.GetReshards()) != 1 || again.GetReshards()[0].GetId() != out.GetReshards()[0].GetId() {
		t.Errorf("reported again: %v", again)
	}
	awaitLong(t, "two shards", func() bool { return len(openShards(ctx, t, c, "s")) == 2 })
	// The key alone makes its shard's load, which is not above a target, as nothing is known for long: still no split would help.
	hot := hashkey.FromPartitionKey([]byte("hot"))
	var owner uint32
	for shard := range put("hot") {
		owner = shard
	}
	if out := report("two", owner); len(out.GetReshards()) != 0 || len(out.GetEvents()) != 1 {
		t.Errorf("a shard with one key: %v", out)
	}
	loads, err := c.ListLoads(ctx, "s", 0, owner)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range loads {
		if l.GetShard() == owner && (len(l.GetHeaviest()) == 0 || l.GetHeaviest()[0].GetHashKey() != hot.String() || len(l.GetHistogram()) != 64) {
			t.Errorf("load of the shard with one key: %v", l)
		}
	}
	if _, err := c.SaltKey(ctx, "s", hot.String(), 8, "too hot"); !client.IsConflict(err) {
		t.Errorf("a salt that the policy does not permit: %v", err)
	}
	if _, err := c.SetScaling(ctx, "s", &pb.Scaling{Mode: "off", SaltParts: 8}, ""); err != nil {
		t.Fatal(err)
	}
	st, err := c.SaltKey(ctx, "s", hot.String(), 8, "too hot")
	if err != nil || len(st.GetSaltedKeys()) != 1 {
		t.Fatalf("salt: %v, %v", st, err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	// A producer that runs learns of it with its next map, within half a minute; a new one at once.
	fresh, err := client.Dial(ctx, []string{nodes[0].node.addresses.GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if p, err = fresh.Producer("s", client.ProducerOptions{}); err != nil {
		t.Fatal(err)
	}
	if shards := put("hot"); len(shards) != 2 {
		t.Errorf("the salted key went to shards %v", shards)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestScalingRefusals: each field out of its limits is named.
func TestScalingRefusals(t *testing.T) {
	c, _, ctx := dialed(t, 1, func(cfg *configs.Config) { cfg.Limits.ShardsPerStreamMax = 100 })
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 1, Replicas: 1}, true); err != nil {
		t.Fatal(err)
	}
	for field, p := range map[string]*pb.Scaling{
		"mode": {Mode: "perhaps"}, "bytes_per_second": {BytesPerSecond: -1}, "split_seconds": {SplitSeconds: 9}, "merge_seconds": {MergeSeconds: 3601},
		"merge_percent": {MergePercent: 71}, "cooldown_seconds": {CooldownSeconds: 100_000}, "shards_min": {ShardsMin: 9, ShardsMax: 8}, "shards": {ShardsMax: 101},
		"reshards_per_hour": {ReshardsPerHour: 3601}, "shard_hours_per_day": {ShardHoursPerDay: -1}, "salt_parts": {SaltParts: 1},
	} {
		_, err := c.SetScaling(ctx, "s", p, "")
		if e := (*client.Error)(nil); !client.IsInvalid(err) || !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	st, err := c.SetScaling(ctx, "s", &pb.Scaling{}, "")
	if err != nil || st.GetScaling().GetMode() != "on" || st.GetScaling().GetShardsMax() != 100 || st.GetScaling().GetBytesPerSecond() != 1<<20 {
		t.Errorf("a policy of defaults: %v, %v", st.GetScaling(), err)
	}
}
