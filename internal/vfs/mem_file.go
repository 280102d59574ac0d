package vfs

import (
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// memFile is an open file of a Mem. Its fields are guarded by the file system's mutex.
type memFile struct {
	fs       *Mem
	name     string
	node     *memNode
	writable bool
	direct   bool
	closed   bool
}

// check needs the mutex.
func (f *memFile) check(op string, write bool) error {
	switch {
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case write && !f.writable:
		return pathError(op, f.name, unix.EBADF)
	}
	return f.fs.check(op, f.name, write)
}

// ReadAt implements io.ReaderAt.
func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if err := checkOffset(off); err != nil {
		return 0, err
	}
	if f.direct && !f.writable && !Aligned(b, off) { // of OpenReadDirect
		return 0, pathError("read", f.name, fmt.Errorf("%d bytes at %d are not aligned for direct I/O: %w", len(b), off, unix.EINVAL))
	}
	n := f.node.content.read(b, off)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	return f.WritevAt([][]byte{b}, off)
}

// WritevAt implements File.
func (f *memFile) WritevAt(buffers [][]byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if err := checkOffset(off); err != nil {
		return 0, err
	}
	if f.direct {
		at := off
		for i, b := range buffers {
			if !Aligned(b, at) {
				return 0, pathError("write", f.name,
					fmt.Errorf("buffer %d of %d bytes at %d is not aligned for direct I/O: %w", i, len(b), at, unix.EINVAL))
			}
			at += int64(len(b))
		}
	}
	n, err := f.fs.writeAll(&f.node.content, buffers, off)
	if err != nil {
		return n, pathError("write", f.name, err)
	}
	return n, nil
}

// Sync implements File.
func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.node.content.sync()
	return nil
}

// failSync does to the file what a failed fsync does.
func (f *memFile) failSync() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.content.forget()
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	f.fs.used -= f.node.content.truncate(size)
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	return f.node.content.now.size, nil
}

// Preallocate implements File; it only grows the file.
func (f *memFile) Preallocate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check("preallocate", true); err != nil {
		return err
	}
	if size > f.node.content.now.size {
		f.node.content.setSize(size)
	}
	return nil
}

// Close implements io.Closer.
func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.fs.unlink(f.node)
	return nil
}
