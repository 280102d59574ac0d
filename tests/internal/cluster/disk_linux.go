package cluster

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// MountSmall mounts a file system of the given size in memory for the test's time. Where
// that is not allowed the test is skipped, except in CI, where it must run.
func MountSmall(tb testing.TB, dir, size string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatalf("this test needs the right to mount a small file system: %v", err)
		}
		tb.Skipf("this test needs the right to mount a small file system (run it as root): %v", err)
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			tb.Error(err)
		}
	})
}

// FillDisk writes a file until its file system is full but for the given bytes.
func FillDisk(tb testing.TB, path string, leave int64) {
	tb.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &fs); err != nil {
		tb.Fatal(err)
	}
	size := int64(fs.Bavail)*fs.Bsize - leave
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for written := int64(0); written < size; written += int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(int64(len(zeros)), size-written)]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}
