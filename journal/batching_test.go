package journal

import (
	"errors"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestNaturalBatching: what arrives while a sync hangs goes into one round, and is neither answered nor visible before.
func TestNaturalBatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMem(1))
		j := mustOpen(t, fault, small)
		synctest.Wait() // spares are made
		fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true})
		const callers = 20
		answers := make(chan error, callers)
		for g := uint64(1); g <= callers; g++ {
			go func() { answers <- j.Append(g, entries(g, 1, 1, 1, 100), 1) }()
			if g == 1 {
				synctest.Wait() // the first is alone in its round
			}
		}
		synctest.Wait()
		if n := len(answers); n != 0 {
			t.Errorf("%d appends answered before their sync", n)
		}
		if g := j.Groups(); len(g) != 0 {
			t.Errorf("groups %v are visible before their sync", g)
		}
		fault.Release()
		for range callers {
			must(t, <-answers)
		}
		if s := j.Stats(); s.Rounds != 2 || s.Groups != callers {
			t.Errorf("%+v", s)
		}
		must(t, j.Close())
	})
}

// TestFailureAnswersAll: everyone who waits when a sync fails is told, once, and so is OnFailure; reads go on.
func TestFailureAnswersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMem(1))
		reports := make(chan error, 10)
		o := small
		o.OnFailure = func(err error) { reports <- err }
		j := mustOpen(t, fault, o)
		must(t, j.Append(1, entries(1, 1, 3, 1, 3000), 3)) // too much for the cache
		synctest.Wait()
		fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true, Err: unix.EIO})
		answers := make(chan error, 10)
		for g := uint64(2); g <= 6; g++ {
			go func() { answers <- j.Append(g, entries(g, 1, 1, 1, 100), 1) }()
		}
		synctest.Wait()
		go func() { answers <- j.TruncateSuffix(1, 2) }()
		go func() { answers <- j.DeleteGroup(1) }()
		synctest.Wait()
		fault.Release()
		for range 7 {
			if err := <-answers; !errors.Is(err, ErrFailed) || !errors.Is(err, unix.EIO) {
				t.Errorf("answer %v", err)
			}
		}
		synctest.Wait()
		if len(reports) != 1 || !errors.Is(<-reports, ErrFailed) {
			t.Error("OnFailure not called once")
		}
		wantEntries(t, j, 1, entries(1, 1, 3, 1, 3000))
		if err := j.TruncatePrefix(1, 1); !errors.Is(err, ErrFailed) {
			t.Errorf("prefix removal: %v", err)
		}
		if err := j.Close(); !errors.Is(err, ErrFailed) {
			t.Errorf("close: %v", err)
		}
		must(t, j.Close())
	})
}

func TestOnRealDisk(t *testing.T) {
	dir := t.TempDir()
	m := newModel()
	for life := range uint64(2) {
		j, err := Open(vfs.OS(), dir, small)
		must(t, err)
		if diff := m.difference(j); diff != "" {
			t.Fatal(diff)
		}
		for i := range uint64(40) {
			g := i%3 + 1
			e := entries(g, m.last(g)+1, i%4+1, life+1, int(i*997%20000))
			must(t, j.Append(g, e, i))
			m.append(g, e, i)
			if i%8 == 7 {
				must(t, j.TruncatePrefix(g, m.last(g)-2))
				m.truncatePrefix(g, m.last(g)-2)
			}
		}
		if diff := m.difference(j); diff != "" {
			t.Fatal(diff)
		}
		must(t, j.Close())
	}
}
