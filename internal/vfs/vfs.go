// Package vfs is the file-system seam of everything that keeps data.
//
// OS is the real file system. Mem is an in-memory one that can crash: what was
// not synced may be lost, torn or reordered, chosen by a seed. Fault wraps
// another file system and fails, delays or hangs chosen operations.
//
// All implementations are safe for concurrent use. Paths are slash-separated.
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system rooted where the implementation says.
type FS interface {
	// Create makes a new file for reading and writing, truncating one that
	// exists. The name is durable only after SyncDir of its directory.
	Create(name string) (File, error)
	// Open opens a file that exists for reading.
	Open(name string) (File, error)
	// OpenReadWrite opens a file that exists for reading and writing.
	OpenReadWrite(name string) (File, error)
	// OpenDirect opens a file that exists for reading and writing past the page
	// cache where the file system can (O_DIRECT on Linux). It reports whether it
	// did: if so, every WriteAt buffer, offset and length must be a multiple of
	// BlockSize, the buffer included (AlignedBuffer makes one).
	OpenDirect(name string) (f File, direct bool, err error)
	// OpenReadDirect opens a file that exists for reading past the page cache
	// where the file system can. It reports whether it does: if so, every ReadAt
	// buffer, offset and length must be a multiple of BlockSize, and so must the
	// file's size be.
	OpenReadDirect(name string) (f File, direct bool, err error)
	// Remove deletes a file or an empty directory. Durable after SyncDir.
	Remove(name string) error
	// RemoveAll deletes a tree; an absent one is no error.
	RemoveAll(name string) error
	// Rename replaces newName by oldName, atomically. Durable after SyncDir of both directories.
	Rename(oldName, newName string) error
	// MkdirAll makes a directory and its missing parents, and makes their names
	// durable, also that of one which an earlier call made before it was cut short.
	MkdirAll(name string) error
	// List returns the names (not paths) in a directory, sorted.
	List(dir string) ([]string, error)
	// Stat describes a file.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock that ends with the process or with Close.
	// It fails at once if another process holds it.
	Lock(name string) (io.Closer, error)
	// Free returns the bytes that are free for data under a path.
	Free(path string) (uint64, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WritevAt writes the buffers one after another at off. Short writes are errors.
	// On a direct file each buffer obeys the alignment rule by itself.
	WritevAt(buffers [][]byte, off int64) (int, error)
	// Sync makes data and size durable (fdatasync). After an error the file must not be used
	// again: what was written may be lost although a later Sync reports success.
	Sync() error
	// Truncate sets the size.
	Truncate(size int64) error
	// Size returns the current size in bytes.
	Size() (int64, error)
	// Preallocate reserves blocks up to size without changing what is read
	// from them; the file grows to size. It may do nothing but grow the file.
	Preallocate(size int64) error
}

// BlockSize is the alignment in bytes of direct I/O, and the unit that a crash tears at.
const BlockSize = 4096

// AlignedBuffer returns a slice of n bytes, n a multiple of BlockSize, whose address is a multiple of BlockSize.
func AlignedBuffer(n int) []byte { return alignedBuffer(n) }
