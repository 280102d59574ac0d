package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/tests/internal/cluster"
)

// TestConsumerAcrossGenerations scales a stream from 4 to 16 to 3 shards under a consumer of the client library and a producer
// that never stops. Each record is seen once, those of a key in order, and the log shows how the consumer goes from generation to generation.
func TestConsumerAcrossGenerations(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := c.CreateStream(ctx, "s", &levadav1.StreamSettings{Shards: 4, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	cl, err := client.Dial(ctx, []string{c.Nodes[0].GRPC, c.Nodes[1].GRPC, c.Nodes[2].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	writer := &numbered{stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { writer.done <- writer.run(ctx, cl) }()
	reader := &progress{t: t, start: time.Now(), next: map[string]int{}, seen: map[uint32]*generation{}}
	read := make(chan error, 1)
	go func() { read <- reader.run(ctx, cl, writer) }()

	for _, shards := range []uint32{16, 3} {
		time.Sleep(2 * time.Second)
		before := time.Now()
		if _, err := cl.SetShardCount(ctx, "s", shards, client.Reshard{Wait: true}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%6.1f s  %d shards after %v", time.Since(reader.start).Seconds(), shards, time.Since(before).Round(time.Millisecond))
	}
	time.Sleep(2 * time.Second)
	close(writer.stop)
	if err := <-writer.done; err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	reader.print()
	if n := len(reader.seen); n < 4+16+3 {
		t.Errorf("records of %d shards were seen", n)
	}
}

const numberedKeys = 200

// numbered puts 0, 1, 2, … under each of some keys.
type numbered struct {
	stop    chan struct{}
	done    chan error
	written atomic.Int64 // set once all are written
}

func (w *numbered) run(ctx context.Context, cl *client.Client) error {
	p, err := cl.Producer("s", client.ProducerOptions{})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	n := 0
	for tick := time.NewTicker(10 * time.Millisecond); ; n++ {
		if n%20 == 0 {
			select {
			case <-w.stop:
				tick.Stop()
				if err := p.Close(ctx); err != nil {
					return err
				}
				w.written.Store(int64(n))
				select {
				case err := <-failed:
					return err
				default:
					return nil
				}
			case <-tick.C:
			}
		}
		r := client.Record{PartitionKey: fmt.Sprint("key", n%numberedKeys), Data: strconv.AppendInt(nil, int64(n/numberedKeys), 10)}
		err := p.PutFunc(ctx, r, func(r client.Result) {
			if r.Err != nil {
				select {
				case failed <- r.Err:
				default:
				}
			}
		})
		if err != nil {
			return err
		}
	}
}

// generation is what was read of a shard.
type generation struct {
	first, last time.Duration
	records     int
}

// progress checks and remembers what a consumer sees.
type progress struct {
	t     *testing.T
	start time.Time
	next  map[string]int // the number that comes next, by key
	seen  map[uint32]*generation
	count int
}

func (p *progress) run(ctx context.Context, cl *client.Client, w *numbered) error {
	r := cl.ReadStream(ctx, "s", client.ReadOptions{Follow: true})
	defer r.Close()
	for {
		if all := w.written.Load(); all > 0 && int64(p.count) >= all {
			if int64(p.count) > all {
				return fmt.Errorf("%d records were read of %d", p.count, all)
			}
			return nil
		}
		some, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		records, err := r.NextBatch(some)
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return fmt.Errorf("after %d records of %d: %w", p.count, w.written.Load(), err)
		}
		for _, rec := range records {
			if want := p.next[rec.PartitionKey]; string(rec.Data) != strconv.Itoa(want) {
				return fmt.Errorf("%s: read %s where %d comes next, in shard %d", rec.PartitionKey, rec.Data, want, rec.Shard)
			}
			p.next[rec.PartitionKey]++
			p.count++
			g := p.seen[rec.Shard]
			if g == nil {
				g = &generation{first: time.Since(p.start)}
				p.seen[rec.Shard] = g
			}
			g.last = time.Since(p.start)
			g.records++
		}
	}
}

func (p *progress) print() {
	var shards []uint32
	for n := range p.seen {
		shards = append(shards, n)
	}
	slices.Sort(shards)
	for _, n := range shards {
		g := p.seen[n]
		p.t.Logf("shard %2d: %6d records, read from %6.2f s to %6.2f s", n, g.records, g.first.Seconds(), g.last.Seconds())
	}
	p.t.Logf("%d records of %d keys in %d shards, each once and in order", p.count, len(p.next), len(p.seen))
}
