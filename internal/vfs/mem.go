package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrCrashed is what every operation on a Mem returns after its Crash.
var ErrCrashed = errors.New("file system crashed")

// Mem is an in-memory file system that can crash.
//
// It keeps what is durable apart from what was only written. A crash chooses,
// by seed, what survives of the rest: each block written since the last Sync is
// as it was, as any write left it, or torn at 512 bytes between two of these; a
// size that was not synced is kept or lost; a name made, moved or removed
// without SyncDir is kept or lost, operations on the same name in order, a
// rename always whole. Sync of a file does not make its name durable.
type Mem struct {
	mu       sync.Mutex
	rng      *rand.Rand
	root     *memNode
	ops      []nameOp // changes of names that no SyncDir covers, oldest first
	locks    map[string]bool
	capacity int64 // bytes of blocks that may be held
	used     int64
	direct   bool
	readOnly bool
	crashed  bool
}

// memNode is a directory or a file.
type memNode struct {
	children map[string]*memNode // nil for a file
	durable  map[string]*memNode // what a crash leaves of children if no pending name operation survives
	content  memContent
	links    int // names plus open handles: blocks are given back at 0
}

type nameKey struct {
	dir  *memNode
	name string
}

// nameOp is one atomic change of names; a nil node removes the name.
type nameOp struct {
	keys  []nameKey
	nodes []*memNode
}

// NewMem returns an empty file system whose crashes follow the seed.
func NewMem(seed uint64) *Mem {
	return &Mem{
		rng:      rand.New(rand.NewPCG(seed, 0x6c657661646121)),
		root:     newMemDir(),
		locks:    make(map[string]bool),
		capacity: math.MaxInt64,
	}
}

func newMemDir() *memNode {
	return &memNode{children: make(map[string]*memNode), durable: make(map[string]*memNode)}
}

// SetDirect makes OpenDirect and OpenReadDirect report true and enforce their alignment rules.
func (m *Mem) SetDirect(direct bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.direct = direct
}

// SetCapacity limits the bytes that files may hold, in whole blocks; writes beyond fail with ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

func split(name string) []string {
	name = strings.Trim(path.Clean("/"+name), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// check must hold mu. write says that the operation changes something.
func (m *Mem) check(op, name string, write bool) error {
	switch {
	case m.crashed:
		return pathError(op, name, ErrCrashed)
	case write && m.readOnly:
		return pathError(op, name, unix.EROFS)
	}
	return nil
}

// lookup returns the node at name, or an error for op. Needs mu.
func (m *Mem) lookup(op, name string) (*memNode, error) {
	n := m.root
	for _, part := range split(name) {
		if n.children == nil {
			return nil, pathError(op, name, unix.ENOTDIR)
		}
		next := n.children[part]
		if next == nil {
			return nil, pathError(op, name, fs.ErrNotExist)
		}
		n = next
	}
	return n, nil
}

// parent returns the directory of name and its last part. Needs mu.
func (m *Mem) parent(op, name string) (*memNode, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", pathError(op, name, fs.ErrInvalid)
	}
	dir, err := m.lookup(op, strings.Join(parts[:len(parts)-1], "/"))
	if err != nil {
		return nil, "", err
	}
	if dir.children == nil {
		return nil, "", pathError(op, name, unix.ENOTDIR)
	}
	return dir, parts[len(parts)-1], nil
}

// change applies a name operation to what is seen and queues it until a SyncDir. Needs mu.
func (m *Mem) change(op nameOp) {
	for i, k := range op.keys {
		if old := k.dir.children[k.name]; old != nil {
			m.unlink(old)
		}
		if n := op.nodes[i]; n != nil {
			n.links++
			k.dir.children[k.name] = n
		} else {
			delete(k.dir.children, k.name)
		}
	}
	m.ops = append(m.ops, op)
}

// unlink drops one reference. A crash may bring the node back, with its
// content: only the account of used bytes changes.
func (m *Mem) unlink(n *memNode) {
	if n.links--; n.links == 0 {
		m.used -= n.content.held()
	}
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("create", name, true); err != nil {
		return nil, err
	}
	dir, base, err := m.parent("create", name)
	if err != nil {
		return nil, err
	}
	n := dir.children[base]
	switch {
	case n == nil:
		n = &memNode{}
		m.change(nameOp{keys: []nameKey{{dir, base}}, nodes: []*memNode{n}})
	case n.children != nil:
		return nil, pathError("create", name, unix.EISDIR)
	default:
		m.used -= n.content.truncate(0)
	}
	return m.handle(name, n, true, false), nil
}

// handle needs mu.
func (m *Mem) handle(name string, n *memNode, writable, direct bool) *memFile {
	n.links++
	return &memFile{fs: m, name: name, node: n, writable: writable, direct: direct}
}

func (m *Mem) open(name string, writable, direct bool) (*memFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("open", name, writable); err != nil {
		return nil, err
	}
	n, err := m.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if n.children != nil {
		return nil, pathError("open", name, unix.EISDIR)
	}
	return m.handle(name, n, writable, direct && m.direct), nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) { return asFile(m.open(name, false, false)) }

// OpenReadWrite implements FS.
func (m *Mem) OpenReadWrite(name string) (File, error) { return asFile(m.open(name, true, false)) }

func asFile(f *memFile, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenDirect implements FS.
func (m *Mem) OpenDirect(name string) (File, bool, error) {
	f, err := m.open(name, true, true)
	if err != nil {
		return nil, false, err
	}
	return f, f.direct, nil
}

// OpenReadDirect implements FS.
func (m *Mem) OpenReadDirect(name string) (File, bool, error) {
	f, err := m.open(name, false, true)
	if err != nil {
		return nil, false, err
	}
	return f, f.direct, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name, true); err != nil {
		return err
	}
	dir, base, err := m.parent("remove", name)
	if err != nil {
		return err
	}
	n := dir.children[base]
	switch {
	case n == nil:
		return pathError("remove", name, fs.ErrNotExist)
	case len(n.children) > 0:
		return pathError("remove", name, unix.ENOTEMPTY)
	}
	m.change(nameOp{keys: []nameKey{{dir, base}}, nodes: []*memNode{nil}})
	return nil
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name, true); err != nil {
		return err
	}
	dir, base, err := m.parent("remove", name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if dir.children[base] != nil {
		m.removeTree(dir, base)
	}
	return nil
}

func (m *Mem) removeTree(dir *memNode, base string) {
	n := dir.children[base]
	for _, child := range sortedNames(n.children) {
		m.removeTree(n, child)
	}
	m.change(nameOp{keys: []nameKey{{dir, base}}, nodes: []*memNode{nil}})
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("rename", oldName, true); err != nil {
		return err
	}
	oldDir, oldBase, err := m.parent("rename", oldName)
	if err != nil {
		return err
	}
	newDir, newBase, err := m.parent("rename", newName)
	if err != nil {
		return err
	}
	n, target := oldDir.children[oldBase], newDir.children[newBase]
	switch {
	case n == nil:
		return pathError("rename", oldName, fs.ErrNotExist)
	case n == target:
		return nil
	case target != nil && (target.children != nil) != (n.children != nil):
		return pathError("rename", newName, unix.EEXIST)
	case target != nil && len(target.children) > 0:
		return pathError("rename", newName, unix.ENOTEMPTY)
	}
	n.links++ // not to be taken for gone between the two halves
	m.change(nameOp{
		keys:  []nameKey{{oldDir, oldBase}, {newDir, newBase}},
		nodes: []*memNode{nil, n},
	})
	n.links--
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("mkdir", name, true); err != nil {
		return err
	}
	n := m.root
	for _, part := range split(name) {
		next := n.children[part]
		if next == nil {
			next = newMemDir()
			m.change(nameOp{keys: []nameKey{{n, part}}, nodes: []*memNode{next}})
			m.settle(n)
		}
		if next.children == nil {
			return pathError("mkdir", name, unix.ENOTDIR)
		}
		n = next
	}
	return nil
}

func sortedNames(children map[string]*memNode) []string {
	names := make([]string, 0, len(children))
	for name := range children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("list", dir, false); err != nil {
		return nil, err
	}
	n, err := m.lookup("list", dir)
	if err != nil {
		return nil, err
	}
	if n.children == nil {
		return nil, pathError("list", dir, unix.ENOTDIR)
	}
	return sortedNames(n.children), nil
}

// Stat implements FS. Times are zero.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("stat", name, false); err != nil {
		return nil, err
	}
	n, err := m.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return memInfo{name: path.Base(path.Clean("/" + name)), size: n.content.now.size, dir: n.children != nil}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("syncdir", dir, true); err != nil {
		return err
	}
	n, err := m.lookup("syncdir", dir)
	if err != nil {
		return err
	}
	if n.children == nil {
		return pathError("syncdir", dir, unix.ENOTDIR)
	}
	m.settle(n)
	return nil
}

// Lock implements FS. The lock ends with Close or with a crash.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("lock", name, true); err != nil {
		return nil, err
	}
	dir, base, err := m.parent("lock", name)
	if err != nil {
		return nil, err
	}
	if dir.children[base] == nil {
		m.change(nameOp{keys: []nameKey{{dir, base}}, nodes: []*memNode{{}}})
	}
	key := path.Clean("/" + name)
	if m.locks[key] {
		return nil, pathError("lock", name, ErrLocked)
	}
	m.locks[key] = true
	return &memLock{fs: m, key: key}, nil
}

// Free implements FS.
func (m *Mem) Free(path string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("statfs", path, false); err != nil {
		return 0, err
	}
	if _, err := m.lookup("statfs", path); err != nil {
		return 0, err
	}
	return uint64(max(0, m.capacity-m.used)), nil
}

type memLock struct {
	fs   *Mem
	key  string
	once sync.Once
}

// Close gives the lock up.
func (l *memLock) Close() error {
	l.once.Do(func() {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.locks, l.key)
	})
	return nil
}

type memInfo struct {
	name string
	size int64
	dir  bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o750
	}
	return 0o640
}
