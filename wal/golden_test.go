package wal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/vfs"
)

var update = flag.Bool("update", false, "write the golden files of the current format version")

// bitCRC is CRC32C bit by bit, apart from the code under test.
func bitCRC(start uint32, b []byte) uint32 {
	crc := ^start
	for _, x := range b {
		crc ^= uint32(x)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	return ^crc
}

// goldenLog makes a sealed segment of two writes, cut once, and returns its
// path and the blocks.
func goldenLog(t *testing.T, fsys vfs.FS) (string, []Block) {
	w := newTestWriter(t)
	l := mustOpen(t, fsys, testOptions(w, 32<<10))
	start := Position{Next: 5, Index: 2, Time: 900, Chain: Chain{0xaa, 0xbb}}
	if err := l.Reset(start); err != nil {
		t.Fatal(err)
	}
	var kept []Position
	kept = append(kept, fill(t, l, 2, 2, 30)...)
	mustFlush(t, l)
	if err := l.TruncateTo(kept[0]); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, testBlock(7, 1, 100))
	mustFlush(t, l)
	mustAppend(t, l, testBlock(8, 1, 30_000)) // does not fit any more: seals the first
	mustFlush(t, l)
	blocks := readAll(t, l, 5, 1<<20)
	name := l.Segments()[0].Path
	mustClose(t, l)
	return name, blocks
}

// goldenPage is the header page of goldenLog's first segment, with the two fields that differ from one to the next.
func goldenPage(created, nonce []byte) []byte {
	le := binary.LittleEndian
	page := make([]byte, 4096)
	copy(page, "LVSEGMT1")
	le.PutUint32(page[12:], 1)
	le.PutUint64(page[16:], testGroup)
	le.PutUint32(page[24:], testShard)
	le.PutUint64(page[32:], 5)
	le.PutUint64(page[40:], 2)
	le.PutUint64(page[48:], 900)
	page[56], page[57] = 0xaa, 0xbb
	copy(page[72:80], created)
	copy(page[80:88], nonce)
	le.PutUint32(page[8:], bitCRC(0, page[12:]))
	return page
}

// goldenBytes writes goldenLog's first segment out by the tables.
func goldenBytes(blocks []Block, created, nonce []byte) []byte {
	le := binary.LittleEndian
	salt := bitCRC(0, append(le.AppendUint64(le.AppendUint32(le.AppendUint64(nil, testGroup), testShard), 5), nonce...))
	want := goldenPage(created, nonce)

	chain := []byte{0xaa, 0xbb, 15: 0}
	block := func(b Block) []byte {
		payload := bytes.Join(b.Payload, nil)
		h := make([]byte, 64)
		copy(h, "LVBK")
		le.PutUint32(h[8:], uint32(len(payload)))
		le.PutUint32(h[12:], bitCRC(0, payload))
		le.PutUint64(h[16:], b.First)
		le.PutUint32(h[24:], b.Count)
		le.PutUint64(h[32:], uint64(b.Time))
		le.PutUint64(h[40:], b.Index)
		hashed := bytes.Join([][]byte{chain, h[16:28], h[32:48], h[12:16]}, nil)
		sum := sha256.Sum256(hashed)
		chain = sum[:16]
		copy(h[48:], chain)
		le.PutUint32(h[4:], bitCRC(0, h[8:]))
		return append(h, payload...)
	}
	write := func(off, promise int, next, index uint64, pad int) []byte {
		h := make([]byte, pad)
		copy(h, "LVWR")
		le.PutUint32(h[8:], uint32(pad))
		le.PutUint32(h[12:], 1)
		le.PutUint64(h[16:], uint64(off))
		le.PutUint64(h[24:], uint64(promise))
		le.PutUint64(h[32:], next)
		le.PutUint64(h[40:], index)
		copy(h[48:], chain)
		le.PutUint32(h[4:], bitCRC(salt, h[8:64]))
		return h
	}

	// The first write had two blocks; the second was cut off and a cut block fills the page.
	lost := testBlock(7, 2, 30)
	pad := 4096 - 2*64 - blocks[0].Bytes() - lost.Bytes()
	want = append(want, write(4096, 4096, 5, 2, pad)...)
	want = append(want, block(blocks[0])...)
	cut := make([]byte, 8192-len(want)+4096*btoi(8192-len(want) < 64))
	copy(cut, "LVCT")
	le.PutUint32(cut[8:], uint32(len(cut)))
	le.PutUint64(cut[16:], uint64(len(want)))
	le.PutUint32(cut[4:], bitCRC(salt, cut[8:64]))
	want = append(want, cut...)
	second := len(want)
	want = append(want, write(second, second, 7, 6, 4096-64-blocks[1].Bytes())...)
	want = append(want, block(blocks[1])...)

	foot := make([]byte, 4096)
	le.PutUint64(foot, 5)
	le.PutUint64(foot[8:], uint64(blocks[0].Time))
	le.PutUint64(foot[16:], uint64(4096+pad))
	tr := foot[4096-128:]
	copy(tr, "LVFT")
	le.PutUint32(tr[8:], bitCRC(salt, foot[:4096-128]))
	le.PutUint32(tr[12:], 1)
	le.PutUint64(tr[16:], uint64(len(want)))
	le.PutUint64(tr[24:], 8)
	le.PutUint64(tr[32:], blocks[1].Index)
	le.PutUint64(tr[40:], uint64(blocks[1].Time))
	le.PutUint64(tr[48:], uint64(blocks[0].Time))
	copy(tr[56:], chain)
	le.PutUint32(tr[4:], bitCRC(salt, tr[8:]))
	return append(want, foot...)
}

// TestGoldenBytes compares a segment with the tables of docs/formats/shard-log.md.
func TestGoldenBytes(t *testing.T) {
	mem := vfs.NewMem(1)
	name, blocks := goldenLog(t, mem)
	got := readFile(t, mem, name)
	want := goldenBytes(blocks, got[72:80], got[80:88])
	if len(got) != len(want) {
		t.Fatalf("the file has %d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d is %#02x, want %#02x", i, got[i], want[i])
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestGoldenFile reads a log that was written when this format version was
// new: a change that cannot read it needs a new version.
func TestGoldenFile(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	if *update {
		mem := vfs.NewMem(1)
		goldenLog(t, mem)
		names, err := mem.List("log")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), readFile(t, mem, "log/"+name), 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out bytes.Buffer
	if err := Dump(&out, vfs.OS(), dir, DumpOptions{Blocks: true, Batches: true}); err != nil {
		t.Fatalf("Dump: %v", err)
	}
	golden := filepath.Join("testdata", "v1.dump.txt")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Fatalf("Dump differs (-want +got):\n%s", diff)
	}
	r, err := Verify(vfs.OS(), dir)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if r.First != 5 || r.End.Next != 9 || r.Blocks != 3 || r.Records != 4 || len(r.Segments) != 2 || !r.Segments[0].Sealed || r.Segments[1].Sealed {
		t.Fatalf("Verify reports %+v", r)
	}
}
