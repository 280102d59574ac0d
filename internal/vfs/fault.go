package vfs

import (
	"io"
	"io/fs"
	"path"
	"sync"
	"time"
)

// Op is a set of kinds of file operations.
type Op uint32

// The kinds of operations. WritevAt counts as OpWrite, Create as OpCreate alone.
const (
	OpCreate Op = 1 << iota
	OpOpen      // Open, OpenReadWrite, OpenDirect and OpenReadDirect
	OpRead
	OpWrite
	OpSync
	OpTruncate
	OpPreallocate
	OpClose
	OpSize
	OpRename
	OpRemove // Remove and RemoveAll
	OpMkdir
	OpSyncDir
	OpList
	OpStat
	OpLock
	OpFree

	// OpChange is every operation that changes the disk.
	OpChange = OpCreate | OpWrite | OpSync | OpTruncate | OpPreallocate | OpRename | OpRemove | OpMkdir | OpSyncDir
	// OpAny is every operation.
	OpAny = OpFree<<1 - 1
)

// Forever as Rule.Times makes a rule apply to every operation from the Nth on.
const Forever = -1

// Rule says what happens to some operations. Its effects are taken in the order Hang, Delay, Short, Err.
type Rule struct {
	Ops   Op            // the kinds concerned; 0 means OpAny
	Path  string        // path.Match pattern for the whole path or its last element; "" matches all. A rename matches by either path.
	Nth   int           // the first matching operation that is hit, from 1; 0 means 1
	Times int           // how many are hit; 0 means one; Forever
	Hang  bool          // wait until Release
	Delay time.Duration // wait this long
	Short bool          // writes and reads: do half of it, then fail with Err, io.ErrShortWrite or io.ErrUnexpectedEOF
	Err   error         // fail with this, without doing the operation
	Do    func()        // call this before the operation, to crash at this very point for instance

	seen int // guarded by Fault.mu
}

// Fault wraps a file system and makes chosen operations fail, wait or stop half way.
//
// A Sync that fails on a file of a Mem loses what the file system had not
// written yet, as Linux does: a later Sync succeeds and does not bring it back.
type Fault struct {
	fs FS

	mu      sync.Mutex
	rules   []*Rule
	counts  map[Op]int
	hits    int
	release chan struct{} // closed by Release, then replaced
}

// NewFault wraps a file system. Rules are tried in order; all that match apply.
func NewFault(inner FS, rules ...Rule) *Fault {
	f := &Fault{fs: inner, counts: make(map[Op]int), release: make(chan struct{})}
	f.Add(rules...)
	return f
}

// Add appends rules; they count operations from now on.
func (f *Fault) Add(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rules {
		f.rules = append(f.rules, &r)
	}
}

// Clear removes all rules and releases what hangs.
func (f *Fault) Clear() {
	f.mu.Lock()
	f.rules = nil
	f.mu.Unlock()
	f.Release()
}

// Release lets the operations that hang now go on.
func (f *Fault) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.release)
	f.release = make(chan struct{})
}

// Count returns how many operations of the kinds were attempted so far.
func (f *Fault) Count(ops Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for op, c := range f.counts {
		if op&ops != 0 {
			n += c
		}
	}
	return n
}

// Hits returns how many operations a rule applied to.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// effect is what the matching rules of one operation add up to.
type effect struct {
	short bool
	err   error
}

func (r *Rule) matches(op Op, names []string) bool {
	if r.Ops != 0 && r.Ops&op == 0 {
		return false
	}
	if r.Path == "" {
		return true
	}
	for _, name := range names {
		if ok, err := path.Match(r.Path, name); ok && err == nil {
			return true
		}
		if ok, err := path.Match(r.Path, path.Base(name)); ok && err == nil {
			return true
		}
	}
	return false
}

// due counts a matching operation and reports whether the rule hits it. Needs Fault.mu.
func (r *Rule) due() bool {
	r.seen++
	first, times := max(r.Nth, 1), r.Times
	if times == 0 {
		times = 1
	}
	return r.seen >= first && (times == Forever || r.seen < first+times)
}

// before counts the operation, waits where a rule says so and returns what is to happen to it.
func (f *Fault) before(op Op, names ...string) effect {
	f.mu.Lock()
	f.counts[op]++
	var e effect
	var delay time.Duration
	var do []func()
	hang, hit := false, false
	for _, r := range f.rules {
		if !r.matches(op, names) || !r.due() {
			continue
		}
		hit = true
		hang = hang || r.Hang
		delay += r.Delay
		e.short = e.short || r.Short
		if e.err == nil {
			e.err = r.Err
		}
		if r.Do != nil {
			do = append(do, r.Do)
		}
	}
	if hit {
		f.hits++
	}
	release := f.release
	f.mu.Unlock()
	if hang {
		<-release
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	for _, fn := range do {
		fn()
	}
	return e
}

func (f *Fault) open(e effect, name string, open func(string) (File, error)) (File, error) {
	if e.err != nil {
		return nil, pathError("open", name, e.err)
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{fault: f, name: name, file: file}, nil
}

// Create implements FS.
func (f *Fault) Create(name string) (File, error) {
	return f.open(f.before(OpCreate, name), name, f.fs.Create)
}

// Open implements FS.
func (f *Fault) Open(name string) (File, error) {
	return f.open(f.before(OpOpen, name), name, f.fs.Open)
}

// OpenReadWrite implements FS.
func (f *Fault) OpenReadWrite(name string) (File, error) {
	return f.open(f.before(OpOpen, name), name, f.fs.OpenReadWrite)
}

// OpenDirect implements FS.
func (f *Fault) OpenDirect(name string) (File, bool, error) {
	if e := f.before(OpOpen, name); e.err != nil {
		return nil, false, pathError("open", name, e.err)
	}
	file, direct, err := f.fs.OpenDirect(name)
	if err != nil {
		return nil, false, err
	}
	return &faultFile{fault: f, name: name, file: file, direct: direct}, direct, nil
}

// OpenReadDirect implements FS.
func (f *Fault) OpenReadDirect(name string) (File, bool, error) {
	if e := f.before(OpOpen, name); e.err != nil {
		return nil, false, pathError("open", name, e.err)
	}
	file, direct, err := f.fs.OpenReadDirect(name)
	if err != nil {
		return nil, false, err
	}
	return &faultFile{fault: f, name: name, file: file, direct: direct}, direct, nil
}

func (f *Fault) do(op Op, text, name string, fn func(string) error) error {
	if e := f.before(op, name); e.err != nil {
		return pathError(text, name, e.err)
	}
	return fn(name)
}

// Remove implements FS.
func (f *Fault) Remove(name string) error { return f.do(OpRemove, "remove", name, f.fs.Remove) }

// RemoveAll implements FS.
func (f *Fault) RemoveAll(name string) error {
	return f.do(OpRemove, "remove", name, f.fs.RemoveAll)
}

// Rename implements FS.
func (f *Fault) Rename(oldName, newName string) error {
	if e := f.before(OpRename, oldName, newName); e.err != nil {
		return pathError("rename", oldName, e.err)
	}
	return f.fs.Rename(oldName, newName)
}

// MkdirAll implements FS.
func (f *Fault) MkdirAll(name string) error { return f.do(OpMkdir, "mkdir", name, f.fs.MkdirAll) }

// SyncDir implements FS.
func (f *Fault) SyncDir(dir string) error { return f.do(OpSyncDir, "syncdir", dir, f.fs.SyncDir) }

// List implements FS.
func (f *Fault) List(dir string) ([]string, error) {
	if e := f.before(OpList, dir); e.err != nil {
		return nil, pathError("list", dir, e.err)
	}
	return f.fs.List(dir)
}

// Stat implements FS.
func (f *Fault) Stat(name string) (fs.FileInfo, error) {
	if e := f.before(OpStat, name); e.err != nil {
		return nil, pathError("stat", name, e.err)
	}
	return f.fs.Stat(name)
}

// Lock implements FS.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if e := f.before(OpLock, name); e.err != nil {
		return nil, pathError("lock", name, e.err)
	}
	return f.fs.Lock(name)
}

// Free implements FS.
func (f *Fault) Free(name string) (uint64, error) {
	if e := f.before(OpFree, name); e.err != nil {
		return 0, pathError("statfs", name, e.err)
	}
	return f.fs.Free(name)
}
