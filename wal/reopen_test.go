package wal

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestKilledThenPowerLost ends the process before every change of the disk, lets another one go on with what the
// system still shows, and only then loses power: nothing may look corrupt, and what was durable must be there.
func TestKilledThenPowerLost(t *testing.T) {
	o := func(w *Writer) Options { return testOptions(w, 32<<10) }
	for n := 1; ; n++ {
		mem := vfs.NewMem(uint64(n))
		mem.SetDirect(n%2 == 0)
		// From its n-th change on the first process hangs, as good as killed.
		fault := vfs.NewFault(mem, vfs.Rule{Ops: vfs.OpChange, Nth: n, Times: vfs.Forever, Hang: true})
		w := NewWriter(WriterOptions{FlushInterval: time.Hour})
		done := make(chan struct{})
		go func() {
			defer close(done)
			killedScript(fault, o(w))
		}()
		for ended := false; fault.Hits() == 0 && !ended; {
			select {
			case <-done:
				ended = true
			case <-time.After(100 * time.Microsecond):
			}
		}
		if fault.Hits() == 0 {
			_ = w.Close()
			if n < 40 {
				t.Fatalf("the script has only %d changes", n)
			}
			return
		}
		w2 := NewWriter(WriterOptions{FlushInterval: time.Hour})
		l := mustOpen(t, mem, o(w2))
		for round := range 3 {
			for seed := range uint64(6) {
				again, err := Open(mem.CrashClone(seed), "log", o(w2))
				if err != nil {
					t.Fatalf("killed before change %d, round %d, crash %d: %v", n, round, seed, err)
				}
				if again.Position().Next < l.Durable().Next {
					t.Fatalf("killed before change %d, round %d, crash %d: the log ends at %d, durable was %d",
						n, round, seed, again.Position().Next, l.Durable().Next)
				}
				_ = again.Abandon()
			}
			fill(t, l, 2+4*round, 2, 3000)
			mustFlush(t, l)
			if err := l.DeleteBefore(max(l.Position().Next, 8) - 8); err != nil {
				t.Fatal(err)
			}
		}
		_ = l.Abandon()
		_ = w2.Close()
		fault.Clear()
		<-done
		_ = w.Close()
	}
}

// killedScript makes segments, cuts and deletes them until something fails.
func killedScript(fsys vfs.FS, o Options) {
	l, err := Open(fsys, "log", o)
	for i := 0; i < 4 && err == nil; i++ {
		add := func(n int) {
			for ; n > 0 && err == nil; n-- {
				_, err = l.Append(testBlock(l.Position().Next, 2, 3000))
			}
		}
		if add(6); err == nil {
			err = l.Flush(context.Background(), l.Position().Next)
		}
		keep := l.Position()
		if add(3); err == nil && i%2 == 1 {
			err = l.TruncateTo(keep)
		}
		if err == nil {
			err = l.DeleteBefore(l.Position().Next - 6)
		}
	}
	if l != nil {
		_ = l.Close()
	}
}

// TestReopenMakesDurable opens a log again whose sync failed, in the same running system, which still shows bytes
// that never reached the disk, and only then loses power: what the second open called durable must be there.
func TestReopenMakesDurable(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewMem(uint64(n))
		mem.SetDirect(n%2 == 0)
		fault := vfs.NewFault(mem, vfs.Rule{Ops: vfs.OpSync, Nth: n, Err: unix.EIO})
		w := newTestWriter(t)
		killedScript(fault, testOptions(w, 32<<10))
		if fault.Hits() == 0 {
			if n < 8 {
				t.Fatalf("the script has only %d syncs", n)
			}
			return
		}
		l := mustOpen(t, mem, testOptions(w, 32<<10))
		for round := range 2 {
			for seed := range uint64(8) {
				again, err := Open(mem.CrashClone(seed), "log", testOptions(w, 32<<10))
				if err != nil {
					t.Fatalf("sync %d failed, round %d, crash %d: %v", n, round, seed, err)
				}
				if again.Position().Next < l.Durable().Next {
					t.Fatalf("sync %d failed, round %d, crash %d: the log ends at %d, durable was %d", n, round, seed, again.Position().Next, l.Durable().Next)
				}
				_ = again.Abandon()
			}
			fill(t, l, 4, 2, 3000)
			mustFlush(t, l)
		}
		_ = l.Abandon()
	}
}
