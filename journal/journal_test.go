package journal

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/vfs"
)

// small makes segments roll and recycle often.
var small = Options{SegmentBytes: 64 << 10, MaxBytes: 512 << 10, SpareSegments: 2, CacheBytes: 8 << 10}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, fs vfs.FS, o Options) *Journal {
	t.Helper()
	j, err := Open(fs, "journal", o)
	must(t, err)
	return j
}

// entry makes an entry whose content follows from its place.
func entry(group, index, term uint64, size int) Entry {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(group*31 + index*7 + term*3 + uint64(i))
	}
	e := Entry{Index: index, Term: term, Type: uint8(index % 5), Data: data, AppendedAt: int64(index) * 1000}
	if index%3 == 0 {
		e.Extensions = []byte(fmt.Sprintf("x%d", index))
	}
	if size == 0 {
		e.Data = nil
	}
	return e
}

func entries(group, from, n, term uint64, size int) []Entry {
	var all []Entry
	for i := range n {
		all = append(all, entry(group, from+i, term, size))
	}
	return all
}

func wantEntries(t testing.TB, j *Journal, group uint64, want []Entry) {
	t.Helper()
	first, last := j.Bounds(group)
	if len(want) == 0 {
		if first != 0 || last != 0 {
			t.Fatalf("group %d holds %d to %d, want nothing", group, first, last)
		}
		return
	}
	if first != want[0].Index || last != want[len(want)-1].Index {
		t.Fatalf("group %d holds %d to %d, want %d to %d", group, first, last, want[0].Index, want[len(want)-1].Index)
	}
	for _, w := range want {
		var got Entry
		must(t, j.Get(group, w.Index, &got))
		if diff := entryDiff(w, got); diff != "" {
			t.Fatalf("group %d entry %d: %s", group, w.Index, diff)
		}
	}
}

func TestAppendAndReopen(t *testing.T) {
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprintf("direct %t", direct), func(t *testing.T) {
			fs := vfs.NewMem(1)
			fs.SetDirect(direct)
			j := mustOpen(t, fs, small)
			want := append(entries(7, 5, 3, 1, 100), entries(7, 8, 2, 2, 20<<10)...)
			must(t, j.Append(7, want[:3], 4))
			must(t, j.Append(7, want[3:], 100))
			must(t, j.Append(9, entries(9, 1, 1, 1, 0), 0))
			for range 2 {
				wantEntries(t, j, 7, want)
				wantEntries(t, j, 9, entries(9, 1, 1, 1, 0))
				if c := j.Commit(7); c != 9 {
					t.Errorf("commit %d, want the last entry 9", c)
				}
				if diff := cmp.Diff([]uint64{7, 9}, j.Groups()); diff != "" {
					t.Error(diff)
				}
				for _, index := range []uint64{4, 10} {
					if err := j.Get(7, index, &Entry{}); !errors.Is(err, ErrNotFound) {
						t.Errorf("entry %d: %v", index, err)
					}
				}
				must(t, j.Close())
				must(t, j.Close())
				j = mustOpen(t, fs, small)
			}
			must(t, j.Close())
		})
	}
}

func TestRefusals(t *testing.T) {
	j := mustOpen(t, vfs.NewMem(1), small)
	must(t, j.Append(1, entries(1, 10, 2, 1, 10), 0))
	for name, c := range map[string]struct {
		entries []Entry
		want    error
	}{
		"gap":          {entries(1, 13, 1, 1, 10), ErrGap},
		"again":        {entries(1, 11, 1, 1, 10), ErrGap},
		"gap inside":   {[]Entry{entry(1, 12, 1, 1), entry(1, 14, 1, 1)}, ErrGap},
		"index 0":      {entries(2, 0, 1, 1, 10), ErrGap},
		"entry 49 KiB": {entries(1, 12, 1, 1, 49<<10), ErrTooLarge},
	} {
		if err := j.Append(1, c.entries, 0); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, j.Failed())
	wantEntries(t, j, 1, entries(1, 10, 2, 1, 10))
	must(t, j.Close())
	if err := j.Append(1, entries(1, 12, 1, 1, 10), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := j.TruncatePrefix(1, 10); !errors.Is(err, ErrClosed) {
		t.Errorf("truncation after close: %v", err)
	}
}

func TestLocked(t *testing.T) {
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, small)
	if _, err := Open(fs, "journal", small); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	must(t, j.Close())
	must(t, mustOpen(t, fs, small).Close())
}

func TestTruncations(t *testing.T) {
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, small)
	must(t, j.Append(1, entries(1, 1, 10, 1, 100), 8))
	must(t, j.TruncateSuffix(1, 6))
	if c := j.Commit(1); c != 5 {
		t.Errorf("commit %d above the last entry 5", c)
	}
	must(t, j.TruncatePrefix(1, 2))
	wantEntries(t, j, 1, entries(1, 1, 10, 1, 100)[2:5])
	must(t, j.Append(1, entries(1, 6, 2, 2, 100), 0))
	want := append(entries(1, 1, 10, 1, 100)[2:5], entries(1, 6, 2, 2, 100)...)
	wantEntries(t, j, 1, want)
	must(t, j.Append(2, entries(2, 1, 3, 1, 10), 3))
	must(t, j.TruncatePrefix(2, 3)) // all of it
	must(t, j.Append(2, entries(2, 50, 1, 1, 10), 0))
	must(t, j.Append(3, entries(3, 1, 3, 1, 10), 3))
	must(t, j.DeleteGroup(3))
	must(t, j.Append(4, entries(4, 1, 3, 1, 10), 3))
	must(t, j.TruncateSuffix(4, 1))
	must(t, j.TruncateSuffix(99, 1))
	for range 2 {
		wantEntries(t, j, 1, want)
		wantEntries(t, j, 2, entries(2, 50, 1, 1, 10))
		wantEntries(t, j, 3, nil)
		wantEntries(t, j, 4, nil)
		if c := j.Commit(2); c != 0 {
			t.Errorf("a new life of the group begins with commit %d", c)
		}
		must(t, j.Close())
		j = mustOpen(t, fs, small)
	}
	must(t, j.Close())
}

// TestManyCallers runs groups side by side with readers and truncations, across many recyclings.
func TestManyCallers(t *testing.T) {
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, small)
	const groups, rounds = 8, 120
	var group sync.WaitGroup
	for g := uint64(1); g <= groups; g++ {
		group.Go(func() {
			for i := uint64(1); i <= rounds; i++ {
				if err := j.Append(g, entries(g, i, 1, 1, int(i*37%3000)), i-1); err != nil {
					t.Error(err)
					return
				}
				var e Entry
				if err := j.Get(g, max(6, i)-5, &e); err != nil {
					t.Error(err)
				}
				if i%20 == 0 {
					if err := j.TruncatePrefix(g, i-10); err != nil {
						t.Error(err)
					}
				}
			}
		})
		group.Go(func() {
			for range 200 {
				first, last := j.Bounds(g)
				for i := first; i <= last && i > 0; i++ {
					var e Entry
					err := j.Get(g, i, &e)
					if errors.Is(err, ErrNotFound) {
						continue // truncated meanwhile
					}
					if err != nil {
						t.Error(err)
						return
					}
					if want := entry(g, i, 1, int(i*37%3000)); !bytes.Equal(want.Data, e.Data) {
						t.Errorf("group %d entry %d differs", g, i)
						return
					}
				}
			}
		})
	}
	group.Wait()
	s := j.Stats()
	if s.Recycled == 0 || s.Rounds == 0 {
		t.Errorf("nothing was recycled: %+v", s)
	}
	must(t, j.Close())
	j = mustOpen(t, fs, small)
	for g := uint64(1); g <= groups; g++ {
		if first, last := j.Bounds(g); first < rounds-10-10 || last != rounds {
			t.Errorf("group %d holds %d to %d", g, first, last)
		}
	}
	must(t, j.Close())
}

func TestLargeAppendIsSplit(t *testing.T) {
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, small)
	want := entries(1, 1, 50, 1, 3000) // more than two segments
	must(t, j.Append(1, want, 50))
	wantEntries(t, j, 1, want)
	if s := j.Stats(); s.Segments < 3 || s.Rounds < 3 || j.Commit(1) != 50 {
		t.Errorf("%+v, commit %d", s, j.Commit(1))
	}
	must(t, j.Close())
	j = mustOpen(t, fs, small)
	wantEntries(t, j, 1, want)
	must(t, j.Close())
}

// TestLargestBatchFits keeps the smallest segment that a configuration allows (16 MiB) and the largest batch (11 MiB)
// apart: a refusal here stops the node.
func TestLargestBatchFits(t *testing.T) {
	const segment, batch = 16 << 20, 11<<20 + 4096
	o := Options{SegmentBytes: segment, MaxBytes: 2 * segment, CacheBytes: -1}
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, o)
	for i := range uint64(4) { // the later ones have the first moved
		must(t, j.Append(1, []Entry{{Index: i + 1, Term: 1, Data: make([]byte, batch)}}, 0))
	}
	must(t, j.Close())
	j = mustOpen(t, fs, o)
	if first, last := j.Bounds(1); first != 1 || last != 4 {
		t.Errorf("entries %d to %d", first, last)
	}
	must(t, j.Close())
}

func TestCacheIsBounded(t *testing.T) {
	j := mustOpen(t, vfs.NewMem(1), small)
	for i := uint64(1); i <= 40; i++ {
		must(t, j.Append(i%4+1, entries(i%4+1, (i-1)/4+1, 1, 1, 1000), 0))
		if s := j.Stats(); s.CachedBytes > small.CacheBytes {
			t.Fatalf("cache holds %d of %d bytes", s.CachedBytes, small.CacheBytes)
		}
	}
	if s := j.Stats(); s.CachedBytes < small.CacheBytes/2 {
		t.Errorf("cache holds %d bytes only", s.CachedBytes)
	}
	for g := uint64(1); g <= 4; g++ {
		wantEntries(t, j, g, entries(g, 1, 10, 1, 1000))
		must(t, j.DeleteGroup(g))
	}
	if s := j.Stats(); s.CachedBytes != 0 || s.LiveBytes != 0 {
		t.Errorf("left after deletion: %+v", s)
	}
	must(t, j.Close())
}

func TestIdleGroupIsSmall(t *testing.T) {
	const groups = 5000
	o := Options{SegmentBytes: 8 << 20, CacheBytes: -1, SpareSegments: 1}
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, o)
	var batch sync.WaitGroup
	for g := uint64(1); g <= groups; g++ {
		batch.Go(func() { must(t, j.Append(g, entries(g, 1, 3, 1, 50), 0)) })
	}
	batch.Wait()
	must(t, j.Close())
	used := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	j = nil
	before := used()
	j = mustOpen(t, fs, o)
	each := (used() - before) / groups
	t.Logf("%d bytes per idle group with 3 entries", each)
	if each > 1024 || each < 72 { // three locations take 72
		t.Errorf("%d bytes per idle group", each)
	}
	must(t, j.Close())
}
