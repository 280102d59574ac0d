package journal

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestPrefixBesideChanges removes prefixes beside appends, suffix removals and deletions of the same groups: what the
// journal says at its end must be what a replay finds, and every crash on the way must leave one that opens.
func TestPrefixBesideChanges(t *testing.T) {
	crashes := 0
	for seed := range uint64(12) {
		mem := vfs.NewMem(seed)
		mem.SetDirect(seed%2 == 0)
		var mu sync.Mutex
		var clones []*vfs.Mem
		n := 0
		fault := vfs.NewFault(mem, vfs.Rule{Ops: vfs.OpSync | vfs.OpWrite, Times: vfs.Forever, Do: func() {
			mu.Lock()
			defer mu.Unlock()
			if n++; n%13 == 0 {
				clones = append(clones, mem.CrashClone(seed<<20|uint64(n)))
			}
		}})
		j, err := Open(fault, "journal", crashOptions)
		must(t, err)
		var running sync.WaitGroup
		for g := uint64(1); g <= 4; g++ {
			stop := make(chan struct{})
			running.Go(func() {
				defer close(stop)
				changeGroup(t, j, g, rand.New(rand.NewPCG(seed, g)))
			})
			running.Go(func() { removePrefixes(t, j, g, rand.New(rand.NewPCG(seed, g+100)), stop) })
		}
		running.Wait()
		want := boundsOf(j)
		must(t, j.Close())
		again, err := Open(mem, "journal", crashOptions)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for g := uint64(1); g <= 4; g++ {
			if first, last := again.Bounds(g); (heldRange{first, last}) != want[g] {
				t.Errorf("seed %d: group %d has %d to %d after the replay, want %v", seed, g, first, last, want[g])
			}
		}
		must(t, again.Close())
		for i, c := range clones {
			again, err := Open(c, "journal", crashOptions)
			if err != nil {
				t.Fatalf("seed %d, crash %d: %v", seed, i, err)
			}
			must(t, again.Close())
		}
		crashes += len(clones)
	}
	if crashes < 100 {
		t.Errorf("only %d crashes", crashes)
	}
}

// changeGroup is the one writer of a group. The prefix removals beside it can empty the group.
func changeGroup(t *testing.T, j *Journal, g uint64, rng *rand.Rand) {
	last := uint64(0)
	for i := range uint64(120) {
		switch k := rng.IntN(12); {
		case k < 9:
			err := j.Append(g, entries(g, last+1, rng.Uint64N(3)+1, i, []int{0, 3000, 9000}[rng.IntN(3)]), last)
			if err != nil && !errors.Is(err, ErrGap) {
				t.Error(err)
				return
			}
			_, last = j.Bounds(g)
		case k < 11 && last > 3:
			if err := j.TruncateSuffix(g, last-rng.Uint64N(3)); err != nil {
				t.Error(err)
			}
			_, last = j.Bounds(g)
		case rng.IntN(4) == 0:
			if err := j.DeleteGroup(g); err != nil {
				t.Error(err)
			}
			last = rng.Uint64N(50)
		}
	}
}

func removePrefixes(t *testing.T, j *Journal, g uint64, rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		_, last := j.Bounds(g)
		if err := j.TruncatePrefix(g, last-min(last, rng.Uint64N(6))); err != nil {
			t.Error(err)
			return
		}
	}
}
