package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/levada-stream/levada/internal/vfs"
)

// crashOptions keep the script of few operations and yet let it roll, relocate and recycle.
var crashOptions = Options{SegmentBytes: 64 << 10, MaxBytes: 192 << 10, SpareSegments: 1, CacheBytes: -1}

// step is one change of the script.
type step struct {
	name   string
	do     func(j *Journal) error
	expect func(m *model)
	group  uint64
	lazy   bool // a crash may undo it after it returned
	split  bool // a crash inside may leave a first part of it
}

// script is a random history that follows from a seed.
func script(seed uint64, steps int) []step {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := newModel()
	var all []step
	add := func(s step) {
		s.expect(m)
		all = append(all, s)
	}
	// A group that never changes again: it pins the first segment and must be moved.
	add(appendStep(9, entries(9, 1, 4, 1, 300), 2))
	for i := range uint64(steps) {
		g := rng.Uint64N(3) + 1
		last := m.last(g)
		switch n := rng.IntN(12); {
		case n < 7:
			size := []int{0, 100, 4000, 9000}[rng.IntN(4)]
			add(appendStep(g, entries(g, last+1, rng.Uint64N(4)+1, i, size), rng.Uint64N(last+3)))
		case n < 8 && last > 0:
			from := last - min(last-1, rng.Uint64N(3))
			add(step{
				name: fmt.Sprintf("suffix of %d from %d", g, from), group: g,
				do:     func(j *Journal) error { return j.TruncateSuffix(g, from) },
				expect: func(m *model) { m.truncateSuffix(g, from) },
			})
		case n < 11 && last > 0:
			upTo := last - min(last, rng.Uint64N(4))
			add(step{
				name: fmt.Sprintf("prefix of %d to %d", g, upTo), group: g, lazy: true,
				do:     func(j *Journal) error { return j.TruncatePrefix(g, upTo) },
				expect: func(m *model) { m.truncatePrefix(g, upTo) },
			})
		default:
			add(step{
				name: fmt.Sprintf("delete %d", g), group: g,
				do:     func(j *Journal) error { return j.DeleteGroup(g) },
				expect: func(m *model) { m.set(g, nil, 0) },
			})
		}
	}
	return all
}

func appendStep(g uint64, e []Entry, commit uint64) step {
	return step{
		name: fmt.Sprintf("append %d entries to %d from %d", len(e), g, e[0].Index), group: g, split: true,
		do:     func(j *Journal) error { return j.Append(g, e, commit) },
		expect: func(m *model) { m.append(g, e, commit) },
	}
}

// outcome is how far a script came.
type outcome struct {
	acknowledged int  // steps that returned nil
	opened       bool // the journal opened at all
	err          error
}

func runScript(fs vfs.FS, o Options, steps []step) outcome {
	j, err := Open(fs, "journal", o)
	if err != nil {
		return outcome{err: err}
	}
	out := outcome{opened: true}
	for _, s := range steps {
		if err := s.do(j); err != nil {
			out.err = err
			break
		}
		out.acknowledged++
	}
	closeErr := j.Close()
	if out.err == nil {
		out.err = closeErr
	}
	return out
}

// judge opens what is left on a disk and compares it with the script: everything acknowledged is there, what
// came after is absent or whole. It returns what is wrong, "" if nothing is.
func judge(fs vfs.FS, o Options, steps []step, acknowledged int) string {
	j, err := Open(fs, "journal", o)
	if err != nil {
		return fmt.Sprintf("does not open: %v", err)
	}
	defer func() { _ = j.Close() }()
	if diff := judgeOpen(j, steps, acknowledged); diff != "" {
		return diff
	}
	// It must go on from there, and find itself again.
	for _, g := range []uint64{1, 2, 3} {
		_, last := j.Bounds(g)
		if err := j.Append(g, entries(g, last+1, 1, 99, 10), 0); err != nil {
			return fmt.Sprintf("append after recovery: %v", err)
		}
	}
	return ""
}

func judgeOpen(j *Journal, steps []step, acknowledged int) string {
	groups := map[uint64]bool{}
	for _, s := range steps {
		groups[s.group] = true
	}
	for g := range groups {
		diff := judgeGroup(j, g, steps, acknowledged)
		if diff != "" {
			return diff
		}
		if _, last := j.Bounds(g); j.Commit(g) > last {
			return fmt.Sprintf("group %d: commit above the last entry", g)
		}
	}
	return ""
}

// judgeGroup compares one group with every state that it may be in: with the step in which the crash came done,
// half done or not, and with removals of prefixes undone or not.
func judgeGroup(j *Journal, g uint64, steps []step, acknowledged int) string {
	m, undone := newModel(), newModel()
	apply := func(s step) {
		if len(m.entries[g]) == 0 {
			undone.set(g, nil, 0) // whatever was removed before is gone for good once the group lives again
		}
		s.expect(m)
		if !s.lazy {
			s.expect(undone)
		}
	}
	for _, s := range steps[:acknowledged] {
		if s.group == g {
			apply(s)
		}
	}
	diff := matches(j, g, m, undone)
	if diff == "" || acknowledged == len(steps) || steps[acknowledged].group != g {
		return diff
	}
	before, beforeUndone, s := m.clone(), undone.clone(), steps[acknowledged]
	apply(s)
	n := len(m.entries[g]) - len(before.entries[g])
	if matches(j, g, m, undone) == "" {
		return ""
	}
	for n--; s.split && n > 0; n-- {
		part, partUndone := before.clone(), beforeUndone.clone()
		if len(part.entries[g]) == 0 {
			partUndone.set(g, nil, 0)
		}
		first := m.entries[g][len(before.entries[g]):][:n]
		part.append(g, first, 0)
		partUndone.append(g, first, 0)
		if matches(j, g, part, partUndone) == "" {
			return ""
		}
	}
	return diff
}

// matches says how the group differs from the model, "" if it does not. Before the entries of the model there may
// be those of undone, in which no removal of a prefix took effect.
func matches(j *Journal, g uint64, m, undone *model) string {
	want, may := m.entries[g], undone.entries[g]
	first, last := j.Bounds(g)
	if first == 0 && len(want) == 0 {
		return ""
	}
	if len(may) == 0 || last != undone.last(g) || first < may[0].Index || len(want) > 0 && first > want[0].Index {
		return fmt.Sprintf("group %d holds %d to %d, want %d entries up to %d", g, first, last, len(want), m.last(g))
	}
	if c := j.Commit(g); c != undone.commit[g] {
		return fmt.Sprintf("group %d has commit %d, want %d", g, c, undone.commit[g])
	}
	for _, w := range may[first-may[0].Index:] {
		var got Entry
		if err := j.Get(g, w.Index, &got); err != nil {
			return fmt.Sprintf("group %d entry %d: %v", g, w.Index, err)
		}
		if diff := entryDiff(w, got); diff != "" {
			return fmt.Sprintf("group %d entry %d: %s", g, w.Index, diff)
		}
	}
	return ""
}

// TestAcknowledgedSurvivesCrash loses power at every sync and change of names, several ways each.
func TestAcknowledgedSurvivesCrash(t *testing.T) {
	const points = vfs.OpSync | vfs.OpSyncDir | vfs.OpRename | vfs.OpWrite
	scripts, crashes := uint64(4), uint64(4)
	if testing.Short() {
		scripts = 1
	}
	for seed := range scripts {
		steps := script(seed, 60)
		count := vfs.NewFault(vfs.NewMem(seed))
		if out := runScript(count, crashOptions, steps); out.err != nil {
			t.Fatalf("seed %d: %v", seed, out.err)
		}
		total := count.Count(points)
		if count.Count(vfs.OpRename) < 6 {
			t.Fatalf("seed %d: the script recycles nothing", seed)
		}
		for n := 1; n <= total; n += 1 + int(seed%2) {
			mem := vfs.NewMem(seed)
			mem.SetDirect(seed%2 == 0)
			var after []*vfs.Mem
			fault := vfs.NewFault(mem, vfs.Rule{Ops: points, Nth: n, Do: func() {
				mem.Crash() // first: the writer may run beside the goroutine that makes spares
				for c := range crashes {
					after = append(after, mem.CrashClone(seed<<32|uint64(n)<<8|c))
				}
			}})
			out := runScript(fault, crashOptions, steps)
			if out.err == nil {
				continue // the number of operations varies with the goroutine that makes spares
			}
			for c, fs := range after {
				if diff := judge(fs, crashOptions, steps, out.acknowledged); diff != "" {
					t.Fatalf("seed %d, crash %d at operation %d of %d, in step %d: %s", seed, c, n, total, out.acknowledged, diff)
				}
				if diff := judgeAgain(fs, steps, out.acknowledged, uint64(n)); diff != "" {
					t.Fatalf("seed %d, second crash after %d at operation %d: %s", seed, c, n, diff)
				}
			}
		}
	}
}

// judgeAgain crashes the recovered journal once more: recovery must make durable what it believed.
func judgeAgain(fs *vfs.Mem, steps []step, acknowledged int, seed uint64) string {
	clone := fs.CrashClone(seed)
	j, err := Open(clone, "journal", crashOptions)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = j.Close() }()
	for _, g := range []uint64{1, 2, 3} {
		first, last := j.Bounds(g)
		if last == 0 || first > last {
			return fmt.Sprintf("group %d lost what was appended after the first crash", g)
		}
		var e Entry
		if err := j.Get(g, last, &e); err != nil || e.Term != 99 {
			return fmt.Sprintf("group %d: last entry %d of term %d, %v", g, last, e.Term, err)
		}
	}
	return ""
}

// TestEveryOperationFails makes the n-th file operation fail, for every n: nothing acknowledged is lost, the
// failure is reported once, and nothing is written after it.
func TestEveryOperationFails(t *testing.T) {
	steps := script(3, 40)
	for _, cause := range []error{unix.EIO, unix.ENOSPC} {
		for _, short := range []bool{false, true} {
			for n := 1; ; n++ {
				if !sweepOne(t, steps, vfs.Rule{Nth: n, Err: cause, Short: short}) {
					break
				}
				if short || testing.Short() {
					n++ // half of them
				}
			}
		}
	}
}

// sweepOne reports whether the rule hit something.
func sweepOne(t *testing.T, steps []step, rule vfs.Rule) bool {
	t.Helper()
	mem := vfs.NewMem(uint64(rule.Nth))
	fault := vfs.NewFault(mem, rule)
	reports := make(chan error, 10)
	o := crashOptions
	o.OnFailure = func(err error) { reports <- err }
	j, err := Open(fault, "journal", o)
	acknowledged := 0
	if err == nil {
		for _, s := range steps {
			if err = s.do(j); err != nil {
				break
			}
			acknowledged++
		}
		failed := j.Failed()
		changes := fault.Count(vfs.OpWrite | vfs.OpSync)
		if failed != nil {
			if again := j.Append(77, entries(77, 1, 1, 1, 1), 0); !errors.Is(again, ErrFailed) || !errors.Is(again, rule.Err) {
				t.Fatalf("operation %d: append after the failure: %v", rule.Nth, again)
			}
		}
		closeErr := j.Close()
		if failed != nil {
			if n := fault.Count(vfs.OpWrite|vfs.OpSync) - changes; n > 2*int(o.SegmentBytes>>20+1) {
				t.Fatalf("operation %d: %d writes and syncs after the failure", rule.Nth, n) // one spare may be on its way
			}
			if !errors.Is(closeErr, ErrFailed) {
				t.Fatalf("operation %d: close: %v", rule.Nth, closeErr)
			}
		}
		final := j.Failed()
		if want := map[bool]int{true: 1}[final != nil]; len(reports) != want {
			t.Fatalf("operation %d: reported %d times, want %d", rule.Nth, len(reports), want)
		}
		if err != nil && !errors.Is(err, rule.Err) {
			t.Fatalf("operation %d: %v does not name its cause", rule.Nth, err)
		}
	} else if !errors.Is(err, rule.Err) {
		t.Fatalf("operation %d: open: %v", rule.Nth, err)
	}
	for c := range uint64(2) {
		if diff := judge(mem.CrashClone(c), crashOptions, steps, acknowledged); diff != "" {
			t.Fatalf("operation %d failed with %v, crash %d after it, step %d: %s", rule.Nth, rule.Err, c, acknowledged, diff)
		}
	}
	if diff := judge(mem.Clone(), crashOptions, steps, acknowledged); diff != "" {
		t.Fatalf("operation %d failed with %v, step %d: %s", rule.Nth, rule.Err, acknowledged, diff)
	}
	return fault.Hits() > 0
}
