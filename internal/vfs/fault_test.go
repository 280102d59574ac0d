package vfs

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestRuleCounts(t *testing.T) {
	f := NewFault(NewMem(1), Rule{Ops: OpWrite, Path: "*.seg", Nth: 2, Times: 2, Err: unix.EIO})
	seg, other := create(t, f, "d.seg", []byte("1")), create(t, f, "d.txt", []byte("1"))
	var failed []int
	for i := 2; i <= 5; i++ {
		if _, err := other.WriteAt([]byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := seg.WriteAt([]byte("x"), 0); err != nil {
			if !errors.Is(err, unix.EIO) {
				t.Fatal(err)
			}
			failed = append(failed, i)
		}
	}
	if len(failed) != 2 || failed[0] != 2 || failed[1] != 3 {
		t.Errorf("failed writes: %v", failed)
	}
	if f.Hits() != 2 || f.Count(OpWrite) != 10 || f.Count(OpCreate|OpSync) != 2 {
		t.Errorf("hits %d, writes %d, creations %d", f.Hits(), f.Count(OpWrite), f.Count(OpCreate|OpSync))
	}
}

// TestEveryOperationCanFail sweeps over a script: the n-th operation fails, whichever it is, and nothing else does.
func TestEveryOperationCanFail(t *testing.T) {
	script := func(f FS) (errs []error) {
		note := func(err error) { errs = append(errs, err) }
		note(f.MkdirAll("d"))
		_, err := f.List("/")
		note(err)
		_, err = f.Stat("/")
		note(err)
		_, err = f.Free("/")
		note(err)
		lock, err := f.Lock("lock")
		note(err)
		if err == nil {
			note(lock.Close())
		}
		file, err := f.Create("a")
		note(err)
		if err != nil {
			return errs
		}
		_, err = file.WriteAt([]byte("x"), 0)
		note(err)
		_, err = file.WritevAt([][]byte{[]byte("x")}, 1)
		note(err)
		note(file.Sync())
		note(file.Preallocate(10))
		note(file.Truncate(1))
		_, err = file.Size()
		note(err)
		_, err = file.ReadAt(make([]byte, 1), 0)
		note(err)
		note(file.Close())
		for _, open := range []func(string) (File, error){f.Open, f.OpenReadWrite, func(n string) (File, error) {
			file, _, err := f.OpenDirect(n)
			return file, err
		}} {
			file, err := open("a")
			note(err)
			if err == nil {
				note(file.Close())
			}
		}
		note(f.Rename("a", "b"))
		note(f.SyncDir("/"))
		note(f.Remove("b"))
		note(f.RemoveAll("b"))
		return errs
	}
	count := NewFault(NewMem(1))
	for i, err := range script(count) {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	total := count.Count(OpAny)
	if total < 24 {
		t.Fatalf("%d operations counted", total)
	}
	for n := 1; n <= total; n++ {
		f := NewFault(NewMem(1), Rule{Nth: n, Err: unix.ENOSPC})
		failed := 0
		for _, err := range script(f) {
			if errors.Is(err, unix.ENOSPC) {
				failed++
			}
		}
		if failed != 1 || f.Hits() != 1 {
			t.Errorf("operation %d: %d failures, %d hits", n, failed, f.Hits())
		}
	}
}

func TestShortWrite(t *testing.T) {
	m := NewMem(1)
	m.SetDirect(true)
	f := NewFault(m, Rule{Ops: OpWrite, Short: true, Err: unix.ENOSPC, Times: Forever})
	file, err := f.Create("a")
	must(t, err)
	n, err := file.WritevAt([][]byte{[]byte("abc"), []byte("defgh")}, 0)
	if n != 4 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if got := content(t, f, "a"); string(got) != "abcd" {
		t.Errorf("got %q", got)
	}
	direct, _, err := f.OpenDirect("a")
	must(t, err)
	n, err = direct.WriteAt(AlignedBuffer(3*BlockSize), 0)
	if n != BlockSize || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("direct: wrote %d, %v", n, err)
	}
	f.Clear()
	f.Add(Rule{Ops: OpRead, Short: true})
	n, err = file.ReadAt(make([]byte, 8), 0)
	if n != 4 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d, %v", n, err)
	}
}

// TestFailedSyncLoses: a later sync reports success and yet what was written before the failed one may be lost.
func TestFailedSyncLoses(t *testing.T) {
	m := NewMem(1)
	f := NewFault(m, Rule{Ops: OpSync, Nth: 2, Err: unix.EIO})
	file := create(t, f, "a", bytes.Repeat([]byte{1}, BlockSize))
	must(t, file.Sync())
	must(t, m.SyncDir("/"))
	_, err := file.WriteAt(bytes.Repeat([]byte{2}, BlockSize), 0)
	must(t, err)
	if err := file.Sync(); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	must(t, file.Sync())
	lost := 0
	for seed := range uint64(50) {
		if content(t, m.CrashClone(seed), "a")[0] == 1 {
			lost++
		}
	}
	if lost == 0 {
		t.Error("the sync that was retried made the bytes durable")
	}
}

func TestHangAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFault(NewMem(1), Rule{Ops: OpSync, Hang: true}, Rule{Ops: OpSync, Nth: 2, Delay: time.Second})
		file := create(t, f, "a", nil)
		done := make(chan error)
		go func() { done <- file.Sync() }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("did not hang")
		default:
		}
		f.Release()
		must(t, <-done)
		start := time.Now()
		must(t, file.Sync())
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestCrashInside(t *testing.T) {
	m := NewMem(1)
	var after *Mem
	f := NewFault(m, Rule{Ops: OpSync, Do: func() { after = m.Crash() }})
	file := create(t, f, "a", []byte("x"))
	if err := file.Sync(); !errors.Is(err, ErrCrashed) {
		t.Errorf("sync: %v", err)
	}
	if after == nil {
		t.Error("the rule did not run")
	}
}
