package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	rawPiece = 1 << 20
	// rawAlign is what direct reads want buffers to be aligned to, on any disk in use.
	rawAlign = 4096
)

// dropCached makes the kernel forget files' pages, so that they are read from
// the disk again. What is dirty is written first: only clean pages can be dropped.
func dropCached(paths []string) error {
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // a server has just deleted it
		}
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// rawRead reads files once from start to end, past the page cache, in pieces of
// 1 MiB of which so many are on their way at a time, and returns MB per second.
func rawRead(paths []string, depth int) (mbps float64, err error) {
	type piece struct {
		f  *os.File
		at int64
	}
	var pieces []piece
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
		if err != nil {
			return 0, err
		}
		defer f.Close() // all of them stay open until the end
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		for at := int64(0); at < info.Size(); at += rawPiece {
			pieces = append(pieces, piece{f, at})
		}
	}
	var (
		next, read atomic.Int64
		errs       = make([]error, depth)
		running    sync.WaitGroup
	)
	start := time.Now()
	for k := range depth {
		running.Go(func() {
			buffer := aligned(rawPiece)
			for i := next.Add(1) - 1; i < int64(len(pieces)) && errs[k] == nil; i = next.Add(1) - 1 {
				n, err := pieces[i].f.ReadAt(buffer, pieces[i].at)
				read.Add(int64(n))
				if !errors.Is(err, io.EOF) { // the last piece of a file is short
					errs[k] = err
				}
			}
		})
	}
	running.Wait()
	return float64(read.Load()) / 1e6 / time.Since(start).Seconds(), errors.Join(errs...)
}

func aligned(size int) []byte {
	b := make([]byte, size+rawAlign)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&b[0])) % rawAlign); rest != 0 {
		skip = rawAlign - rest
	}
	return b[skip : skip+size]
}
