package wal

import (
	"errors"
	"strings"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// twoSegments makes a log with a sealed segment and an open one of three
// writes, two of them promised, and returns the segments.
func twoSegments(t *testing.T) (*vfs.Mem, []SegmentInfo, Options) {
	t.Helper()
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 64<<10)
	l := mustOpen(t, mem, o)
	for range 6 {
		fill(t, l, 1, 2, 7000)
		mustFlush(t, l)
	}
	segs := l.Segments()
	if len(segs) != 2 || !segs[0].Sealed {
		t.Fatalf("segments %+v", segs)
	}
	if err := l.Abandon(); err != nil {
		t.Fatal(err)
	}
	return mem, segs, o
}

func flip(t *testing.T, fsys vfs.FS, name string, off int64) {
	t.Helper()
	b := readFile(t, fsys, name)
	if off < 0 {
		off += int64(len(b))
	}
	b[off] ^= 0x10
	writeFile(t, fsys, name, b)
}

func wantCorrupt(t *testing.T, err error, path string) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || c.Path != path {
		t.Fatalf("error %v, want corruption of %s", err, path)
	}
}

func TestFlipInSealedSegment(t *testing.T) {
	for _, c := range []struct {
		name   string
		off    int64
		atOpen bool
		read   bool
	}{
		{"header page", 40, true, false},
		{"unused header byte", 4000, true, false},
		{"write header", 4096 + 20, false, false},
		{"padding", 4096 + 70, false, false},
		{"payload", 4096 + 8000, false, true},
		{"index", -4096 + 3, false, true},
		{"footer", -100, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem, segs, o := twoSegments(t)
			flip(t, mem, segs[0].Path, c.off)
			_, err := Verify(mem, "log")
			wantCorrupt(t, err, segs[0].Path)
			l, err := Open(mem, "log", o)
			if c.atOpen {
				wantCorrupt(t, err, segs[0].Path)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if _, err = l.Read(0, 1<<20); c.read {
				wantCorrupt(t, err, segs[0].Path)
			}
		})
	}
}

func TestEveryFlipOfSealedSegmentIsFound(t *testing.T) {
	mem, segs, _ := twoSegments(t)
	good := readFile(t, mem, segs[0].Path)
	step := 97
	if testing.Short() {
		step = 997
	}
	for off := 0; off < len(good); off += step {
		flip(t, mem, segs[0].Path, int64(off))
		if _, err := Verify(mem, "log"); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d changed: Verify returns %v", off, err)
		}
		writeFile(t, mem, segs[0].Path, good)
	}
	if _, err := Verify(mem, "log"); err != nil {
		t.Fatal(err)
	}
}

// TestFlipInOpenSegment: below the promise of a later write it is
// corruption, above it a torn tail.
func TestFlipInOpenSegment(t *testing.T) {
	mem, segs, o := twoSegments(t)
	r, err := Verify(mem, "log")
	if err != nil {
		t.Fatal(err)
	}
	open := r.Segments[1]
	if open.Durable <= pageSize {
		t.Fatalf("nothing promised: %+v", open)
	}
	good := readFile(t, mem, open.Path)
	for off := int64(0); off < int64(len(good)); off += 509 {
		flip(t, mem, open.Path, off)
		_, verr := Verify(mem, "log")
		l, err := Open(mem.Clone(), "log", o)
		if off < open.Durable {
			wantCorrupt(t, err, open.Path)
			wantCorrupt(t, verr, open.Path)
		} else {
			if err != nil || verr != nil {
				t.Fatalf("byte %d, above the promise %d: Open %v, Verify %v", off, open.Durable, err, verr)
			}
			if next := l.Position().Next; next < segs[1].First || next > segs[1].Next {
				t.Fatalf("cut to %d", next)
			}
			mustClose(t, l)
		}
		writeFile(t, mem, open.Path, good)
	}
}

// TestCleanCloseProtectsTheEnd: after Close even the last write is promised.
func TestCleanCloseProtectsTheEnd(t *testing.T) {
	mem, segs, o := twoSegments(t)
	l := mustOpen(t, mem, o)
	mustClose(t, l)
	flip(t, mem, segs[1].Path, l.tail.data-100)
	_, err := Open(mem, "log", o)
	wantCorrupt(t, err, segs[1].Path)
}

func TestMissingAndForeignFiles(t *testing.T) {
	t.Run("gap", func(t *testing.T) {
		mem := vfs.NewMem(1)
		o := testOptions(newTestWriter(t), 16<<10)
		l := mustOpen(t, mem, o)
		fill(t, l, 6, 1, 9000)
		mustClose(t, l)
		if err := mem.Remove(segmentPaths(l)[1]); err != nil {
			t.Fatal(err)
		}
		_, err := Open(mem, "log", o)
		wantCorrupt(t, err, segmentPaths(l)[2])
		_, err = Verify(mem, "log")
		wantCorrupt(t, err, segmentPaths(l)[2])
	})
	t.Run("another group's directory", func(t *testing.T) {
		mem, segs, o := twoSegments(t)
		o.Group++
		_, err := Open(mem, "log", o)
		wantCorrupt(t, err, segs[0].Path)
		if !strings.Contains(err.Error(), "belongs to group 7") {
			t.Errorf("the error does not say whose it is: %v", err)
		}
	})
	t.Run("sealed segment cut short", func(t *testing.T) {
		mem, segs, o := twoSegments(t)
		b := readFile(t, mem, segs[0].Path)
		writeFile(t, mem, segs[0].Path, b[:len(b)/2])
		_, err := Open(mem, "log", o)
		wantCorrupt(t, err, segs[0].Path)
	})
	t.Run("renamed", func(t *testing.T) {
		mem, segs, o := twoSegments(t)
		if err := mem.Rename(segs[0].Path, "log/"+segmentName(1)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(mem, "log", o)
		wantCorrupt(t, err, "log/"+segmentName(1))
	})
	t.Run("newer version", func(t *testing.T) {
		mem, segs, o := twoSegments(t)
		b := readFile(t, mem, segs[0].Path)
		b[12] = 2
		h := b[:pageSize]
		for i, x := range []byte{0, 8, 16, 24} {
			h[8+i] = byte(bitCRC(0, h[12:]) >> x)
		}
		writeFile(t, mem, segs[0].Path, b)
		if _, err := Open(mem, "log", o); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("other files are left alone", func(t *testing.T) {
		mem, segs, o := twoSegments(t)
		writeFile(t, mem, "log/notes.txt", []byte("hello"))
		l := mustOpen(t, mem, o)
		defer l.Close()
		if len(l.Segments()) != len(segs) || string(readFile(t, mem, "log/notes.txt")) != "hello" {
			t.Fatal("a file that is no segment was touched")
		}
	})
}

// TestTornTail cuts and damages the end of an unpromised write at many places:
// whole blocks before it stay.
func TestTornTail(t *testing.T) {
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 1<<20)
	l := mustOpen(t, mem, o)
	fill(t, l, 2, 2, 1000)
	mustFlush(t, l)
	durable := l.Position()
	ends := append([]Position{durable}, fill(t, l, 5, 2, 2500)...)
	mustFlush(t, l)
	name := segmentPaths(l)[0]
	if err := l.Abandon(); err != nil {
		t.Fatal(err)
	}
	good := readFile(t, mem, name)
	seen := map[uint64]bool{}
	for n := 3 * pageSize; n < len(good); n += 701 {
		writeFile(t, mem, name, good[:n])
		l, err := Open(mem, "log", o)
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		found := false
		for _, p := range ends {
			found = found || p == l.Position()
		}
		if !found {
			t.Fatalf("cut to %d bytes: the log ends at %+v", n, l.Position())
		}
		seen[l.Position().Next] = true
		mustAppend(t, l, testBlock(l.Position().Next, 1, 10))
		mustClose(t, l)
		if r, err := Verify(mem, "log"); err != nil || r.End != l.Position() {
			t.Fatalf("cut to %d bytes, appended: %v", n, err)
		}
	}
	if len(seen) < 4 {
		t.Fatalf("only %d different ends", len(seen))
	}
}
