package journal

import (
	"errors"
	"fmt"
	"path"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// written makes a journal of a few segments and returns its file system and what it holds.
func written(t *testing.T) (*vfs.Mem, *model) {
	t.Helper()
	fs, m := vfs.NewMem(1), newModel()
	j := mustOpen(t, fs, small)
	for i := uint64(1); i <= 30; i++ {
		g := i%3 + 1
		e := entries(g, m.last(g)+1, 2, 1, 2000)
		must(t, j.Append(g, e, i))
		m.append(g, e, i)
	}
	must(t, j.Close())
	return fs, m
}

func segments(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("journal")
	must(t, err)
	var found []string
	for _, n := range names {
		if _, ok := segmentSequence(n); ok {
			found = append(found, path.Join("journal", n))
		}
	}
	return found
}

func patch(t *testing.T, fs vfs.FS, name string, off int64, change func(b []byte)) {
	t.Helper()
	f, err := fs.OpenReadWrite(name)
	must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, off)
	must(t, err)
	change(b)
	_, err = f.WriteAt(b, off)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// rounds lists where the rounds of a segment are and how long they are without padding.
func roundsOf(t *testing.T, fs vfs.FS, name string) (at, length []int64) {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	page := make([]byte, pageSize)
	must(t, readFull(f, page, 0))
	segment, err := decodeSegmentHeader(page)
	must(t, err)
	for off := int64(pageSize); off < small.SegmentBytes; {
		must(t, readFull(f, page, off))
		h, err := decodeRoundHeader(page)
		if err != nil || h.incarnation != segment.incarnation {
			break
		}
		at, length = append(at, off), append(length, int64(h.length))
		off += pad(int64(h.length))
	}
	return at, length
}

// TestBitFlips flips a bit in each acknowledged round of every segment, in its header and in its records, and in each
// segment header: the open must refuse and name the file and the place.
func TestBitFlips(t *testing.T) {
	original, _ := written(t)
	tried := 0
	for _, name := range segments(t, original) {
		at, length := roundsOf(t, original, name)
		places := []int64{0, 9, 20, 26, 33, 60}
		for i := range at {
			if name == segments(t, original)[len(segments(t, original))-1] && i == len(at)-1 {
				continue // nothing proves that the very last one, which Close wrote, was durable
			}
			for _, within := range []int64{0, 5, 9, 13, 17, 25, 33, 41, 45, 50, 64, 70, length[i] / 2, length[i] - 1} {
				places = append(places, at[i]+min(within, length[i]-1))
			}
		}
		for _, off := range places {
			fs := original.Clone()
			patch(t, fs, name, off, func(b []byte) { b[0] ^= 0x10 })
			tried++
			_, err := Open(fs, "journal", small)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) || !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s at %d: %v", name, off, err)
			}
			if corrupt.Path != name || corrupt.Offset > off || off-corrupt.Offset > small.SegmentBytes/2 {
				t.Fatalf("%s at %d: named as %v", name, off, corrupt)
			}
		}
	}
	if tried < 300 {
		t.Errorf("only %d places tried", tried)
	}
}

// TestTornTail damages what was being written when the process died: it is cut, and the rest is there.
func TestTornTail(t *testing.T) {
	original, m := written(t)
	names := segments(t, original)
	name := names[len(names)-1]
	at, length := roundsOf(t, original, name)
	end := at[len(at)-1] // of what counts: the last round is empty
	_ = length
	for _, junk := range []string{"zeros", "random", "round header", "stale round"} {
		t.Run(junk, func(t *testing.T) {
			fs := original.Clone()
			f, err := fs.OpenReadWrite(name)
			must(t, err)
			b := make([]byte, pageSize)
			switch junk {
			case "random":
				for i := range b {
					b[i] = byte(i*i + i>>3)
				}
			case "round header", "stale round":
				must(t, readFull(f, b, at[len(at)-2]))
				if junk == "stale round" {
					break // in the wrong place
				}
				h, err := decodeRoundHeader(b)
				must(t, err)
				h.number++
				h.page = uint32(end / pageSize)
				h.encode(b) // whose records never came
			}
			_, err = f.WriteAt(b, end)
			must(t, err)
			must(t, f.Close())
			j := mustOpen(t, fs, small)
			if diff := m.difference(j); diff != "" {
				t.Error(diff)
			}
			must(t, j.Append(1, entries(1, m.last(1)+1, 1, 2, 10), 0))
			must(t, j.Close())
			j = mustOpen(t, fs, small)
			if _, last := j.Bounds(1); last != m.last(1)+1 {
				t.Errorf("what was written after the cut is lost")
			}
			must(t, j.Close())
		})
	}
}

func TestMissingAndShortFiles(t *testing.T) {
	original, _ := written(t)
	names := segments(t, original)
	if len(names) < 3 {
		t.Fatalf("%d segments", len(names))
	}
	for what, damage := range map[string]func(fs vfs.FS) error{
		"first removed":  func(fs vfs.FS) error { return fs.Remove(names[0]) },
		"middle removed": func(fs vfs.FS) error { return fs.Remove(names[1]) },
		"swapped": func(fs vfs.FS) error {
			for i, to := range []string{"x", names[0], names[1]} {
				if err := fs.Rename([]string{names[0], names[1], "x"}[i], to); err != nil {
					return err
				}
			}
			return nil
		},
		"cut": func(fs vfs.FS) error {
			f, err := fs.OpenReadWrite(names[1])
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(small.SegmentBytes/2), f.Close())
		},
	} {
		fs := original.Clone()
		must(t, damage(fs))
		if _, err := Open(fs, "journal", small); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A journal that others count on and that is not there is damage.
func TestMustExist(t *testing.T) {
	fs := vfs.NewMem(1)
	must(t, fs.MkdirAll("journal"))
	o := small
	o.MustExist = true
	if _, err := Open(fs, "journal", o); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an empty directory: %v", err)
	}
	fs, m := written(t)
	j, err := Open(fs, "journal", o)
	must(t, err)
	if d := m.difference(j); d != "" {
		t.Error(d)
	}
	must(t, j.Close())
}

// TestGetChecks damages an entry under an open journal: Get must not hand it out.
func TestGetChecks(t *testing.T) {
	fs, m := written(t)
	o := small
	o.CacheBytes = -1
	j := mustOpen(t, fs, o)
	at := *j.state.find(2, 3)
	patch(t, fs, at.segment.path, int64(at.offset)+100, func(b []byte) { b[0]++ })
	var e Entry
	var corrupt *CorruptError
	if err := j.Get(2, 3, &e); !errors.As(err, &corrupt) || corrupt.Offset != int64(at.offset) {
		t.Errorf("got %v", err)
	}
	must(t, j.Get(2, 4, &e))
	if diff := entryDiff(m.entries[2][3], e); diff != "" {
		t.Error(diff)
	}
	must(t, j.Close())
}

func TestUnknownFilesAreLeftAlone(t *testing.T) {
	fs, m := written(t)
	for _, name := range []string{"notes.txt", freshPrefix + fmt.Sprintf("%020d", 7), sparePrefix + "x"} {
		f, err := fs.Create("journal/" + name)
		must(t, err)
		must(t, f.Close())
	}
	j := mustOpen(t, fs, small)
	if diff := m.difference(j); diff != "" {
		t.Error(diff)
	}
	must(t, j.Close())
	if _, err := fs.Stat("journal/notes.txt"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat("journal/" + sparePrefix + "x"); err == nil {
		t.Error("a spare of the wrong size was kept")
	}
}
