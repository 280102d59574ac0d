package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

// benchSizes are record sizes; one of 64 KiB with its key and header is a quarter of a batch.
var benchSizes = []struct {
	name  string
	bytes int
}{{"1KiB", 1 << 10}, {"64KiB", 64<<10 - 64}}

// benchRecords makes records of noise under different keys.
func benchRecords(size int) []Record {
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]Record, 64)
	for i := range all {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		all[i] = Record{PartitionKey: fmt.Sprintf("sensor-%06d", rng.IntN(1<<20)), Data: data}
	}
	return all
}

// BenchmarkPut puts one record. Without a network the lanes' batches are encoded and answered in this process, without
// ever being a message; with one they pass through gRPC over pipes in memory to a fake node, which checks them.
func BenchmarkPut(b *testing.B) {
	for _, network := range []string{"none", "pipe"} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("network=%s/record=%s", network, size.name), func(b *testing.B) {
				f := newFake(b, 1)
				defer f.close()
				f.create("s", 4)
				f.plan = forgetBlocks
				c := f.client()
				defer c.Close()
				p, err := c.Producer("s", ProducerOptions{})
				if err != nil {
					b.Fatal(err)
				}
				ctx := context.Background()
				if network == "none" {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
					p.start = func(l *lane) { p.running.Go(func() { answerLocally(ctx, b, l) }) }
				}
				putAll(ctx, b, p, benchRecords(size.bytes))
			})
		}
	}
}

func putAll(ctx context.Context, b *testing.B, p *Producer, records []Record) {
	done := func(r Result) {
		if r.Err != nil {
			b.Error(r.Err)
		}
	}
	b.SetBytes(int64(len(records[0].Data)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := p.PutFunc(ctx, records[i%len(records)], done); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := p.Flush(ctx); err != nil {
		b.Error(err)
	}
	if p.Stats().Failed > 0 {
		b.Error("records failed")
	}
}

// forgetBlocks applies what it is given and keeps the fake's memory small. The fake's lock is held.
func forgetBlocks(_ *fakeCluster, _ *fakeNode, sh *fakeShard, _ record.Batch) fate {
	sh.blocks = nil
	for _, p := range sh.producers {
		clear(p.ranges)
	}
	return fate{apply: true}
}

// answerLocally is a lane's goroutine that takes batches through the window and answers each at once.
func answerLocally(ctx context.Context, b *testing.B, l *lane) {
	for ctx.Err() == nil {
		now := time.Now()
		q, linger := l.take(now, 1)
		if q == nil {
			var full <-chan time.Time // nil: there is nothing to wait for but a record
			if linger > 0 {
				full = time.After(linger)
			}
			select {
			case <-l.wake:
			case <-full:
			case <-ctx.Done():
			}
			continue
		}
		if err := l.win.admit(q, now); err != nil {
			b.Error(err)
			return
		}
		l.win.sending(now)
		answer := &levadav1.AppendResponse{Id: q.id, Ranges: []*levadav1.AppendedRange{{Count: uint32(q.count)}}}
		if _, ok := l.win.accept(answer, now); !ok {
			b.Error(fault.New(fault.Internal, "not accepted"))
			return
		}
		l.succeed(q, answer)
	}
}

// BenchmarkLookup finds the shard of a record.
func BenchmarkLookup(b *testing.B) {
	for _, shards := range []int{1, 16, 1024} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			f := newFake(b, 1)
			defer f.close()
			f.create("s", shards)
			c := f.client()
			defer c.Close()
			m, err := c.maps.get(context.Background(), "s")
			if err != nil {
				b.Fatal(err)
			}
			rec := benchRecords(1)[0].encodable()
			b.ReportAllocs()
			for b.Loop() {
				if m.lookup(rec.HashKey()) == nil {
					b.Fatal("no shard")
				}
			}
		})
	}
}

// BenchmarkDecode turns a page of 1 MiB into records, with checksums and without.
func BenchmarkDecode(b *testing.B) {
	builder := record.NewBuilder(1 << 20)
	for _, r := range benchRecords(1 << 10) {
		for range 15 {
			if err := builder.Add(r.encodable()); err != nil {
				b.Fatal(err)
			}
		}
	}
	count := builder.Count()
	m := &levadav1.ReadResponse{Blocks: []*levadav1.Block{{Count: uint32(count), Payload: builder.Finish(record.ProducerID{}, 0, false)}}}
	for _, verify := range []bool{true, false} {
		b.Run(fmt.Sprintf("record=1KiB/verify=%t", verify), func(b *testing.B) {
			b.SetBytes(int64(len(m.Blocks[0].Payload)))
			b.ReportAllocs()
			for b.Loop() {
				records, _, err := newCursor(0, AtOrdinal(0), verify).take(m)
				if err != nil || len(records) != count {
					b.Fatalf("%d records, %v", len(records), err)
				}
			}
		})
	}
}
