package wal

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
)

// TestReadersAndDeletion reads from everywhere while one writer appends and
// the front is deleted: every block is right or trimmed, none is missing.
func TestReadersAndDeletion(t *testing.T) {
	for _, direct := range []bool{false, true} {
		mem := vfs.NewMem(1)
		mem.SetDirect(direct)
		w := newTestWriter(t, func(o *WriterOptions) {
			o.BlockBytes, o.CacheBytes, o.FlushInterval, o.OpenFilesMax = 20_000, 50_000, time.Millisecond, 2
		})
		l := mustOpen(t, mem, testOptions(w, 128<<10))
		const blocks = 400
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for r := range 4 {
			readers.Go(func() { readWhile(t, l, stop, []int{1, 4000, 100_000, 1 << 20}[r]) })
		}
		for i := range blocks {
			mustAppend(t, l, testBlock(l.Position().Next, 3, 1500))
			if i%50 == 49 {
				if err := l.Flush(context.Background(), l.Position().Next); err != nil {
					t.Error(err)
				}
			}
			if i%40 == 39 {
				if err := l.DeleteBefore(l.Position().Next / 2); err != nil {
					t.Error(err)
				}
			}
		}
		close(stop)
		readers.Wait()
		mustClose(t, l)
		if _, err := Verify(mem, "log"); err != nil {
			t.Error(err)
		}
		if st := w.Stats(); st.OpenFiles != 0 || st.OpenWrites != 0 || st.DirtyBytes != 0 || st.CachedBytes != 0 {
			t.Errorf("left after Close: %+v", st)
		}
	}
}

func readWhile(t *testing.T, l *Log, stop chan struct{}, maxBytes int) {
	next, total := uint64(0), 0
	for {
		blocks, err := l.Read(next, maxBytes)
		var trimmed *TrimmedError
		if errors.As(err, &trimmed) {
			if trimmed.First <= next {
				t.Errorf("Read(%d) is trimmed, first %d", next, trimmed.First)
				return
			}
			next = trimmed.First
			continue
		}
		if err != nil {
			t.Errorf("Read(%d): %v", next, err)
			return
		}
		for _, b := range blocks {
			if want := testBlock(b.First, 3, 1500); b.End() <= next || !sameBlock(b, want) {
				t.Errorf("Read(%d) returned a wrong block at %d", next, b.First)
				return
			}
			next, total = b.End(), total+1
		}
		if ms := int64(1000 + next*10); len(blocks) > 0 {
			if got, err := l.SeekTime(ms); err != nil || got < next {
				t.Errorf("SeekTime(%d) = %d, %v", ms, got, err)
				return
			}
		}
		if len(blocks) == 0 {
			select {
			case <-stop:
				if total == 0 {
					t.Error("a reader saw nothing")
				}
				if next == l.Position().Next {
					return
				}
			default:
				next = l.First() // begin again, from the files
			}
		}
	}
}

// TestReadersDoNotWaitForTheDisk hangs a write and reads meanwhile.
func TestReadersDoNotWaitForTheDisk(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem(1))
	w := newTestWriter(t, func(o *WriterOptions) { o.BlockBytes = 1 })
	l := mustOpen(t, fault, testOptions(w, 1<<20))
	fill(t, l, 3, 2, 100)
	mustFlush(t, l)
	hung := make(chan struct{})
	fault.Add(vfs.Rule{Ops: vfs.OpWrite, Hang: true}, vfs.Rule{Ops: vfs.OpSync, Do: func() { close(hung) }})
	fill(t, l, 1, 2, 100)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Flush(ctx, l.Position().Next); !errors.Is(err, context.Canceled) {
		t.Fatalf("Flush with a dead context: %v", err)
	}
	if got := readAll(t, l, 0, 1<<20); len(got) != 4 {
		t.Fatalf("%d blocks while the disk hangs", len(got))
	}
	fill(t, l, 2, 2, 100)
	if l.Durable().Next != 6 {
		t.Fatalf("durable %d while the disk hangs", l.Durable().Next)
	}
	fault.Clear()
	mustFlush(t, l)
	mustClose(t, l)
}
