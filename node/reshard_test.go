package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/seqno"
)

// TestReshardUnderLoad writes and reads without pause while shards split and merge at random: each record is stored once, read
// once, and the records of a key come in the order in which they were put, with ascending sequence numbers.
func TestReshardUnderLoad(t *testing.T) {
	_, infos := startCluster(t, 3, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC, infos[1].GRPC, infos[2].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.CreateStream(ctx, "s", &pb.StreamSettings{Shards: 2}, true); err != nil {
		t.Fatal(err)
	}
	w := &keyedWriter{t: t, keys: 40, stop: make(chan struct{})}
	var work sync.WaitGroup
	work.Go(func() { w.run(ctx, c) })
	seen := make(chan map[string][]client.Record, 1)
	reading, endReading := context.WithCancel(ctx)
	defer endReading()
	work.Go(func() { seen <- readAll(reading, t, c, "s", w) })

	rng := rand.New(rand.NewPCG(3, 4))
	reshards := 20
	if testing.Short() {
		reshards = 6
	}
	for i := range reshards {
		shards, err := c.ListShardsWhere(ctx, "s", client.ShardFilter{Kind: pb.ShardFilter_SHARDS_OPEN})
		if err != nil {
			t.Fatal(err)
		}
		var r *pb.Reshard
		if split := rng.IntN(3) > 0; split && len(shards) < 8 || len(shards) == 1 {
			r, err = c.SplitShard(ctx, "s", shards[rng.IntN(len(shards))].GetNumber(), nil, uint32(2+rng.IntN(2)), client.Reshard{Wait: true})
		} else {
			one, other := neighbours(shards, rng)
			r, err = c.MergeShards(ctx, "s", one, other, client.Reshard{Wait: true})
		}
		if err != nil {
			t.Fatalf("reshard %d: %v", i, err)
		}
		if r.GetPhase() != "done" {
			t.Fatalf("reshard %d: %v", i, r)
		}
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
	}
	if _, err := c.SetShardCount(ctx, "s", 3, client.Reshard{Wait: true}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	close(w.stop)
	records := <-seen
	endReading()
	work.Wait()
	w.check(records)
	open, err := c.ListShardsWhere(ctx, "s", client.ShardFilter{Kind: pb.ShardFilter_SHARDS_OPEN})
	if err != nil || len(open) != 3 {
		t.Fatalf("%d shards are open after setting 3: %v", len(open), err)
	}
}

// neighbours returns two shards whose ranges touch.
func neighbours(shards []*pb.Shard, rng *rand.Rand) (one, other uint32) {
	for {
		a := shards[rng.IntN(len(shards))]
		for _, b := range shards {
			if follows(a.GetHashEnd(), b.GetHashStart()) {
				return a.GetNumber(), b.GetNumber()
			}
		}
	}
}

// keyedWriter puts numbered records of several keys until it is stopped.
type keyedWriter struct {
	t    *testing.T
	keys int
	stop chan struct{}

	mu      sync.Mutex
	written map[string][]seqno.Number // by key, in the order in which they were put
	done    bool
	total   int
	slowest time.Duration
}

func (w *keyedWriter) run(ctx context.Context, c *client.Client) {
	p, err := c.Producer("s", client.ProducerOptions{})
	if err != nil {
		w.t.Error(err)
		return
	}
	w.written = map[string][]seqno.Number{}
	put := map[string]int{}
	var results sync.WaitGroup
	for i := 0; ; i++ {
		select {
		case <-w.stop:
		case <-time.After(time.Millisecond):
		}
		if ctx.Err() != nil || w.stopped() {
			break
		}
		key := fmt.Sprint("key", i%w.keys)
		n := put[key]
		put[key]++
		start := time.Now()
		results.Add(1)
		err := p.PutFunc(ctx, client.Record{PartitionKey: key, Data: []byte(strconv.Itoa(n))}, func(r client.Result) {
			defer results.Done()
			w.mu.Lock()
			defer w.mu.Unlock()
			if r.Err != nil {
				w.t.Errorf("record %d of %s: %v", n, key, r.Err)
				return
			}
			if len(w.written[key]) != n {
				w.t.Errorf("record %d of %s is acknowledged after %d others", n, key, len(w.written[key]))
			}
			w.written[key] = append(w.written[key], r.Sequence)
			w.total++
			w.slowest = max(w.slowest, time.Since(start))
		})
		if err != nil {
			w.t.Errorf("record %d of %s: %v", n, key, err)
			results.Done()
			break
		}
	}
	if err := p.Close(ctx); err != nil {
		w.t.Error(err)
	}
	results.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
}

func (w *keyedWriter) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// expect returns how many records there are in all, once that is known.
func (w *keyedWriter) expect() (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total, w.done
}

// readAll follows a stream until it has seen as many records as were written, and returns them by key.
func readAll(ctx context.Context, t *testing.T, c *client.Client, stream string, w *keyedWriter) map[string][]client.Record {
	r := c.ReadStream(ctx, stream, client.ReadOptions{Follow: true})
	defer r.Close()
	byKey := map[string][]client.Record{}
	count := 0
	for {
		if total, done := w.expect(); done && count >= total {
			return byKey
		}
		some, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		records, err := r.NextBatch(some)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the reader ended: %v", err)
			return byKey
		}
		if ctx.Err() != nil {
			t.Errorf("the reader has seen %d records", count)
			return byKey
		}
		for _, rec := range records {
			byKey[rec.PartitionKey] = append(byKey[rec.PartitionKey], rec)
			count++
		}
	}
}

func (w *keyedWriter) check(read map[string][]client.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	shards := map[uint32]bool{}
	for key, sequences := range w.written {
		if len(read[key]) != len(sequences) {
			w.t.Errorf("%s: %d records were read of %d", key, len(read[key]), len(sequences))
			continue
		}
		for i, rec := range read[key] {
			shards[rec.Shard] = true
			if string(rec.Data) != strconv.Itoa(i) || rec.Sequence != sequences[i] {
				w.t.Errorf("%s: record %d was read as %s at %s, it was put at %s", key, i, rec.Data, rec.Sequence, sequences[i])
				break
			}
			if i > 0 && sequences[i].Compare(sequences[i-1]) <= 0 {
				w.t.Errorf("%s: record %d at %s follows one at %s", key, i, sequences[i], sequences[i-1])
				break
			}
		}
	}
	w.t.Logf("%d records of %d keys in %d shards, the slowest took %v", w.total, len(w.written), len(shards), w.slowest)
	if w.total == 0 || len(shards) < 5 {
		w.t.Error("the run shows nothing")
	}
}

// follows reports whether a range that starts at start, in decimal, follows one that ends at end.
func follows(end, start string) bool {
	e, err1 := hashkey.Parse(end)
	s, err2 := hashkey.Parse(start)
	return err1 == nil && err2 == nil && e != hashkey.Max && e.Next() == s
}
