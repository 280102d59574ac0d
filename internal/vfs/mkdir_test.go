package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// syncedNames stands in for SyncDir and remembers which names are durable.
type syncedNames struct {
	durable map[string]bool
	calls   int
	failAt  int // the call that fails, from 1
	err     error
}

func (s *syncedNames) syncDir(dir string) error {
	s.calls++
	if s.calls == s.failAt {
		return s.err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		s.durable[filepath.Join(dir, e.Name())] = true
	}
	return err
}

// TestMkdirAllMakesGood cuts a call short at every sync: the next one, for the same directory or one below, leaves no
// name that is not durable.
func TestMkdirAllMakesGood(t *testing.T) {
	for _, again := range []string{"a/b/c", "a/b/c/d", "a"} {
		for failAt := 1; failAt <= 4; failAt++ {
			t.Chdir(t.TempDir())
			s := &syncedNames{durable: map[string]bool{}, failAt: failAt, err: unix.EIO}
			if err := mkdirAll("a/b/c", s.syncDir); err == nil {
				t.Fatalf("sync %d failed and MkdirAll did not", failAt)
			}
			s.failAt = 0
			must(t, mkdirAll(again, s.syncDir))
			for dir := again; dir != "."; dir = filepath.Dir(dir) {
				if _, err := os.Stat(dir); err != nil {
					t.Fatal(err)
				}
				if !s.durable[dir] {
					t.Errorf("sync %d failed, then %s was made: the name %s is not durable", failAt, again, dir)
				}
			}
		}
	}
}

// TestMkdirAllBelowForeignParents: the parent of what others made need not be readable, that of what is made here must be.
func TestMkdirAllBelowForeignParents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.Mkdir(dir, 0o750))
	for _, refused := range []error{fs.ErrPermission, unix.EROFS, unix.EINVAL} {
		s := &syncedNames{durable: map[string]bool{}, failAt: 1, err: refused}
		if err := mkdirAll(dir, s.syncDir); err != nil || s.calls != 1 {
			t.Errorf("%v: %d syncs, %v", refused, s.calls, err)
		}
	}
	s := &syncedNames{durable: map[string]bool{}, failAt: 2, err: fs.ErrPermission}
	if err := mkdirAll(filepath.Join(dir, "groups"), s.syncDir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a name that was not synced is reported durable: %v", err)
	}
}

func TestParentDir(t *testing.T) {
	for dir, want := range map[string]string{"a/b": "a", "a": ".", ".": "..", "..": "../..", "../a": "..", "/": "/", "/a": "/"} {
		if got := parentDir(dir); got != want {
			t.Errorf("parent of %q is %q, want %q", dir, got, want)
		}
	}
}
