package kinesis

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// value is what a record of the producer says.
type value struct {
	Key string
	N   int // counts up for each key
}

// producer writes records with the SDK, one call after the other, and tries again what failed, as programs do.
type producer struct {
	c      *kinesis.Client
	stream string

	mu    sync.Mutex
	acked map[string]int // by key: how many records of it are stored, which are its first ones
}

const producerKeys = 40

// run writes until ctx ends.
func (p *producer) run(ctx context.Context, t *testing.T) {
	next := map[string]int{}
	for ctx.Err() == nil {
		var entries []types.PutRecordsRequestEntry
		for i := range 100 {
			key := fmt.Sprint("key-", i%producerKeys)
			data, err := json.Marshal(value{key, next[key]})
			if err != nil {
				t.Error(err)
				return
			}
			next[key]++
			entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: &key, Data: data})
		}
		for len(entries) > 0 {
			out, err := p.c.PutRecords(context.WithoutCancel(ctx), &kinesis.PutRecordsInput{StreamName: &p.stream, Records: entries})
			if err != nil {
				t.Errorf("the SDK's own retries were not enough: %v", err)
				return
			}
			var again []types.PutRecordsRequestEntry
			for i, r := range out.Records {
				if r.ErrorCode != nil {
					again = append(again, entries[i])
				}
			}
			entries = again
		}
		p.mu.Lock()
		maps.Copy(p.acked, next)
		p.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}

// consumer reads a stream with the SDK: shards in the order of their generations, children after all their parents.
type consumer struct {
	c      *kinesis.Client
	stream string

	mu      sync.Mutex
	next    map[string]int // by key: the counter that comes next
	again   int            // records seen before
	shards  map[string]int // read to their ends, or being read
	records int
}

// run reads until ctx ends.
func (c *consumer) run(ctx context.Context, t *testing.T) {
	var readers sync.WaitGroup
	defer readers.Wait()
	done := map[string]bool{}
	started := map[string]bool{}
	var mu sync.Mutex
	for ctx.Err() == nil {
		out, err := c.c.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &c.stream})
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("list shards: %v", err)
			}
			return
		}
		mu.Lock()
		known := map[string]bool{}
		for _, sh := range out.Shards {
			known[*sh.ShardId] = true
		}
		for _, sh := range out.Shards {
			ready := true
			for _, parent := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
				ready = ready && (parent == nil || done[*parent] || !known[*parent])
			}
			if !ready || started[*sh.ShardId] {
				continue
			}
			started[*sh.ShardId] = true
			readers.Go(func() {
				if c.shard(ctx, t, *sh.ShardId) {
					mu.Lock()
					done[*sh.ShardId] = true
					mu.Unlock()
				}
			})
		}
		mu.Unlock()
		sleep(ctx, 20*time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// shard reads one shard and reports whether it came to its end.
func (c *consumer) shard(ctx context.Context, t *testing.T, id string) bool {
	it, err := c.c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &c.stream, ShardId: &id, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("iterator of %s: %v", id, err)
		}
		return false
	}
	for next := it.ShardIterator; ; {
		out, err := c.c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("read %s: %v", id, err)
			}
			return false
		}
		c.take(t, id, out.Records)
		if (out.NextShardIterator == nil) != (len(out.ChildShards) > 0) {
			t.Errorf("shard %s: next iterator %v and %d children", id, out.NextShardIterator, len(out.ChildShards))
		}
		for _, child := range out.ChildShards {
			if len(child.ParentShards) == 0 {
				t.Errorf("child %s of %s has no parents", *child.ShardId, id)
			}
		}
		if next = out.NextShardIterator; next == nil {
			return true
		}
		if len(out.Records) == 0 {
			sleep(ctx, 10*time.Millisecond)
		}
	}
}

// take checks that each key counts up by one. A record that the producer had to send again may come again.
func (c *consumer) take(t *testing.T, shard string, records []types.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		var v value
		if err := json.Unmarshal(r.Data, &v); err != nil {
			t.Errorf("a record of %s: %v", shard, err)
			continue
		}
		switch want := c.next[v.Key]; {
		case v.N == want:
			c.next[v.Key]++
		case v.N < want:
			c.again++
		default:
			t.Errorf("shard %s: %s has %d, want %d", shard, v.Key, v.N, want)
			c.next[v.Key] = v.N + 1
		}
		c.records++
	}
	c.shards[shard] += len(records)
}

// TestReshardUnderTheSDK brings a stream from 4 to 16 to 3 shards, and splits and merges, under a producer and a consumer written with the AWS SDK.
func TestReshardUnderTheSDK(t *testing.T) {
	nodes := start(t).Nodes
	admin := sdk(nodes[0], nil)
	const stream = "events"
	create(t, admin, stream, 4)
	p := &producer{c: sdk(nodes[1], nil), stream: stream, acked: map[string]int{}}
	c := &consumer{c: sdk(nodes[2], nil), stream: stream, next: map[string]int{}, shards: map[string]int{}}
	writing, endWriting := context.WithCancel(t.Context())
	reading, endReading := context.WithCancel(t.Context())
	var writer, reader sync.WaitGroup
	writer.Go(func() { p.run(writing, t) })
	reader.Go(func() { c.run(reading, t) })
	step := func(what string, do func() error) {
		time.Sleep(time.Second)
		began := time.Now()
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		awaitActive(t, admin, stream)
		open := openShards(t, admin, stream)
		checkTiling(t, open)
		fmt.Printf("%s: %d open shards after %v\n", what, len(open), time.Since(began).Round(time.Millisecond))
	}
	count := func(n int32) func() error {
		return func() error {
			_, err := admin.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: aws.String(stream), TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling})
			return err
		}
	}
	step("UpdateShardCount 4 to 16", count(16))
	step("UpdateShardCount 16 to 3", count(3))
	step("SplitShard", func() error {
		first := openShards(t, admin, stream)[0]
		_, err := admin.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: aws.String(stream), ShardToSplit: first.ShardId, NewStartingHashKey: aws.String("56713727820156410577229101238628035242")})
		return err
	})
	step("MergeShards", func() error {
		open := openShards(t, admin, stream)
		_, err := admin.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: aws.String(stream), ShardToMerge: open[1].ShardId, AdjacentShardToMerge: open[0].ShardId})
		return err
	})
	time.Sleep(time.Second)
	endWriting()
	writer.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for ; time.Now().Before(deadline) && !c.has(p.acked); time.Sleep(50 * time.Millisecond) {
	}
	endReading()
	reader.Wait()
	if !c.has(p.acked) {
		t.Errorf("records are missing: %v of %v", c.next, p.acked)
	}
	total := 0
	for _, n := range p.acked {
		total += n
	}
	fmt.Printf("%d records acknowledged, %d read from %d shards, %d of them again\n", total, c.records, len(c.shards), c.again)
	if total == 0 || len(c.shards) < 20 {
		t.Error("the run shows nothing")
	}
}

// has reports whether everything that was acknowledged has been read.
func (c *consumer) has(acked map[string]int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range acked {
		if c.next[key] < n {
			return false
		}
	}
	return true
}

// openShards returns the open shards in the order of their keys.
func openShards(t *testing.T, c *kinesis.Client, stream string) []types.Shard {
	t.Helper()
	out, err := c.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out.Shards, func(a, b types.Shard) int {
		return bigOf(*a.HashKeyRange.StartingHashKey).Cmp(bigOf(*b.HashKeyRange.StartingHashKey))
	})
	return out.Shards
}

// checkTiling checks that shards own each hash key once.
func checkTiling(t *testing.T, shards []types.Shard) {
	t.Helper()
	next := bigOf("0")
	for _, sh := range shards {
		if bigOf(*sh.HashKeyRange.StartingHashKey).Cmp(next) != 0 {
			t.Errorf("shard %s begins at %s, want %s", *sh.ShardId, *sh.HashKeyRange.StartingHashKey, next)
		}
		next = bigOf(*sh.HashKeyRange.EndingHashKey)
		next.Add(next, bigOf("1"))
	}
	if next.BitLen() != 129 {
		t.Errorf("the shards end before %s", next)
	}
}
