package vfs

import (
	"errors"
	"io"
)

// faultFile is an open file of a Fault. It keeps the name it was opened by.
type faultFile struct {
	fault  *Fault
	name   string
	file   File
	direct bool
}

// ReadAt implements io.ReaderAt.
func (f *faultFile) ReadAt(b []byte, off int64) (int, error) {
	e := f.fault.before(OpRead, f.name)
	switch {
	case e.short:
		n, err := f.file.ReadAt(b[:len(b)/2], off)
		return n, errors.Join(err, orElse(e.err, io.ErrUnexpectedEOF))
	case e.err != nil:
		return 0, pathError("read", f.name, e.err)
	}
	return f.file.ReadAt(b, off)
}

// WriteAt implements io.WriterAt.
func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	e := f.fault.before(OpWrite, f.name)
	switch {
	case e.short:
		return f.shortWrite([][]byte{b}, off, e.err)
	case e.err != nil:
		return 0, pathError("write", f.name, e.err)
	}
	return f.file.WriteAt(b, off)
}

// WritevAt implements File.
func (f *faultFile) WritevAt(buffers [][]byte, off int64) (int, error) {
	e := f.fault.before(OpWrite, f.name)
	switch {
	case e.short:
		return f.shortWrite(buffers, off, e.err)
	case e.err != nil:
		return 0, pathError("write", f.name, e.err)
	}
	return f.file.WritevAt(buffers, off)
}

// shortWrite writes the first half of the bytes, whole blocks of a direct file.
func (f *faultFile) shortWrite(buffers [][]byte, off int64, cause error) (int, error) {
	total := 0
	for _, b := range buffers {
		total += len(b)
	}
	half := total / 2
	if f.direct {
		half -= half % BlockSize
	}
	var first [][]byte
	for _, b := range buffers {
		b = b[:min(half, len(b))]
		half -= len(b)
		first = append(first, b)
	}
	n, err := f.file.WritevAt(first, off)
	return n, errors.Join(err, pathError("write", f.name, orElse(cause, io.ErrShortWrite)))
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Sync implements File.
func (f *faultFile) Sync() error {
	if e := f.fault.before(OpSync, f.name); e.err != nil {
		if m, ok := f.file.(interface{ failSync() }); ok {
			m.failSync()
		}
		return pathError("sync", f.name, e.err)
	}
	return f.file.Sync()
}

// Truncate implements File.
func (f *faultFile) Truncate(size int64) error {
	if e := f.fault.before(OpTruncate, f.name); e.err != nil {
		return pathError("truncate", f.name, e.err)
	}
	return f.file.Truncate(size)
}

// Size implements File.
func (f *faultFile) Size() (int64, error) {
	if e := f.fault.before(OpSize, f.name); e.err != nil {
		return 0, pathError("stat", f.name, e.err)
	}
	return f.file.Size()
}

// Preallocate implements File.
func (f *faultFile) Preallocate(size int64) error {
	if e := f.fault.before(OpPreallocate, f.name); e.err != nil {
		return pathError("preallocate", f.name, e.err)
	}
	return f.file.Preallocate(size)
}

// Close implements io.Closer. The file is closed even if a rule makes Close fail.
func (f *faultFile) Close() error {
	e := f.fault.before(OpClose, f.name)
	err := f.file.Close()
	if e.err != nil {
		return errors.Join(err, pathError("close", f.name, e.err))
	}
	return err
}
