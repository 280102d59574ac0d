package wal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

func dump(fsys vfs.FS, o DumpOptions) (string, error) {
	var out bytes.Buffer
	err := Dump(&out, fsys, "log", o)
	return out.String(), err
}

// TestDumpLooksWholeOnlyIfItIs: where Verify finds damage, Dump ends with an error and without the line that ends a segment.
func TestDumpLooksWholeOnlyIfItIs(t *testing.T) {
	mem, segs, _ := twoSegments(t)
	r, err := Verify(mem, "log")
	if err != nil {
		t.Fatal(err)
	}
	sealed, open := readFile(t, mem, segs[0].Path), readFile(t, mem, segs[1].Path)
	index := int64(len(sealed)) - footerLength(1)
	durable := r.Segments[1].Durable
	for _, c := range []struct {
		name string
		nth  int
		file []byte
		ends int // segments that are whole
		want string
	}{
		{"sealed segment without footer", 0, sealed[:index], 0, ""},
		{"sealed segment with another index", 0, flipped(sealed, index), 0, ""},
		{"damage below the promise", 1, flipped(open, durable-pageSize), 1, "durable"},
		{"zeros below the promise", 1, append(append(bytes.Clone(open[:durable-2*pageSize]), make([]byte, pageSize)...), open[durable-pageSize:]...), 1, "durable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := mem.Clone()
			writeFile(t, disk, segs[c.nth].Path, c.file)
			_, verr := Verify(disk, "log")
			wantCorrupt(t, verr, segs[c.nth].Path)
			out, err := dump(disk, DumpOptions{})
			wantCorrupt(t, err, segs[c.nth].Path)
			if got := strings.Count(out, "end "); got != c.ends || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d segments look whole, want %d: %v\n%s", got, c.ends, err, out)
			}
		})
	}
	t.Run("torn", func(t *testing.T) {
		disk := mem.Clone()
		writeFile(t, disk, segs[1].Path, open[:durable+1000])
		out, err := dump(disk, DumpOptions{})
		if err != nil || !strings.HasSuffix(out, " torn 1000\n") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func flipped(b []byte, off int64) []byte {
	b = bytes.Clone(b)
	b[off] ^= 0x10
	return b
}

// TestDumpFrom begins with the very record, in the middle of a block and of a batch.
func TestDumpFrom(t *testing.T) {
	mem := vfs.NewMem(1)
	l := mustOpen(t, mem, testOptions(newTestWriter(t), 1<<20))
	for range 2 { // blocks of two batches of two records
		first := l.Position().Next
		b := testBlock(first, 2, 10)
		b.Payload = append(b.Payload, testBlock(first+2, 2, 10).Payload...)
		b.Count = 4
		mustAppend(t, l, b)
	}
	mustClose(t, l)
	for from := range uint64(10) {
		out, err := dump(mem, DumpOptions{Blocks: true, Batches: true, Records: true, From: from})
		if err != nil {
			t.Fatal(err)
		}
		var blocks, batches, records []uint64
		for line := range strings.Lines(out) {
			var n, at uint64
			if _, err := fmt.Sscanf(line, "record %d", &n); err == nil {
				records = append(records, n)
			} else if _, err := fmt.Sscanf(line, "batch first %d", &n); err == nil {
				batches = append(batches, n)
			} else if _, err := fmt.Sscanf(line, "block %d first %d", &at, &n); err == nil {
				blocks = append(blocks, n)
			}
		}
		want := func(size uint64) (w []uint64) {
			for n := min(from, 8) / size * size; n < 8; n += size {
				w = append(w, n)
			}
			return w
		}
		if got, want := fmt.Sprint(blocks, batches, records), fmt.Sprint(want(4), want(2), want(1)); got != want {
			t.Errorf("from %d: blocks, batches and records %s, want %s", from, got, want)
		}
	}
}
