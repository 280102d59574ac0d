package wal

import (
	"errors"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal/record"
)

// TestForgedPromise stores a record that looks like pages of the segment file, each promising what is before it, and
// tears the write it is in: that must not pass for damage to durable bytes.
func TestForgedPromise(t *testing.T) {
	mem := vfs.NewMem(1)
	w := newTestWriter(t)
	o := testOptions(w, 1<<20)
	l := mustOpen(t, mem, o)
	fill(t, l, 1, 1, 100)
	mustFlush(t, l)
	// The forger knows all but the nonce.
	id := segmentID{group: testGroup, shard: testShard, first: 0}
	const size = 64 << 10
	probe := record.NewBuilder(0)
	if err := probe.Add(record.Record{Key: []byte("k"), Data: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	start := l.tail.off
	wh := newWriteHeader(int64(BlockHeaderSize+probe.Len()), start, start, Position{})
	dataAt := start + int64(wh.pad) + BlockHeaderSize + int64(probe.Len()) - size
	data := make([]byte, size)
	forged := 0
	for off := pageCeil(dataAt); off+writeHeaderSize < dataAt+size; off += pageSize {
		f := writeHeader{pad: writeHeaderSize, length: pageSize, offset: off, promise: off}
		f.encode(data[off-dataAt:], id.salt())
		forged++
	}
	b := record.NewBuilder(0)
	if err := b.Add(record.Record{Key: []byte("k"), Data: data}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, Block{First: 1, Count: 1, Time: 1 << 40, Index: 1 << 40, Payload: [][]byte{b.Finish(record.ProducerID{}, 0, false)}})
	l.ioMu.Lock()
	err := l.drain() // written, never synced
	l.ioMu.Unlock()
	if err != nil || forged < 10 {
		t.Fatalf("%d pages forged, %v", forged, err)
	}
	torn := 0
	for seed := range uint64(60) {
		again, err := Open(mem.CrashClone(seed), "log", o)
		if err != nil {
			t.Fatalf("crash %d: %v", seed, err)
		}
		if again.Position().Next == 1 {
			torn++
		}
		_ = again.Abandon()
	}
	if torn == 0 {
		t.Error("no crash tore the write")
	}
}

// TestSealedWithoutHeader damages the header page of a segment that one write filled: it is no segment that never came
// to be, though nothing but its footer says so.
func TestSealedWithoutHeader(t *testing.T) {
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 16<<10)
	l := mustOpen(t, mem, o)
	fill(t, l, 1, 1, 9000)
	mustFlush(t, l)
	l.ioMu.Lock()
	err := l.seal()
	l.ioMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	name := "log/" + segmentName(0)
	bytes := readFile(t, mem, name)
	bytes[20] ^= 1
	writeFile(t, mem, name, bytes)
	if _, err := Open(mem, "log", o); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open: %v, want corrupt", err)
	}
}
