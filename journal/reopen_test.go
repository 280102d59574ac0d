package journal

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestReopenMakesDurable stops the journal by a failed sync, opens it again in the same running system, which still
// shows bytes that never reached the disk, and only then loses power: what the second open showed must be there, for
// a Raft node counts it as stored.
func TestReopenMakesDurable(t *testing.T) {
	steps := script(5, 40)
	shown := 0
	for n := 1; ; n++ {
		mem := vfs.NewMem(uint64(n))
		fault := vfs.NewFault(mem, vfs.Rule{Ops: vfs.OpSync, Nth: n, Err: unix.EIO})
		out := runScript(fault, crashOptions, steps)
		if fault.Hits() == 0 {
			break
		}
		if out.err != nil && !errors.Is(out.err, unix.EIO) {
			t.Fatal(out.err)
		}
		j := mustOpen(t, mem, crashOptions)
		seen := newModel()
		for _, g := range j.Groups() {
			first, last := j.Bounds(g)
			var all []Entry
			for i := first; i <= last; i++ {
				var e Entry
				must(t, j.Get(g, i, &e))
				all = append(all, e)
			}
			seen.set(g, all, j.Commit(g))
			shown += len(all)
		}
		for seed := range uint64(6) {
			after := mem.CrashClone(seed)
			again, err := Open(after, "journal", crashOptions)
			if err != nil {
				t.Fatalf("sync %d failed, crash %d: %v", n, seed, err)
			}
			if diff := seen.difference(again); diff != "" {
				t.Fatalf("sync %d failed, crash %d: the reopened journal showed more than was durable: %s", n, seed, diff)
			}
			must(t, again.Close())
		}
		must(t, j.Close())
	}
	if shown < 500 {
		t.Errorf("only %d entries seen", shown)
	}
}
