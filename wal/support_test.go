package wal

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal/record"
)

const (
	testGroup = 7
	testShard = 3
)

// fatalf is what *testing.T and *rapid.T have in common.
type fatalf interface {
	Helper()
	Fatalf(format string, args ...any)
}

// testBlock makes the block that begins at the ordinal first: count records of
// about size bytes, a pure function of its arguments.
func testBlock(first uint64, count, size int) Block {
	b := record.NewBuilder(0)
	for i := range count {
		data := bytes.Repeat([]byte{byte(first + uint64(i))}, size)
		if err := b.Add(record.Record{Key: fmt.Appendf(nil, "key-%d", first+uint64(i)), Data: data}); err != nil {
			panic(err)
		}
	}
	return Block{
		First: first, Count: uint32(count),
		Time: int64(1000 + first*10), Index: first + 1,
		Payload: [][]byte{b.Finish(record.ProducerID{}, 0, false)},
	}
}

func newTestWriter(t testing.TB, edit ...func(*WriterOptions)) *Writer {
	o := WriterOptions{FlushInterval: time.Hour}
	for _, e := range edit {
		e(&o)
	}
	w := NewWriter(o)
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func testOptions(w *Writer, segmentBytes int64) Options {
	return Options{Group: testGroup, Shard: testShard, SegmentBytes: segmentBytes, Writer: w}
}

func mustOpen(t fatalf, fsys vfs.FS, o Options) *Log {
	t.Helper()
	l, err := Open(fsys, "log", o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return l
}

func mustAppend(t fatalf, l *Log, b Block) Position {
	t.Helper()
	p, err := l.Append(b)
	if err != nil {
		t.Fatalf("Append at %d: %v", b.First, err)
	}
	return p
}

// fill appends n blocks of count records and returns the position after each.
func fill(t fatalf, l *Log, n, count, size int) []Position {
	t.Helper()
	var out []Position
	for range n {
		out = append(out, mustAppend(t, l, testBlock(l.Position().Next, count, size)))
	}
	return out
}

func mustFlush(t fatalf, l *Log) {
	t.Helper()
	if err := l.Flush(context.Background(), l.Position().Next); err != nil {
		t.Fatalf("Flush: %v", err)
	}
}

func mustClose(t fatalf, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// readAll reads from the ordinal to the end and checks that the blocks are in
// order; it returns them.
func readAll(t fatalf, l *Log, from uint64, maxBytes int) []Block {
	t.Helper()
	var out []Block
	for next := from; ; {
		blocks, err := l.Read(next, maxBytes)
		if err != nil {
			t.Fatalf("Read(%d): %v", next, err)
		}
		if len(blocks) == 0 {
			if end := l.Position().Next; next < end {
				t.Fatalf("Read(%d) is empty, the log ends at %d", next, end)
			}
			return out
		}
		if blocks[0].First > next || blocks[0].End() <= next {
			t.Fatalf("Read(%d) begins with block [%d, %d)", next, blocks[0].First, blocks[0].End())
		}
		for _, b := range blocks {
			if len(out) > 0 && b.First != out[len(out)-1].End() {
				t.Fatalf("block at %d follows one that ends at %d", b.First, out[len(out)-1].End())
			}
			out = append(out, b)
			next = b.End()
		}
	}
}

// sameBlock reports whether two blocks hold the same, chain hash aside if want has none.
func sameBlock(got, want Block) bool {
	return got.First == want.First && got.Count == want.Count && got.Time == want.Time && got.Index == want.Index &&
		(want.Chain == Chain{} || got.Chain == want.Chain) &&
		bytes.Equal(bytes.Join(got.Payload, nil), bytes.Join(want.Payload, nil))
}

func segmentPaths(l *Log) []string {
	var out []string
	for _, s := range l.Segments() {
		out = append(out, s.Path)
	}
	return out
}

// readFile returns a file's bytes.
func readFile(t fatalf, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatalf("read %s: %v", name, err)
	}
	return b
}

// writeFile replaces a file's bytes.
func writeFile(t fatalf, fsys vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatalf("%v", err)
	}
	if err := f.Sync(); err != nil {
		t.Fatalf("%v", err)
	}
	if err := fsys.SyncDir("log"); err != nil {
		t.Fatalf("%v", err)
	}
}
