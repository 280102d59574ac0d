package journal

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestIdleGroupsAreMoved: a thousand groups that never write again hold every old segment; they are moved and the
// journal stays small, again and again.
func TestIdleGroupsAreMoved(t *testing.T) {
	fs := vfs.NewMem(1)
	o := Options{SegmentBytes: 256 << 10, MaxBytes: 2 << 20, SpareSegments: 1, CacheBytes: -1}
	j := mustOpen(t, fs, o)
	const idle = 1000
	var batch sync.WaitGroup
	for g := uint64(1); g <= idle; g++ {
		batch.Go(func() {
			if err := j.Append(g, entries(g, g, 2, 1, 40), g); err != nil {
				t.Error(err)
			}
		})
	}
	batch.Wait()
	for i := uint64(1); i <= 1200; i++ {
		must(t, j.Append(5000, entries(5000, i, 1, 1, 8<<10), i))
		must(t, j.TruncatePrefix(5000, i-1))
		if s := j.Stats(); int64(s.Segments)*o.SegmentBytes > o.MaxBytes+4*o.SegmentBytes {
			t.Fatalf("%d segments after %d appends", s.Segments, i)
		}
	}
	s := j.Stats()
	if s.RelocatedBytes < 2*idle*80 || s.Recycled < 20 {
		t.Errorf("not moved twice: %+v", s)
	}
	for range 2 {
		if n := len(j.Groups()); n != idle+1 {
			t.Fatalf("%d groups left", n)
		}
		for g := uint64(1); g <= idle; g++ {
			wantEntries(t, j, g, entries(g, g, 2, 1, 40))
			if c := j.Commit(g); c != g {
				t.Fatalf("group %d has commit %d", g, c)
			}
		}
		must(t, j.Close())
		j = mustOpen(t, fs, o)
	}
	must(t, j.Close())
}

// TestLargeGroupsAreAskedFirst: a group with much in the oldest segment is asked for a snapshot; if it
// truncates, nothing of it is moved; if it never answers, it is moved at last.
func TestLargeGroupsAreAskedFirst(t *testing.T) {
	for name, answers := range map[string]bool{"answers": true, "does not answer": false} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []uint64
			var j *Journal
			ready := make(chan struct{})
			o := Options{SegmentBytes: 256 << 10, MaxBytes: 4 << 20, SpareSegments: 1, CacheBytes: -1}
			o.RequestSnapshot = func(g uint64) {
				<-ready
				mu.Lock()
				asked = append(asked, g)
				mu.Unlock()
				if _, last := j.Bounds(g); answers && last > 1 {
					if err := j.TruncatePrefix(g, last-1); err != nil {
						t.Error(err)
					}
				}
			}
			j = mustOpen(t, vfs.NewMem(1), o)
			close(ready)
			must(t, j.Append(1, entries(1, 1, 20, 1, 8<<10), 20)) // 160 KiB, then idle
			for i := uint64(1); i <= 1000; i++ {
				must(t, j.Append(2, entries(2, i, 1, 1, 8<<10), i))
				if i > 3 {
					must(t, j.TruncatePrefix(2, i-3))
				}
			}
			s := j.Stats()
			mu.Lock()
			if !slices.Contains(asked, 1) {
				t.Error("the group that holds the oldest segment was not asked")
			}
			mu.Unlock()
			if int64(s.Segments)*o.SegmentBytes > o.MaxBytes+2*o.SegmentBytes {
				t.Errorf("%d segments", s.Segments)
			}
			if moved := s.RelocatedBytes > 64<<10; moved == answers {
				t.Errorf("%d bytes moved", s.RelocatedBytes)
			}
			if _, last := j.Bounds(1); last != 20 {
				t.Errorf("last entry %d of the idle group", last)
			}
			must(t, j.Close())
		})
	}
}

// TestEverythingLive: when all entries are live, moving them must not feed on itself.
func TestEverythingLive(t *testing.T) {
	o := Options{SegmentBytes: 64 << 10, MaxBytes: 256 << 10, SpareSegments: 1, CacheBytes: -1}
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, o)
	const n = 150
	for i := uint64(1); i <= n; i++ {
		must(t, j.Append(i%3+1, entries(i%3+1, (i-1)/3+1, 1, 1, 7000+int(i%2)*20000), 0))
	}
	s := j.Stats()
	if s.LiveBytes < n*7000 || s.RelocatedBytes > 2*s.LiveBytes {
		t.Errorf("%+v", s)
	}
	must(t, j.Close())
	j = mustOpen(t, fs, o)
	if got := j.Stats().LiveBytes; got != s.LiveBytes {
		t.Errorf("%d bytes live after a replay, %d before", got, s.LiveBytes)
	}
	must(t, j.Close())
}

func TestSparesAreReused(t *testing.T) {
	fs := vfs.NewMem(1)
	j := mustOpen(t, fs, small)
	for i := uint64(1); i <= 200; i++ {
		must(t, j.Append(1, entries(1, i, 1, 1, 8000), i))
		must(t, j.TruncatePrefix(1, i-1))
	}
	must(t, j.Close())
	if s := j.Stats(); s.Recycled < 20 || s.Segments+s.Spares > 5 {
		t.Errorf("%+v", s)
	}
	names, err := fs.List("journal")
	must(t, err)
	if len(names) > 6 {
		t.Errorf("files left: %v", names)
	}
}

// TestRecyclingWaitsForRemovals loses power right after a segment was freed by a removal that nothing else made
// durable: a replay must not look for the entries that were in it.
func TestRecyclingWaitsForRemovals(t *testing.T) {
	for n := uint64(1); n <= 20; n++ {
		fs := vfs.NewMem(n)
		j := mustOpen(t, fs, small)
		must(t, j.Append(1, entries(1, 1, 20, 1, 8000), 20))
		must(t, j.TruncatePrefix(1, 19))
		for j.Stats().Recycled == 0 {
			runtime.Gosched() // the writer does it by itself
		}
		for seed := range uint64(5) {
			again := mustOpen(t, fs.CrashClone(seed), small)
			wantEntries(t, again, 1, entries(1, 20, 1, 1, 8000))
			must(t, again.Close())
		}
		must(t, j.Close())
	}
}
