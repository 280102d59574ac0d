package wal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestFlipInTheMiddle flips bits all over a sealed segment that has segments before and behind it. Open or a read says
// in which file and where; no read returns other records than were written, those of the other segments stay readable,
// and no file changes, not even when the log is opened and read with damage in it.
func TestFlipInTheMiddle(t *testing.T) {
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 32<<10)
	l := mustOpen(t, mem, o)
	for range 12 {
		fill(t, l, 1, 3, 2000)
		mustFlush(t, l)
	}
	fill(t, l, 2, 3, 300) // two blocks in one write
	segs := l.Segments()
	if len(segs) < 4 || !segs[1].Sealed {
		t.Fatalf("segments %+v", segs)
	}
	mustClose(t, l)
	l = mustOpen(t, mem, o)
	want := readAll(t, l, 0, 1)
	mustClose(t, l)
	middle := segs[1]
	good := readFile(t, mem, middle.Path)
	ft, err := parseFooter(good[len(good)-footerSize:], int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	step := 61
	if testing.Short() {
		step = 613
	}
	atOpen, atRead := 0, 0
	for off := 0; off < len(good); off += step {
		disk := mem.Clone()
		writeFile(t, disk, middle.Path, flipped(good, int64(off)))
		before := logFiles(t, disk)
		l, err := Open(disk, "log", o)
		if err != nil {
			wantCorruptNear(t, err, middle.Path, off, ft.dataEnd)
			atOpen++
		} else {
			if wrong := readWithDamage(t, l, want, middle, off, ft.dataEnd); wrong > 0 {
				atRead++
			}
			if err := l.Close(); err != nil {
				t.Fatalf("byte %d: Close: %v", off, err)
			}
		}
		for name, b := range logFiles(t, disk) {
			if !bytes.Equal(b, before[name]) {
				t.Fatalf("byte %d: %s was changed", off, name)
			}
		}
	}
	// Only what no read needs goes unnoticed by both: the zeros and headers of writes, which Verify checks.
	if blocks := int(ft.dataEnd) / step; atOpen == 0 || atRead < blocks/2 {
		t.Errorf("%d flips found by Open, %d by reads, of %d in blocks", atOpen, atRead, blocks)
	}
}

// readWithDamage reads every block by itself and returns how many could not be read.
func readWithDamage(t *testing.T, l *Log, want []Block, damaged SegmentInfo, off int, dataEnd int64) int {
	t.Helper()
	wrong := 0
	for _, b := range want {
		got, err := l.Read(b.First, 1)
		inside := b.First >= damaged.First && b.First < damaged.Next
		switch {
		case err != nil && inside:
			wantCorruptNear(t, err, damaged.Path, off, dataEnd)
			wrong++
		case err != nil:
			t.Fatalf("byte %d: Read(%d), in another segment: %v", off, b.First, err)
		case len(got) != 1 || !sameBlock(got[0], b):
			t.Fatalf("byte %d: Read(%d) returns other records", off, b.First)
		}
	}
	return wrong
}

// wantCorruptNear checks that the error names the file and the structure that holds the byte off.
func wantCorruptNear(t *testing.T, err error, path string, off int, dataEnd int64) {
	t.Helper()
	wantCorrupt(t, err, path)
	var c *CorruptError
	errors.As(err, &c)
	near := c.Offset <= int64(off) && int64(off)-c.Offset < 3*pageSize
	if int64(off) >= dataEnd { // index or footer: the error has the offset of the one that is wrong
		near = c.Offset >= dataEnd
	}
	if !near {
		t.Errorf("byte %d is wrong; the error says %v", off, err)
	}
}

func logFiles(t *testing.T, fsys vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fsys.List("log")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		files[name] = readFile(t, fsys, "log/"+name)
	}
	return files
}
