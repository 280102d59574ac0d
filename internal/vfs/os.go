package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrLocked is what Lock fails with while another holder has the lock.
var ErrLocked = errors.New("locked by another process")

// DirectIO says whether OpenDirect passes the page cache by.
type DirectIO string

// The zero value is DirectAuto.
const (
	DirectAuto DirectIO = "auto" // where the file system can
	DirectOn   DirectIO = "on"   // always; OpenDirect fails where it cannot
	DirectOff  DirectIO = "off"  // never
)

// ErrNoDirectIO is what OpenDirect fails with where DirectOn cannot be had.
var ErrNoDirectIO = errors.New("the file system has no direct I/O")

// OS returns the file system of the machine with DirectAuto. Paths are the
// process's own, absolute or relative to its working directory.
func OS() FS { return OSDirect(DirectAuto) }

// OSDirect is OS with a choice about direct I/O.
func OSDirect(direct DirectIO) FS { return osFS{direct} }

type osFS struct{ direct DirectIO }

func (osFS) Create(name string) (File, error) {
	return wrapOS(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640))
}

func (osFS) Open(name string) (File, error) { return wrapOS(os.Open(name)) }

func (osFS) OpenReadWrite(name string) (File, error) {
	return wrapOS(os.OpenFile(name, os.O_RDWR, 0))
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// MkdirAll syncs the parent of every directory it makes, outermost first, so
// that no durable name hangs below one that is not. A call that was cut short
// may have left its last directory made but not synced, so the innermost one
// that is there already is synced too.
func (f osFS) MkdirAll(name string) error { return mkdirAll(name, f.SyncDir) }

func mkdirAll(name string, syncDir func(string) error) error {
	name = filepath.Clean(name)
	var missing []string
	there := name
	for ; ; there = filepath.Dir(there) {
		info, err := os.Stat(there)
		if err == nil {
			if !info.IsDir() {
				return &fs.PathError{Op: "mkdir", Path: there, Err: unix.ENOTDIR}
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, there)
	}
	if err := syncDir(parentDir(there)); err != nil && !notMadeHere(err) {
		return err
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// parentDir returns the directory that holds the name dir. That of "." and of
// "../.." cannot be had from the path alone.
func parentDir(dir string) string {
	if base := filepath.Base(dir); base == "." || base == ".." {
		return filepath.Join(dir, "..")
	}
	return filepath.Dir(dir)
}

// notMadeHere reports whether a directory's sync failed because this process may
// not even read it, or its file system cannot change or cannot sync names: MkdirAll
// fails to make directories there, so one that is there has been made by others.
func notMadeHere(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.EINVAL)
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return names, nil
}

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock uses flock: the kernel drops it when the process dies, however it dies.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
}

func (osFS) Free(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// osFile is an open file. Direct files read through a second, buffered
// descriptor, so that reads are free of the alignment rule; the kernel keeps
// the page cache coherent with direct writes that are finished.
type osFile struct {
	f      *os.File
	reader *os.File // f itself unless the file is direct
}

func wrapOS(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &osFile{f: f, reader: f}, nil
}

func (o *osFile) ReadAt(b []byte, off int64) (int, error) { return o.reader.ReadAt(b, off) }

func (o *osFile) WriteAt(b []byte, off int64) (int, error) { return o.f.WriteAt(b, off) }

func (o *osFile) Truncate(size int64) error { return o.f.Truncate(size) }

func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o *osFile) Close() error {
	if o.reader != o.f {
		return errors.Join(o.f.Close(), o.reader.Close())
	}
	return o.f.Close()
}

// grow extends the file to size if it is shorter: the fallback of Preallocate.
func (o *osFile) grow(size int64) error {
	now, err := o.Size()
	if err != nil {
		return err
	}
	if now >= size {
		return nil
	}
	return o.f.Truncate(size)
}

// control runs fn with the descriptor, which stays open meanwhile even if
// another goroutine closes the file.
func (o *osFile) control(op string, fn func(fd int) error) error {
	conn, err := o.f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) {
		for {
			inner = fn(int(fd))
			if !errors.Is(inner, unix.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	if inner != nil {
		return &fs.PathError{Op: op, Path: o.f.Name(), Err: inner}
	}
	return nil
}

// checkOffset refuses what the system calls would misread.
func checkOffset(off int64) error {
	if off < 0 {
		return fmt.Errorf("negative offset %d: %w", off, fs.ErrInvalid)
	}
	return nil
}
