package wal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// crashPoint is a disk after a crash and what must hold of it.
type crashPoint struct {
	name    string
	fs      *vfs.Mem
	min     uint64            // the log may not end below
	allowed map[Position]bool // where it may end
}

// crashRun takes a crash clone of the disk before every change of it.
type crashRun struct {
	mem   *vfs.Mem
	fault *vfs.Fault
	seed  uint64

	mu      sync.Mutex
	n       int
	log     *Log
	floor   func() uint64
	allowed map[Position]bool
	points  []crashPoint
}

func newCrashRun(seed uint64, direct bool) *crashRun {
	r := &crashRun{mem: vfs.NewMem(seed), seed: seed, allowed: map[Position]bool{{}: true}}
	r.mem.SetDirect(direct)
	r.fault = vfs.NewFault(r.mem, vfs.Rule{Ops: vfs.OpChange, Times: vfs.Forever, Do: r.snap})
	r.floor = func() uint64 { return 0 }
	return r
}

func (r *crashRun) snap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	min := r.floor()
	r.n++
	for i := range uint64(3) {
		// The clone is taken after the floor was read: what was durable then has to be in it.
		allowed := make(map[Position]bool, len(r.allowed))
		for p := range r.allowed {
			allowed[p] = true
		}
		r.points = append(r.points, crashPoint{
			name: fmt.Sprintf("seed %d, before change %d, clone %d", r.seed, r.n, i),
			fs:   r.mem.CrashClone(r.seed<<32 | uint64(r.n)<<8 | i), min: min, allowed: allowed,
		})
	}
}

// use makes the durable position of l the floor from now on.
func (r *crashRun) use(l *Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = l
	r.floor = func() uint64 { return l.Durable().Next }
}

func (r *crashRun) allow(ps ...Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range ps {
		r.allowed[p] = true
	}
}

// only forgets all positions but those of this timeline.
func (r *crashRun) only(ps ...Position) {
	r.mu.Lock()
	r.allowed = map[Position]bool{}
	r.mu.Unlock()
	r.allow(ps...)
}

// add appends blocks; those of another branch have other times, so other hashes.
func (r *crashRun) add(t *testing.T, l *Log, n, size int, branch int64) []Position {
	var out []Position
	for range n {
		b := testBlock(l.Position().Next, 2, size)
		b.Time += branch
		h, err := newBlockHeader(&b)
		if err != nil {
			t.Fatal(err)
		}
		h.chain = h.chainAfter(l.Position().Chain)
		r.allow(h.position()) // before it is appended: the writer is quick
		out = append(out, mustAppend(t, l, b))
	}
	return out
}

func (r *crashRun) check(t *testing.T, o Options) {
	t.Helper()
	if len(r.points) < 10 {
		t.Fatalf("only %d crash points", len(r.points))
	}
	for _, p := range r.points {
		l, err := Open(p.fs, "log", o)
		if err != nil {
			t.Fatalf("%s: Open: %v", p.name, err)
		}
		pos := l.Position()
		if pos.Next < p.min || !p.allowed[pos] {
			t.Fatalf("%s: the log ends at %+v, durable was %d", p.name, pos, p.min)
		}
		if pos != l.Durable() {
			t.Fatalf("%s: after Open durable is %+v, position %+v", p.name, l.Durable(), pos)
		}
		blocks := readAll(t, l, l.First(), 1<<20)
		if n := len(blocks); n > 0 && endOf(blocks[n-1]) != pos {
			t.Fatalf("%s: the last block ends at %+v, the log at %+v", p.name, endOf(blocks[n-1]), pos)
		}
		r.checkAgain(t, p, l, o)
	}
}

// checkAgain crashes right after the recovery, then goes on writing.
func (r *crashRun) checkAgain(t *testing.T, p crashPoint, l *Log, o Options) {
	t.Helper()
	again := mustOpen(t, p.fs.CrashClone(1), o)
	if again.Position() != l.Position() {
		t.Fatalf("%s: recovered to %+v, after another crash to %+v", p.name, l.Position(), again.Position())
	}
	_ = again.Abandon()
	b := testBlock(l.Position().Next, 1, 6000)
	b.Time += 1 << 30
	mustAppend(t, l, b)
	mustFlush(t, l)
	mustClose(t, l)
	if rep, err := Verify(p.fs.CrashClone(2), "log"); err != nil || rep.End != l.Position() {
		t.Fatalf("%s: Verify after going on: end %+v, want %+v, %v", p.name, rep.End, l.Position(), err)
	}
}

func crashSeeds(t *testing.T) int {
	if testing.Short() {
		return 4
	}
	return 25
}

// TestCrashAnywhere: what Flush reported survives, the rest is whole blocks or absent.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(crashSeeds(t)) {
		w := NewWriter(WriterOptions{FlushInterval: 1 << 40, BlockBytes: []int{1, 9000, 1 << 20}[seed%3]})
		o := testOptions(w, 64<<10)
		r := newCrashRun(seed, seed%2 == 0)
		l := mustOpen(t, r.fault, o)
		r.use(l)
		size := []int{10, 3000, 12_000}[seed/3%3]
		r.add(t, l, 3, size, 0)
		mustFlush(t, l)
		r.add(t, l, 4, size, 0)
		if err := l.Flush(context.Background(), l.Position().Next-3); err != nil {
			t.Fatal(err)
		}
		r.add(t, l, 6, size, 0)
		mustClose(t, l)
		l = mustOpen(t, r.fault, o)
		r.use(l)
		r.add(t, l, 5, size, 0)
		mustFlush(t, l)
		if err := l.DeleteBefore(l.Position().Next - 4); err != nil {
			t.Fatal(err)
		}
		r.add(t, l, 2, size, 0)
		mustClose(t, l)
		r.check(t, o)
		_ = w.Close()
	}
}

// TestCrashInTruncate: below the position everything stays; above, an old
// block may come back only until TruncateTo returns.
func TestCrashInTruncate(t *testing.T) {
	for seed := range uint64(crashSeeds(t)) {
		w := NewWriter(WriterOptions{FlushInterval: 1 << 40, BlockBytes: []int{1, 30_000}[seed%2]})
		o := testOptions(w, 64<<10)
		r := newCrashRun(seed, seed%2 == 0)
		l := mustOpen(t, r.fault, o)
		r.use(l)
		size := []int{10, 3000, 12_000}[seed%3]
		old := r.add(t, l, 5, size, 0)
		if seed%5 < 3 { // later writes promise what is cut
			mustFlush(t, l)
			old = append(old, r.add(t, l, 2, size, 0)...)
			mustFlush(t, l)
		}
		old = append(old, r.add(t, l, 5, size, 0)...)
		if seed%5 < 2 {
			mustFlush(t, l)
		}
		n := int(seed*7) % len(old)
		if err := l.TruncateTo(old[n]); err != nil {
			t.Fatal(err)
		}
		r.only(old[:n+1]...)
		r.add(t, l, 6, size, 1)
		mustFlush(t, l)
		r.add(t, l, 2, size, 1)
		mustClose(t, l)
		r.check(t, o)
		_ = w.Close()
	}
}

// TestCrashInReset: the log is a part of what it was, or empty, or at the new position.
func TestCrashInReset(t *testing.T) {
	for seed := range uint64(crashSeeds(t)) {
		w := NewWriter(WriterOptions{FlushInterval: 1 << 40, BlockBytes: 1})
		o := testOptions(w, 32<<10)
		r := newCrashRun(seed, seed%2 == 0)
		l := mustOpen(t, r.fault, o)
		r.add(t, l, 8, 6000, 0)
		mustFlush(t, l)
		p := Position{Next: seed % 3 * 10, Index: 1, Time: 5, Chain: Chain{byte(seed + 1)}}
		r.allow(p)
		if err := l.Reset(p); err != nil {
			t.Fatal(err)
		}
		r.only(p)
		r.use(l)
		r.add(t, l, 5, 6000, 0)
		mustFlush(t, l)
		mustClose(t, l)
		r.check(t, o)
		_ = w.Close()
	}
}

// TestFaultSweep fails every operation in turn. A log whose disk failed says
// so, keeps what was durable through a crash, and never claims more.
func TestFaultSweep(t *testing.T) {
	disk := errors.New("disk on fire")
	for _, short := range []bool{false, true} {
		for n := 1; ; n++ {
			mem := vfs.NewMem(uint64(n))
			mem.SetDirect(n%2 == 0)
			fault := vfs.NewFault(mem, vfs.Rule{Ops: vfs.OpAny, Nth: n, Err: disk, Short: short})
			told := 0
			var mu sync.Mutex
			w := NewWriter(WriterOptions{FlushInterval: 1 << 40, BlockBytes: 10_000, OnError: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				told++
				if !errors.Is(err, ErrFailed) || !errors.Is(err, disk) {
					t.Errorf("operation %d: OnError(%v)", n, err)
				}
			}})
			durable, failed := sweepScript(t, n, fault, w)
			_ = w.Close()
			mu.Lock()
			if failed != (told == 1) || told > 1 {
				t.Errorf("operation %d: failed %v, OnError called %d times", n, failed, told)
			}
			mu.Unlock()
			w2 := NewWriter(WriterOptions{})
			l, err := Open(mem.Crash(), "log", testOptions(w2, 32<<10))
			if err != nil {
				t.Fatalf("operation %d: Open after the crash: %v", n, err)
			}
			if l.Position().Next < durable.Next {
				t.Fatalf("operation %d: the log ends at %d, durable was %d", n, l.Position().Next, durable.Next)
			}
			readAll(t, l, l.First(), 1<<20)
			mustClose(t, l)
			_ = w2.Close()
			if fault.Hits() == 0 {
				if n < 30 {
					t.Fatalf("the script has only %d operations", n)
				}
				break
			}
		}
	}
}

// sweepScript uses a log until the disk fails, and returns what was durable last.
func sweepScript(t *testing.T, n int, fsys vfs.FS, w *Writer) (durable Position, failed bool) {
	o := testOptions(w, 32<<10)
	l, err := Open(fsys, "log", o)
	if err != nil {
		return Position{}, false
	}
	step := func() error {
		for range 8 {
			if _, err := l.Append(testBlock(l.Position().Next, 2, 3000)); err != nil {
				return err
			}
		}
		if err := l.Flush(context.Background(), l.Position().Next); err != nil {
			return err
		}
		durable = l.Durable()
		if _, err := l.Read(l.First(), 1<<20); err != nil {
			return err
		}
		if err := l.DeleteBefore(l.Position().Next - 4); err != nil {
			return err
		}
		return nil
	}
	for range 3 {
		if err := step(); err != nil {
			break
		}
	}
	if d := l.Durable(); d.Next < durable.Next {
		t.Errorf("operation %d: durable went back from %d to %d", n, durable.Next, d.Next)
	}
	durable = l.Durable()
	if failed = l.Err() != nil; failed {
		if _, err := l.Append(testBlock(l.Position().Next, 1, 1)); !errors.Is(err, ErrFailed) {
			t.Errorf("operation %d: Append to a failed log: %v", n, err)
		}
		if err := l.Flush(context.Background(), l.Position().Next); !errors.Is(err, ErrFailed) {
			t.Errorf("operation %d: Flush of a failed log: %v", n, err)
		}
	}
	if err := l.Close(); errors.Is(err, ErrFailed) {
		failed = true
	}
	if st := w.Stats(); st.DirtyBytes != 0 {
		t.Errorf("operation %d: %d dirty bytes left", n, st.DirtyBytes)
	}
	return durable, failed
}
