package wal

import (
	"errors"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

func FuzzBlockHeader(f *testing.F) {
	b := testBlock(3, 2, 10)
	h, err := newBlockHeader(&b)
	if err != nil {
		f.Fatal(err)
	}
	seed := make([]byte, BlockHeaderSize)
	h.encode(seed)
	f.Add(seed)
	f.Add([]byte("LVBK"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeBlockHeader(data)
		if err != nil {
			return
		}
		again := make([]byte, BlockHeaderSize)
		h.encode(again)
		if string(again) != string(data[:BlockHeaderSize]) {
			t.Fatalf("one header, two encodings:\n%x\n%x", data[:BlockHeaderSize], again)
		}
	})
}

// FuzzSegmentParts feeds all page-level decoders, with the checksum repaired so
// that the checks behind it are reached.
func FuzzSegmentParts(f *testing.F) {
	const salt, off = 99, 2 * pageSize
	buf := make([]byte, pageSize)
	(&segmentHeader{group: 1, shard: 2, start: Position{Next: 3}}).encode(buf)
	f.Add(append([]byte(nil), buf...))
	clear(buf)
	wh := newWriteHeader(100, off, pageSize, Position{Next: 3})
	wh.encode(buf, salt)
	f.Add(append([]byte(nil), buf...))
	encodeCut(buf, off, salt)
	f.Add(append([]byte(nil), buf...))
	encodeFooter(footer{dataEnd: off, entries: 1}, []indexEntry{{1, 2, 3}}, salt, buf)
	f.Add(append([]byte(nil), buf[pageSize-footerSize:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = decodeSegmentHeader(data)
		fixed := append([]byte(nil), data...)
		for n, start := range map[int]int{writeHeaderSize: 8, footerSize: 8} {
			if len(fixed) < n {
				continue
			}
			crc := bitCRC(salt, fixed[start:n])
			for i := range 4 {
				fixed[4+i] = byte(crc >> (8 * i))
			}
			if h, err := decodeWriteHeader(fixed, off, salt); err == nil && (h.promise > off || int64(h.pad) > h.length || h.length%pageSize != 0) {
				t.Fatalf("impossible write header accepted: %+v", h)
			}
			if n, err := decodeCut(fixed, off, salt); err == nil && n != cutLength(off) {
				t.Fatalf("cut of %d bytes", n)
			}
			if ft, err := decodeFooter(fixed, off+pageSize, salt); err == nil && ft.dataEnd+footerLength(int(ft.entries)) != off+pageSize {
				t.Fatalf("impossible footer accepted: %+v", ft)
			}
		}
	})
}

func FuzzAppendRaw(f *testing.F) {
	w := newTestWriter(f)
	from := mustOpen(f, vfs.NewMem(1), testOptions(w, 1<<20))
	defer from.Close()
	fill(f, from, 2, 2, 10)
	raw, _, err := from.ReadRaw(0, 4, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, err := parseRaw(data, Position{})
		if err != nil {
			return
		}
		n := 0
		for _, b := range blocks {
			n += BlockHeaderSize + int(b.length)
		}
		if n != len(data) {
			t.Fatalf("%d of %d bytes accounted for", n, len(data))
		}
	})
}

// FuzzOpen opens a directory that has one arbitrary file, or a good one with bytes changed.
func FuzzOpen(f *testing.F) {
	mem := vfs.NewMem(1)
	w := newTestWriter(f)
	o := testOptions(w, 1<<20)
	l := mustOpen(f, mem, o)
	fill(f, l, 2, 2, 100)
	mustFlush(f, l)
	fill(f, l, 2, 2, 100)
	mustClose(f, l)
	good := readFile(f, mem, segmentPaths(l)[0])
	f.Add([]byte{}, uint32(0))
	f.Add([]byte{1}, uint32(5000))
	f.Add([]byte("LVWR"), uint32(8192))
	f.Add(make([]byte, 4096), uint32(8192))
	f.Fuzz(func(t *testing.T, patch []byte, at uint32) {
		b := append([]byte(nil), good...)
		if int(at) >= len(b) {
			b = patch
		} else {
			copy(b[at:], patch)
		}
		disk := vfs.NewMem(1)
		if err := disk.MkdirAll("log"); err != nil {
			t.Fatal(err)
		}
		writeFile(t, disk, "log/"+segmentName(0), b)
		before, verifyErr := Verify(disk, "log")
		l, err := Open(disk, "log", o)
		if verifyErr == nil && (err != nil || l.Position() != before.End) {
			t.Fatalf("Verify says that all is well up to %+v; Open: %v", before.End, err)
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		readAll(t, l, l.First(), 1<<20)
		mustAppend(t, l, Block{First: l.Position().Next, Count: 1, Time: 1 << 40, Index: 1 << 40, Payload: testBlock(0, 1, 1).Payload})
		mustClose(t, l)
		if _, err := Verify(disk, "log"); err != nil {
			t.Fatalf("Verify after Open and Append: %v", err)
		}
	})
}
