package wal

import (
	"context"
	"fmt"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

func benchLog(b *testing.B, o WriterOptions) *Log {
	b.Helper()
	w := newTestWriter(b, func(to *WriterOptions) { *to = o })
	l, err := Open(vfs.OS(), b.TempDir(), testOptions(w, 16<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// benchSizes are those of a lone record's block, of the smallest that is kept by reference, and of a full entry's.
var benchSizes = []int{1, 16, 256}

// BenchmarkAppend appends blocks that are written lazily to the disk, up to 128 MiB later. What is
// older than the last 32 MiB is deleted as it goes.
func BenchmarkAppend(b *testing.B) {
	for _, kib := range benchSizes {
		b.Run(fmt.Sprintf("block=%dKiB", kib), func(b *testing.B) {
			l := benchLog(b, WriterOptions{CacheBytes: -1})
			block := testBlock(0, 1, kib<<10)
			kept := 32 << 10 / kib
			b.SetBytes(int64(block.Bytes()))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				block.First, block.Index = uint64(i), uint64(i)
				mustAppend(b, l, block)
				if i > kept && i%kept == 0 {
					if err := l.DeleteBefore(uint64(i - kept)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkHeader computes what a block's header holds: the checksum and the cumulative hash.
func BenchmarkHeader(b *testing.B) {
	for _, kib := range benchSizes {
		b.Run(fmt.Sprintf("block=%dKiB", kib), func(b *testing.B) {
			block := testBlock(0, 1, kib<<10)
			b.SetBytes(int64(block.Bytes()))
			b.ReportAllocs()
			for b.Loop() {
				h, err := newBlockHeader(&block)
				if err != nil {
					b.Fatal(err)
				}
				h.chain = h.chainAfter(Chain{1})
			}
		})
	}
}

// BenchmarkRead reads a log front to back, 1 MiB at a time: blocks that are still in memory, and from files. Large
// reads pass the page cache by, so with files it is the disk that is measured as well.
func BenchmarkRead(b *testing.B) {
	const size = 8 << 20
	for _, from := range []struct {
		name  string
		cache int64
	}{{"memory", 64 << 20}, {"file", -1}} {
		for _, kib := range benchSizes {
			b.Run(fmt.Sprintf("from=%s/block=%dKiB", from.name, kib), func(b *testing.B) {
				l := benchLog(b, WriterOptions{CacheBytes: from.cache})
				fill(b, l, size>>10/kib, 1, kib<<10)
				if err := l.Flush(context.Background(), l.Position().Next); err != nil {
					b.Fatal(err)
				}
				readThrough(b, l)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					readThrough(b, l)
				}
			})
		}
	}
}

func readThrough(b *testing.B, l *Log) {
	for next, end := uint64(0), l.Position().Next; next < end; {
		blocks, err := l.Read(next, 1<<20)
		if err != nil || len(blocks) == 0 {
			b.Fatalf("%d blocks at %d: %v", len(blocks), next, err)
		}
		next = blocks[len(blocks)-1].End()
	}
}
