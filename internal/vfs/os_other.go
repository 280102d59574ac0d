//go:build !linux

package vfs

import "io/fs"

// OpenDirect opens the file through the page cache: there is no direct I/O here.
func (f osFS) OpenDirect(name string) (File, bool, error) {
	if f.direct == DirectOn {
		return nil, false, &fs.PathError{Op: "open", Path: name, Err: ErrNoDirectIO}
	}
	file, err := f.OpenReadWrite(name)
	return file, false, err
}

// OpenReadDirect opens the file through the page cache.
func (f osFS) OpenReadDirect(name string) (File, bool, error) {
	if f.direct == DirectOn {
		return nil, false, &fs.PathError{Op: "open", Path: name, Err: ErrNoDirectIO}
	}
	file, err := f.Open(name)
	return file, false, err
}

func (o *osFile) WritevAt(buffers [][]byte, off int64) (int, error) {
	if err := checkOffset(off); err != nil {
		return 0, err
	}
	total := 0
	for _, b := range buffers {
		n, err := o.f.WriteAt(b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Sync uses os.File.Sync, which on macOS asks the drive to empty its cache too.
func (o *osFile) Sync() error { return o.f.Sync() }

func (o *osFile) Preallocate(size int64) error { return o.grow(size) }
