package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(200) {
		m := NewMem(seed)
		file := create(t, m, "a", bytes.Repeat([]byte{1}, 3*BlockSize))
		must(t, file.Sync())
		must(t, m.SyncDir("/"))
		_, err := file.WriteAt(bytes.Repeat([]byte{2}, 2*BlockSize), 2*BlockSize)
		must(t, err)
		after := m.Crash()
		got := content(t, after, "a")
		if len(got) < 3*BlockSize || !bytes.Equal(got[:2*BlockSize], bytes.Repeat([]byte{1}, 2*BlockSize)) {
			t.Fatalf("seed %d: synced bytes lost, %d left", seed, len(got))
		}
		if _, err := file.WriteAt([]byte{1}, 0); !errors.Is(err, ErrCrashed) {
			t.Fatalf("old handle: %v", err)
		}
		if _, err := m.Open("a"); !errors.Is(err, ErrCrashed) {
			t.Fatalf("old file system: %v", err)
		}
	}
}

// TestCrashOutcomes wants every outcome that a disk may give to be seen: a crash test is worth
// no more than the crashes it meets.
func TestCrashOutcomes(t *testing.T) {
	seen := map[string]int{}
	m := NewMem(1)
	file := create(t, m, "a", bytes.Repeat([]byte{1}, 4*BlockSize))
	must(t, file.Sync())
	must(t, m.SyncDir("/"))
	for v := byte(2); v <= 3; v++ {
		for i := range int64(5) {
			_, err := file.WriteAt(bytes.Repeat([]byte{v}, BlockSize), i*BlockSize)
			must(t, err)
		}
	}
	for seed := range uint64(500) {
		got := content(t, m.CrashClone(seed), "a")
		seen[fmt.Sprintf("size %d", len(got)/BlockSize)]++
		var whole [4]int
		for i := range 4 {
			block := got[i*BlockSize : (i+1)*BlockSize]
			if n := bytes.Count(block, block[:1]); n == BlockSize {
				whole[block[0]]++
			} else {
				seen["torn"]++
				for s := 0; s < BlockSize; s += sectorSize {
					if bytes.Count(block[s:s+sectorSize], block[s:s+1]) != sectorSize {
						t.Fatalf("seed %d: torn inside a sector", seed)
					}
				}
			}
		}
		seen[fmt.Sprintf("old %d", whole[1])]++
		seen[fmt.Sprintf("middle %t", whole[2] > 0)]++
		seen[fmt.Sprintf("new %d", whole[3])]++
	}
	for _, want := range []string{"size 4", "size 5", "torn", "old 0", "old 2", "old 4", "middle true", "new 0", "new 4"} {
		if seen[want] < 5 {
			t.Errorf("%q seen %d times of 500: %v", want, seen[want], seen)
		}
	}
}

func TestCrashOfNames(t *testing.T) {
	m := NewMem(1)
	must(t, create(t, m, "old", []byte("old")).Close())
	must(t, create(t, m, "gone", nil).Close())
	must(t, m.SyncDir("/"))
	file := create(t, m, "tmp", []byte("new"))
	must(t, file.Sync()) // content, not the name
	must(t, m.Rename("tmp", "old"))
	must(t, m.Remove("gone"))
	must(t, create(t, m, "other", nil).Close())
	seen := map[string]int{}
	for seed := range uint64(300) {
		after := m.CrashClone(seed)
		names, err := after.List("/")
		must(t, err)
		seen[fmt.Sprint(names)]++
		found, err := after.Stat("old")
		if err != nil {
			t.Fatalf("seed %d: neither the old nor the new file under the name", seed)
		}
		if _, err := after.Stat("tmp"); err == nil && found.Size() == 3 && string(content(t, after, "old")) == "new" {
			t.Fatalf("seed %d: one file under two names", seed)
		}
	}
	for _, want := range []string{"[gone old]", "[gone old tmp]", "[old]", "[old other]", "[gone old other]"} {
		if seen[want] == 0 {
			t.Errorf("%s never seen: %v", want, seen)
		}
	}
	must(t, m.SyncDir("/"))
	for seed := range uint64(20) {
		names, err := m.CrashClone(seed).List("/")
		must(t, err)
		if fmt.Sprint(names) != "[old other]" {
			t.Fatalf("after SyncDir: %v", names)
		}
		if got := content(t, m.CrashClone(seed), "old"); string(got) != "new" {
			t.Fatalf("after SyncDir: %q", got)
		}
	}
}

func TestCrashMayUndoTruncation(t *testing.T) {
	m := NewMem(1)
	file := create(t, m, "a", []byte("0123456789"))
	must(t, file.Sync())
	must(t, m.SyncDir("/"))
	must(t, file.Truncate(4))
	seen := map[string]int{}
	for seed := range uint64(50) {
		seen[string(content(t, m.CrashClone(seed), "a"))]++
	}
	if len(seen) != 2 || seen["0123"] == 0 || seen["0123456789"] == 0 {
		t.Errorf("outcomes: %v", seen)
	}
	must(t, file.Sync())
	if got := content(t, m.CrashClone(1), "a"); string(got) != "0123" {
		t.Errorf("after sync: %q", got)
	}
}

func TestCrashFollowsSeed(t *testing.T) {
	m := NewMem(1)
	for i := range 20 {
		file := create(t, m, fmt.Sprintf("f%d", i), bytes.Repeat([]byte{byte(i)}, 3*BlockSize))
		if i%2 == 0 {
			must(t, file.Sync())
		}
	}
	dump := func(seed uint64) string {
		c := m.CrashClone(seed)
		names, err := c.List("/")
		must(t, err)
		var b bytes.Buffer
		for _, n := range names {
			fmt.Fprintf(&b, "%s %x\n", n, content(t, c, n))
		}
		return b.String()
	}
	differ := false
	for seed := range uint64(20) {
		if once, again := dump(seed), dump(seed); once != again {
			t.Fatalf("seed %d gives two outcomes", seed)
		}
		differ = differ || dump(seed) != dump(seed+1)
	}
	if !differ {
		t.Error("all seeds give one outcome")
	}
}

func TestCloneAndSnapshot(t *testing.T) {
	m := NewMem(1)
	must(t, m.MkdirAll("d"))
	must(t, create(t, m, "d/a", []byte("unsynced")).Close())
	clone, snapshot := m.Clone(), m.Snapshot()
	must(t, create(t, m, "d/a", []byte("later")).Close())
	for _, c := range []*Mem{clone, snapshot, clone.Crash()} {
		if c != clone {
			if got := content(t, c, "d/a"); string(got) != "unsynced" {
				t.Errorf("got %q", got)
			}
		}
	}
	if _, err := snapshot.Create("d/b"); !errors.Is(err, unix.EROFS) {
		t.Errorf("create in a snapshot: %v", err)
	}
	if _, err := snapshot.OpenReadWrite("d/a"); !errors.Is(err, unix.EROFS) {
		t.Errorf("open for writing in a snapshot: %v", err)
	}
}

func TestCapacity(t *testing.T) {
	m := NewMem(1)
	m.SetCapacity(4 * BlockSize)
	file := create(t, m, "a", make([]byte, 3*BlockSize))
	n, err := file.WriteAt(make([]byte, 3*BlockSize), 2*BlockSize)
	if n != 2*BlockSize || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	must(t, file.Truncate(BlockSize))
	if free, err := m.Free("/"); err != nil || free != 3*BlockSize {
		t.Errorf("free %d, %v", free, err)
	}
	must(t, m.Remove("a"))
	if free, _ := m.Free("/"); free != 3*BlockSize {
		t.Errorf("free %d with the removed file still open", free)
	}
	must(t, file.Close())
	if free, _ := m.Free("/"); free != 4*BlockSize {
		t.Errorf("free %d at the end", free)
	}
	must(t, create(t, m, "b", make([]byte, 4*BlockSize)).Close())
	must(t, create(t, m, "c", nil).Close())
	must(t, m.Rename("c", "b"))
	if free, _ := m.Free("/"); free != 4*BlockSize {
		t.Errorf("free %d after a rename over the file", free)
	}
}
