package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
	"github.com/levada-stream/levada/wal"
	"github.com/levada-stream/levada/wal/record"
)

// benchShard makes a shard replica without a Raft group that holds so many blocks of one batch each.
func benchShard(b *testing.B, cache int64, blocks, size int) *shard {
	b.Helper()
	w := wal.NewWriter(wal.WriterOptions{CacheBytes: cache})
	log, err := wal.Open(vfs.OS(), b.TempDir(), wal.Options{Group: 7, Shard: 3, Writer: w})
	if err != nil {
		b.Fatal(err)
	}
	r := partition.NewReplica(partition.Options{Group: 7, StreamID: 5, Shard: 3, Range: hashkey.Full, Log: log})
	b.Cleanup(func() {
		r.Shutdown()
		r.Close()
		_ = log.Close() // its files are thrown away
		_ = w.Close()
	})
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 64<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for i := range blocks {
		builder := record.NewBuilder(size)
		for builder.Len()+1<<10 <= size {
			data := noise[rng.IntN(len(noise)-1<<10):][:1<<10-64]
			if err := builder.Add(record.Record{Key: fmt.Appendf(nil, "sensor-%06d", rng.IntN(1<<20)), Data: data}); err != nil {
				b.Fatal(err)
			}
		}
		head, body := partition.Command{
			Kind: partition.CommandAppend, Time: 1_700_000_000_000, Batches: []record.Batch{builder.Finish(record.ProducerID{}, 0, false)},
		}.Encode()
		result := r.Apply([]partition.Entry{{Index: uint64(i) + 1, Term: 1, Head: head, Data: body}})[0]
		if got, ok := result.([]partition.AppendResult); !ok || got[0].Err != nil {
			b.Fatalf("apply: %v", result)
		}
	}
	if err := log.Flush(context.Background(), log.Position().Next); err != nil {
		b.Fatal(err)
	}
	return &shard{number: 3, group: 7, log: log, replica: r}
}

// BenchmarkPage builds the messages to a reader, 1 MiB each, of all that a shard holds in memory, or in files;
// with these it is the disk that is measured as well.
func BenchmarkPage(b *testing.B) {
	const size = 8 << 20
	for _, from := range []struct {
		name  string
		cache int64
	}{{"memory", 64 << 20}, {"file", -1}} {
		for _, kib := range []int{4, 256} {
			b.Run(fmt.Sprintf("from=%s/block=%dKiB", from.name, kib), func(b *testing.B) {
				s := benchShard(b, from.cache, size>>10/kib, kib<<10)
				pageThrough(b, s)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					pageThrough(b, s)
				}
			})
		}
	}
}

func pageThrough(b *testing.B, s *shard) {
	r := reader{n: &Node{now: time.Now}, shard: s, meta: &meta.Shard{Number: 3}, most: readBytesDefault}
	for r.next < s.replica.Tail() {
		page, err := r.page(context.Background(), true, signOfLife)
		if err != nil || len(page.GetBlocks()) == 0 {
			b.Fatalf("page at %d: %d blocks, %v", r.next, len(page.GetBlocks()), err)
		}
	}
}
