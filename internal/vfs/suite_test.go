package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// implementations is every file system, each with an empty directory to work in.
func implementations(t *testing.T) map[string]func(t *testing.T) (FS, string) {
	t.Helper()
	return map[string]func(t *testing.T) (FS, string){
		"os":  func(t *testing.T) (FS, string) { return OS(), t.TempDir() },
		"mem": func(*testing.T) (FS, string) { return NewMem(1), "/" },
		"mem-direct": func(*testing.T) (FS, string) {
			m := NewMem(1)
			m.SetDirect(true)
			return m, "/"
		},
		"fault-mem": func(*testing.T) (FS, string) { return NewFault(NewMem(1)), "/" },
		"fault-os":  func(t *testing.T) (FS, string) { return NewFault(OS()), t.TempDir() },
	}
}

func TestBehaviour(t *testing.T) {
	cases := map[string]func(t *testing.T, f FS, dir string){
		"files":       testFiles,
		"gather":      testGather,
		"truncate":    testTruncate,
		"names":       testNames,
		"directories": testDirectories,
		"direct":      testDirect,
		"lock":        testLock,
		"missing":     testMissing,
		"concurrent":  testConcurrent,
		"unlinked":    testUnlinked,
	}
	for name, open := range implementations(t) {
		for part, run := range cases {
			t.Run(name+"/"+part, func(t *testing.T) {
				f, dir := open(t)
				run(t, f, dir)
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, f FS, name string, data []byte) File {
	t.Helper()
	file, err := f.Create(name)
	must(t, err)
	n, err := file.WriteAt(data, 0)
	must(t, err)
	if n != len(data) {
		t.Fatalf("wrote %d of %d bytes", n, len(data))
	}
	return file
}

func content(t *testing.T, f FS, name string) []byte {
	t.Helper()
	file, err := f.Open(name)
	must(t, err)
	defer func() { must(t, file.Close()) }()
	size, err := file.Size()
	must(t, err)
	b := make([]byte, size)
	if _, err := file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b
}

func testFiles(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "a")
	file := create(t, f, name, []byte("hello"))
	_, err := file.WriteAt([]byte("world"), 9000) // over a hole
	must(t, err)
	must(t, file.Sync())
	want := append([]byte("hello"), make([]byte, 9000-5)...)
	want = append(want, "world"...)
	if diff := cmp.Diff(want, content(t, f, name)); diff != "" {
		t.Error(diff)
	}
	b := make([]byte, 10)
	n, err := file.ReadAt(b, 9003)
	if n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %d, %v", n, err)
	}
	if n, err := file.ReadAt(b, 20000); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read beyond the end: %d, %v", n, err)
	}
	must(t, file.Close())
	if err := file.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, err := file.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	info, err := f.Stat(name)
	must(t, err)
	if info.Size() != 9005 || info.IsDir() || info.Name() != "a" {
		t.Errorf("stat: %v %v %v", info.Size(), info.IsDir(), info.Name())
	}
	must(t, create(t, f, name, []byte("new")).Close())
	if got := content(t, f, name); string(got) != "new" {
		t.Errorf("create did not truncate: %q", got)
	}
	reader, err := f.Open(name)
	must(t, err)
	if _, err := reader.WriteAt([]byte("x"), 0); err == nil {
		t.Error("wrote to a file opened for reading")
	}
	must(t, reader.Close())
}

func testGather(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "a")
	file := create(t, f, name, nil)
	var buffers [][]byte
	var want []byte
	for i := range 2500 { // more than one system call takes
		b := bytes.Repeat([]byte{byte(i)}, i%7)
		buffers = append(buffers, b)
		want = append(want, b...)
	}
	n, err := file.WritevAt(buffers, 3)
	must(t, err)
	if n != len(want) {
		t.Errorf("wrote %d, want %d", n, len(want))
	}
	if got := content(t, f, name)[3:]; !bytes.Equal(got, want) {
		t.Error("content differs")
	}
	if _, err := file.WritevAt(buffers, -1); err == nil {
		t.Error("negative offset accepted")
	}
	must(t, file.Close())
}

func testTruncate(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "a")
	file := create(t, f, name, bytes.Repeat([]byte{7}, 10000))
	must(t, file.Truncate(5000))
	must(t, file.Truncate(9000))
	want := append(bytes.Repeat([]byte{7}, 5000), make([]byte, 4000)...)
	if !bytes.Equal(content(t, f, name), want) {
		t.Error("content after truncate differs")
	}
	must(t, file.Preallocate(20000))
	must(t, file.Preallocate(100)) // never shrinks
	if size, err := file.Size(); err != nil || size != 20000 {
		t.Errorf("size %d, %v after preallocation", size, err)
	}
	if got := content(t, f, name); !bytes.Equal(got[:9000], want) || !bytes.Equal(got[9000:], make([]byte, 11000)) {
		t.Error("preallocation changed the content")
	}
	must(t, file.Close())
}

func testNames(t *testing.T, f FS, dir string) {
	a, b := path.Join(dir, "a"), path.Join(dir, "b")
	must(t, create(t, f, a, []byte("A")).Close())
	must(t, create(t, f, b, []byte("B")).Close())
	must(t, f.Rename(a, b))
	must(t, f.SyncDir(dir))
	names, err := f.List(dir)
	must(t, err)
	if diff := cmp.Diff([]string{"b"}, names); diff != "" {
		t.Error(diff)
	}
	if got := content(t, f, b); string(got) != "A" {
		t.Errorf("got %q", got)
	}
	must(t, f.Remove(b))
	if err := f.Remove(b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("second remove: %v", err)
	}
	must(t, f.RemoveAll(b))
	names, err = f.List(dir)
	must(t, err)
	if len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

func testDirectories(t *testing.T, f FS, dir string) {
	deep := path.Join(dir, "x/y/z")
	must(t, f.MkdirAll(deep))
	must(t, f.MkdirAll(deep))
	must(t, create(t, f, path.Join(deep, "a"), []byte("A")).Close())
	if err := f.Remove(deep); err == nil {
		t.Error("removed a directory that is not empty")
	}
	if err := f.MkdirAll(path.Join(deep, "a/b")); err == nil {
		t.Error("made a directory below a file")
	}
	must(t, f.Rename(path.Join(dir, "x/y"), path.Join(dir, "w")))
	if got := content(t, f, path.Join(dir, "w/z/a")); string(got) != "A" {
		t.Errorf("got %q", got)
	}
	info, err := f.Stat(path.Join(dir, "w"))
	must(t, err)
	if !info.IsDir() {
		t.Error("not a directory")
	}
	must(t, f.RemoveAll(path.Join(dir, "w")))
	must(t, f.Remove(path.Join(dir, "x")))
	names, err := f.List(dir)
	must(t, err)
	if len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	if free, err := f.Free(dir); err != nil || free == 0 {
		t.Errorf("free %d, %v", free, err)
	}
}

func testDirect(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "a")
	must(t, create(t, f, name, nil).Close())
	file, direct, err := f.OpenDirect(name)
	must(t, err)
	b := AlignedBuffer(2 * BlockSize)
	for i := range b {
		b[i] = byte(i / 100)
	}
	_, err = file.WritevAt([][]byte{b[:BlockSize], b}, BlockSize)
	must(t, err)
	_, err = file.WriteAt(b[BlockSize:], 0)
	must(t, err)
	must(t, file.Sync())
	got := make([]byte, 100) // reads need no alignment
	_, err = file.ReadAt(got, 2*BlockSize+1)
	must(t, err)
	if !bytes.Equal(got, b[1:101]) {
		t.Error("content differs")
	}
	if direct {
		if _, err := file.WriteAt(b[:100], 0); err == nil {
			t.Error("unaligned length accepted")
		}
		if _, err := file.WriteAt(b[:BlockSize], 100); err == nil {
			t.Error("unaligned offset accepted")
		}
		if _, err := file.WritevAt([][]byte{b[1 : BlockSize+1]}, 0); err == nil {
			t.Error("unaligned buffer accepted")
		}
	}
	must(t, file.Close())

	reader, direct, err := f.OpenReadDirect(name)
	must(t, err)
	whole := AlignedBuffer(2 * BlockSize)
	_, err = reader.ReadAt(whole, BlockSize)
	must(t, err)
	if !bytes.Equal(whole, append(bytes.Clone(b[:BlockSize]), b[:BlockSize]...)) {
		t.Error("content differs past the page cache")
	}
	if _, err := reader.ReadAt(got, 0); direct && err == nil {
		t.Error("unaligned length accepted by a direct read")
	}
	if _, err := reader.WriteAt(b, 0); err == nil {
		t.Error("written through a handle for reading")
	}
	must(t, reader.Close())
}

func testLock(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "lock")
	lock, err := f.Lock(name)
	must(t, err)
	if _, err := f.Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	must(t, lock.Close())
	lock, err = f.Lock(name)
	must(t, err)
	must(t, lock.Close())
}

func testMissing(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "none")
	for op, err := range map[string]error{
		"open":       second(f.Open(name)),
		"openrw":     second(f.OpenReadWrite(name)),
		"direct":     third(f.OpenDirect(name)),
		"readdirect": third(f.OpenReadDirect(name)),
		"list":       second(f.List(name)),
		"stat":       second(f.Stat(name)),
		"rename":     f.Rename(name, name+"2"),
		"sync":       f.SyncDir(name),
		"create":     second(f.Create(path.Join(name, "a"))),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", op, err)
		}
	}
	must(t, f.RemoveAll(name))
}

func second[T any](_ T, err error) error { return err }

func third[T any](_ T, _ bool, err error) error { return err }

func testConcurrent(t *testing.T, f FS, dir string) {
	file := create(t, f, path.Join(dir, "a"), nil)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			b := bytes.Repeat([]byte{byte(i + 1)}, 1000)
			for range 20 {
				if _, err := file.WriteAt(b, int64(i*1000)); err != nil {
					t.Error(err)
				}
				got := make([]byte, 1000)
				if _, err := file.ReadAt(got, int64(i*1000)); err != nil || !bytes.Equal(got, b) {
					t.Errorf("part %d differs, %v", i, err)
				}
			}
		})
	}
	group.Wait()
	must(t, file.Close())
}

func testUnlinked(t *testing.T, f FS, dir string) {
	name := path.Join(dir, "a")
	file := create(t, f, name, []byte("still here"))
	must(t, f.Remove(name))
	b := make([]byte, 10)
	if _, err := file.ReadAt(b, 0); err != nil || string(b) != "still here" {
		t.Errorf("read of a removed file: %q, %v", b, err)
	}
	must(t, file.Close())
}
