package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/vfs"
)

func TestLazyWriteAfterInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(WriterOptions{FlushInterval: 2 * time.Second})
		defer w.Close()
		l := mustOpen(t, vfs.NewMem(1), testOptions(w, 1<<20))
		defer l.Close()
		fill(t, l, 1, 1, 10)
		time.Sleep(time.Second)
		fill(t, l, 1, 1, 10)
		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		if st := w.Stats(); st.Writes != 0 || st.DirtyBytes == 0 {
			t.Fatalf("written early: %+v", st)
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if st := w.Stats(); st.Writes != 1 || st.DirtyBytes != 0 || st.Syncs != 0 {
			t.Fatalf("after the interval: %+v", st)
		}
		if l.Durable().Next != 0 {
			t.Fatal("durable without a sync")
		}
	})
}

func TestFullBlockIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(WriterOptions{FlushInterval: time.Hour, BlockBytes: 50_000})
		defer w.Close()
		l := mustOpen(t, vfs.NewMem(1), testOptions(w, 1<<20))
		defer l.Close()
		fill(t, l, 2, 1, 20_000)
		synctest.Wait()
		if st := w.Stats(); st.Writes != 0 {
			t.Fatalf("written early: %+v", st)
		}
		fill(t, l, 1, 1, 20_000)
		synctest.Wait()
		if st := w.Stats(); st.Writes != 1 || st.DirtyBytes != 0 {
			t.Fatalf("a full block is not written: %+v", st)
		}
	})
}

func TestAppendWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMem(1), vfs.Rule{Ops: vfs.OpWrite, Hang: true})
		w := NewWriter(WriterOptions{FlushInterval: time.Hour, DirtyBytesMax: 100_000})
		defer w.Close()
		l := mustOpen(t, fault, testOptions(w, 1<<20))
		defer l.Close()
		other := mustOpenIn(t, fault, "other", testOptions(w, 1<<20))
		defer other.Close()
		fill(t, l, 4, 1, 20_000)
		done := make(chan struct{})
		go func() {
			defer close(done)
			fill(t, other, 1, 1, 30_000)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("Append did not wait although there is no room")
		default:
		}
		if st := w.Stats(); st.DirtyBytes > 100_000 {
			t.Fatalf("%d dirty bytes", st.DirtyBytes)
		}
		fault.Clear()
		<-done
		// A block larger than all room passes alone.
		fill(t, l, 1, 1, 200_000)
	})
}

func mustOpenIn(t fatalf, fsys vfs.FS, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(fsys, dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return l
}

func TestIdleLogsAreCheap(t *testing.T) { synctest.Test(t, testIdleLogsAreCheap) }

func testIdleLogsAreCheap(t *testing.T) {
	mem := vfs.NewMem(1)
	w := newTestWriter(t, func(o *WriterOptions) { o.OpenFilesMax = 10 })
	before := runtime.NumGoroutine()
	var logs []*Log
	for i := range 300 {
		l := mustOpenIn(t, mem, fmt.Sprintf("log%d", i), testOptions(w, 0))
		logs = append(logs, l)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines for idle logs", n-before)
	}
	if names, err := mem.List("log0"); err != nil || len(names) != 0 {
		t.Errorf("a log without records has files %v, %v", names, err)
	}
	for _, l := range logs {
		fill(t, l, 1, 1, 100)
		mustFlush(t, l)
		readAll(t, l, 0, 1)
	}
	synctest.Wait() // the handle that is one too many is closed after its log is written
	if st := w.Stats(); st.OpenWrites > 10 || st.OpenFiles > 10 {
		t.Errorf("descriptors: %+v", st)
	}
	if n := logs[0].Bytes(); n > 4*pageSize {
		t.Errorf("a log with one record takes %d bytes", n)
	}
	for _, l := range logs {
		fill(t, l, 1, 1, 100) // goes on after its handle was closed
		mustClose(t, l)
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func TestRecentBlocksAreBounded(t *testing.T) {
	w := newTestWriter(t, func(o *WriterOptions) { o.CacheBytes, o.BlockBytes = 100_000, 1 })
	a := mustOpenIn(t, vfs.NewMem(1), "a", testOptions(w, 1<<20))
	b := mustOpenIn(t, vfs.NewMem(2), "b", testOptions(w, 1<<20))
	for range 40 {
		fill(t, a, 1, 1, 10_000)
		fill(t, b, 1, 1, 10_000)
		mustFlush(t, a)
		mustFlush(t, b)
		if st := w.Stats(); st.CachedBytes > 100_000 || st.CachedBytes == 0 && a.Position().Next > 1 {
			t.Fatalf("%d bytes cached", st.CachedBytes)
		}
	}
	held := 0
	for _, l := range []*Log{a, b} {
		for _, m := range l.mem {
			held += int(m.length)
		}
	}
	if held > 100_000 {
		t.Fatalf("%d bytes of blocks held", held)
	}
	mustClose(t, a)
	mustClose(t, b)
}

func TestDeleteBeforeRollsALargeLastSegment(t *testing.T) {
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 8<<20)
	l := mustOpen(t, mem, o)
	fill(t, l, 3, 1, 500_000)
	mustFlush(t, l)
	name := segmentPaths(l)[0]
	p := l.Position()
	if err := l.DeleteBefore(p.Next - 1); err != nil || l.First() != 0 {
		t.Fatalf("first %d, %v", l.First(), err)
	}
	if err := l.DeleteBefore(p.Next); err != nil {
		t.Fatal(err)
	}
	if l.First() != p.Next || l.Position() != p || l.Bytes() != pageSize {
		t.Fatalf("first %d, position %+v, %d bytes", l.First(), l.Position(), l.Bytes())
	}
	if _, err := mem.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the old segment is there: %v", err)
	}
	if _, ok := l.OldestTime(); ok {
		t.Fatal("an empty log has an oldest time")
	}
	if got, err := l.SeekTime(0); err != nil || got != p.Next {
		t.Fatalf("SeekTime in an empty log: %d, %v", got, err)
	}
	fill(t, l, 1, 1, 10)
	mustClose(t, l)
	l = mustOpen(t, mem, o)
	defer l.Close()
	if l.First() != p.Next || l.Position().Next != p.Next+1 {
		t.Fatalf("after reopening [%d, %d)", l.First(), l.Position().Next)
	}
}

func TestDeleteTriesAgain(t *testing.T) {
	disk := errors.New("no")
	mem := vfs.NewMem(1)
	fault := vfs.NewFault(mem, vfs.Rule{Ops: vfs.OpRemove, Err: disk})
	l := mustOpen(t, fault, testOptions(newTestWriter(t), 16<<10))
	defer l.Close()
	fill(t, l, 4, 1, 9000)
	mustFlush(t, l)
	if err := l.DeleteBefore(2); !errors.Is(err, disk) {
		t.Fatalf("DeleteBefore: %v", err)
	}
	if err := l.DeleteBefore(2); err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("log")
	if err != nil || len(names) != 2 {
		t.Fatalf("files %v, %v", names, err)
	}
}

func TestFailedSyncOfDeletionFails(t *testing.T) {
	disk := errors.New("no")
	fault := vfs.NewFault(vfs.NewMem(1))
	l := mustOpen(t, fault, testOptions(newTestWriter(t), 16<<10))
	defer l.Close()
	fill(t, l, 4, 1, 9000)
	mustFlush(t, l)
	fault.Add(vfs.Rule{Ops: vfs.OpSyncDir, Err: disk})
	for range 2 { // and is not tried again
		if err := l.DeleteBefore(2); !errors.Is(err, ErrFailed) || !errors.Is(err, disk) {
			t.Fatalf("DeleteBefore: %v", err)
		}
	}
}

func TestClosedWriter(t *testing.T) {
	w := NewWriter(WriterOptions{FlushInterval: time.Hour})
	mem := vfs.NewMem(1)
	l := mustOpen(t, mem, testOptions(w, 1<<20))
	fill(t, l, 2, 1, 10)
	_ = w.Close()
	_ = w.Close()
	if st := w.Stats(); st.DirtyBytes != 0 || st.Writes == 0 {
		t.Fatalf("Close left %+v", st)
	}
	if _, err := l.Append(testBlock(2, 1, 10)); !errors.Is(err, ErrClosed) {
		t.Fatalf("Append: %v", err)
	}
	if err := l.Flush(context.Background(), 2); err != nil && !errors.Is(err, ErrClosed) {
		t.Fatalf("Flush: %v", err)
	}
	mustClose(t, l)
	if l.Durable().Next != 2 {
		t.Fatalf("durable %d after Close", l.Durable().Next)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := Open(vfs.NewMem(1), "log", Options{}); err == nil {
		t.Error("no writer, and accepted")
	}
	if _, err := Open(vfs.NewMem(1), "log", testOptions(newTestWriter(t), 10)); err == nil {
		t.Error("segments of 10 bytes, and accepted")
	}
}

// TestReadAfterRewrite: where a reader stopped before a truncation is
// no place to go on from afterwards.
func TestReadAfterRewrite(t *testing.T) {
	w := newTestWriter(t, func(o *WriterOptions) { o.CacheBytes = -1 })
	l := mustOpen(t, vfs.NewMem(1), testOptions(w, 1<<20))
	defer l.Close()
	fill(t, l, 10, 1, 1000)
	mustFlush(t, l)
	for n := range uint64(8) { // leaves a hint at every block
		if _, err := l.Read(n, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.TruncateTo(Position{}); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 10, 1, 2500)
	mustFlush(t, l)
	for i := range uint64(10) {
		n := 9 - i // backwards, so that no new hint takes the place of the old one in time
		got, err := l.Read(n, 1)
		if err != nil || len(got) != 1 || !sameBlock(got[0], testBlock(n, 1, 2500)) {
			t.Fatalf("Read(%d): %d blocks, %v", n, len(got), err)
		}
	}
}
