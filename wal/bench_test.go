package wal

import (
	"context"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

func benchLog(b *testing.B) *Log {
	w := newTestWriter(b, func(o *WriterOptions) { o.CacheBytes, o.FlushInterval = -1, 0 })
	l, err := Open(vfs.OS(), b.TempDir(), testOptions(w, 64<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// BenchmarkAppend appends 64 KiB blocks that are written lazily; space is freed as it goes.
func BenchmarkAppend(b *testing.B) {
	l := benchLog(b)
	proto := testBlock(0, 1, 64<<10)
	b.SetBytes(int64(proto.Bytes()))
	for i := 0; b.Loop(); i++ {
		proto.First, proto.Index = uint64(i), uint64(i)
		mustAppend(b, l, proto)
		if i%2000 == 1999 {
			if err := l.DeleteBefore(uint64(i - 1000)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkAppendSmall appends blocks of 1 KiB.
func BenchmarkAppendSmall(b *testing.B) {
	l := benchLog(b)
	proto := testBlock(0, 1, 1<<10)
	b.SetBytes(int64(proto.Bytes()))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		proto.First, proto.Index = uint64(i), uint64(i)
		mustAppend(b, l, proto)
		if i%100_000 == 99_999 {
			if err := l.DeleteBefore(uint64(i - 50_000)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRead reads a log of 64 MiB from its files, front to back, 1 MiB at a time.
func BenchmarkRead(b *testing.B) {
	l := benchLog(b)
	fill(b, l, 1024, 1, 64<<10)
	if err := l.Flush(context.Background(), l.Position().Next); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(64 << 20)
	for b.Loop() {
		if got := readAll(b, l, 0, 1<<20); len(got) != 1024 {
			b.Fatalf("%d blocks", len(got))
		}
	}
}
