package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// iovMax is the number of buffers that Linux takes in one gathered write.
const iovMax = 1024

func (o osFS) OpenDirect(name string) (File, bool, error) {
	if o.direct == DirectOff {
		f, err := o.OpenReadWrite(name)
		return f, false, err
	}
	reader, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, false, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) { // the file system has no direct I/O
		if o.direct == DirectOn {
			return nil, false, errors.Join(&fs.PathError{Op: "open", Path: name, Err: ErrNoDirectIO}, reader.Close())
		}
		return &osFile{f: reader, reader: reader}, false, nil
	}
	if err != nil {
		return nil, false, errors.Join(err, reader.Close())
	}
	return &osFile{f: f, reader: reader}, true, nil
}

func (o osFS) OpenReadDirect(name string) (File, bool, error) {
	if o.direct == DirectOff {
		f, err := o.Open(name)
		return f, false, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) { // the file system has no direct I/O
		if o.direct == DirectOn {
			return nil, false, &fs.PathError{Op: "open", Path: name, Err: ErrNoDirectIO}
		}
		plain, err := o.Open(name)
		return plain, false, err
	}
	file, err := wrapOS(f, err)
	return file, err == nil, err
}

func (o *osFile) WritevAt(buffers [][]byte, off int64) (int, error) {
	if err := checkOffset(off); err != nil {
		return 0, err
	}
	total := 0
	for len(buffers) > 0 {
		batch := buffers[:min(len(buffers), iovMax)]
		n := 0
		err := o.control("pwritev", func(fd int) (err error) {
			n, err = unix.Pwritev(fd, batch, off)
			return err
		})
		if err != nil {
			return total, err
		}
		want := 0
		for _, b := range batch {
			want += len(b)
		}
		if n <= 0 && want > 0 {
			return total, io.ErrShortWrite
		}
		total += n
		off += int64(n)
		buffers = skipWritten(buffers, len(batch), n)
	}
	return total, nil
}

// skipWritten drops the n bytes that are written from the first of the buffers;
// batch of them were offered. The caller's slice is not changed: the kernel
// may stop in the middle of a buffer, which is then cut in a copy.
func skipWritten(buffers [][]byte, batch, n int) [][]byte {
	for i, b := range buffers[:batch] {
		if n < len(b) {
			rest := append([][]byte{b[n:]}, buffers[i+1:]...)
			return rest
		}
		n -= len(b)
	}
	return buffers[batch:]
}

func (o *osFile) Sync() error {
	return o.control("fdatasync", unix.Fdatasync)
}

func (o *osFile) Preallocate(size int64) error {
	err := o.control("fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return o.grow(size)
	}
	return err
}
