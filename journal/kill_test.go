package journal

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
)

// lockless is a file system whose dead processes hold no locks.
type lockless struct{ vfs.FS }

// Lock implements vfs.FS.
func (lockless) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

type heldRange struct{ first, last uint64 }

func boundsOf(j *Journal) map[uint64]heldRange {
	all := map[uint64]heldRange{}
	for _, g := range j.Groups() {
		first, last := j.Bounds(g)
		all[g] = heldRange{first, last}
	}
	return all
}

// TestKilledThenPowerLost ends the process before every third change of the disk, lets another one go on with what the
// system still shows, and only then loses power: what the second one counted as its own must be there.
func TestKilledThenPowerLost(t *testing.T) {
	steps := script(3, 60)
	changes := 0
	for n := 1; ; n += 3 {
		killed := false
		synctest.Test(t, func(t *testing.T) { killed = killAndLiveOn(t, steps, n) })
		if !killed {
			break
		}
		changes = n
	}
	if changes < 60 {
		t.Errorf("the script has only %d changes", changes)
	}
}

// killAndLiveOn reports whether the script came to its n-th change.
func killAndLiveOn(t *testing.T, steps []step, n int) bool {
	mem := vfs.NewMem(uint64(n))
	// From its n-th change on the first process hangs, as good as killed.
	fault := vfs.NewFault(lockless{mem}, vfs.Rule{Ops: vfs.OpChange, Nth: n, Times: vfs.Forever, Hang: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		runScript(fault, crashOptions, steps)
	}()
	for ended := false; fault.Hits() == 0 && !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(100 * time.Microsecond):
		}
	}
	if fault.Hits() == 0 {
		return false
	}
	synctest.Wait() // what another of its goroutines had begun before is over when a process has ended
	liveOn(t, mem, n)
	fault.Clear()
	<-done
	return true
}

// liveOn opens the journal that a killed process left, writes on, and checks after each round what a power loss leaves.
func liveOn(t *testing.T, mem *vfs.Mem, n int) {
	t.Helper()
	j, err := Open(lockless{mem}, "journal", crashOptions)
	if err != nil {
		t.Fatalf("killed before change %d: %v", n, err)
	}
	for round := range 3 {
		want := boundsOf(j)
		for seed := range uint64(6) {
			again, err := Open(lockless{mem.CrashClone(seed)}, "journal", crashOptions)
			if err != nil {
				t.Fatalf("killed before change %d, round %d, crash %d: %v", n, round, seed, err)
			}
			for g, w := range want {
				first, last := again.Bounds(g)
				if last != w.last || first > w.first {
					t.Fatalf("killed before change %d, round %d, crash %d: group %d has %d to %d, want %v", n, round, seed, g, first, last, w)
				}
				for i := first; i <= last && last > 0; i++ {
					var e Entry
					must(t, again.Get(g, i, &e))
				}
			}
			must(t, again.Close())
		}
		for g := uint64(1); g <= 3; g++ {
			for range 3 {
				_, last := j.Bounds(g)
				must(t, j.Append(g, entries(g, last+1, 2, 99, 9000), 0))
			}
			_, last := j.Bounds(g)
			must(t, j.TruncatePrefix(g, last-1))
		}
	}
	must(t, j.Close())
}
