package raftfsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
)

func TestStableStorePersistsAndDeletes(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStable(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range uint64(50) {
		wg.Go(func() {
			b := &groupStable{store: s, group: g, fatal: func(err error) { t.Error(err) }, running: func() bool { return true }}
			for _, err := range []error{
				b.SetUint64([]byte(keyTerm), 3+g), b.SetUint64([]byte(keyVoteTerm), 3+g), b.Set([]byte(keyVoteFor), []byte("me")),
			} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Delete(7); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenStable(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := len(s.Groups()); n != 49 {
		t.Errorf("%d groups", n)
	}
	b := &groupStable{store: s, group: 8}
	for key, want := range map[string]uint64{keyTerm: 11, keyVoteTerm: 11} {
		if got, err := b.GetUint64([]byte(key)); err != nil || got != want {
			t.Errorf("%s is %d, %v", key, got, err)
		}
	}
	if v, err := b.Get([]byte(keyVoteFor)); err != nil || string(v) != "me" {
		t.Errorf("vote for %q, %v", v, err)
	}
	if _, err := (&groupStable{store: s, group: 7}).Get([]byte(keyTerm)); err == nil || err.Error() != "not found" {
		t.Errorf("deleted group: %v", err)
	}
}

// TestHeldBackVoteIsNoVote: of a vote's two values neither is stored until both are.
func TestHeldBackVoteIsNoVote(t *testing.T) {
	m := newMemStable()
	s := &groupStable{store: m, group: 1}
	if err := s.SetUint64([]byte(keyVoteTerm), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetUint64([]byte(keyVoteTerm)); err == nil {
		t.Error("a term of a vote is visible before the vote is stored")
	}
	if err := s.Set([]byte(keyVoteFor), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetUint64([]byte(keyVoteTerm)); err != nil || got != 5 {
		t.Errorf("vote term %d, %v", got, err)
	}
}

func writeSnapshot(t *testing.T, s *snapshotStore, index, term uint64, content string) error {
	t.Helper()
	k, err := s.Create(1, index, term, raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(k, content); err != nil {
		t.Fatal(err)
	}
	return k.Close()
}

func TestSnapshotFile(t *testing.T) {
	fs := vfs.NewMem(1)
	s, err := openSnapshots(fs, "groups/1")
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSnapshot(t, s, 9, 2, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := writeSnapshot(t, s, 8, 2, "older"); !errors.Is(err, errSnapshotStale) {
		t.Errorf("an older snapshot replaced a newer one: %v", err)
	}
	for seed := range uint64(20) { // what is reported done survives any crash
		after, err := openSnapshots(fs.CrashClone(seed), "groups/1")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		m, r, err := after.Open("")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != "hello" || m.Index != 9 || m.Term != 2 || len(m.Configuration.Servers) != 1 {
			t.Fatalf("seed %d: %+v %q %v", seed, m, b, err)
		}
		_ = r.Close()
	}
	if _, err := s.Create(1, 20, 3, raft.Configuration{}, 1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := openSnapshots(fs, "groups/1"); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.List("groups/1"); err != nil || len(names) != 1 {
		t.Errorf("leftovers: %v, %v", names, err)
	}
	f, err := fs.OpenReadWrite("groups/1/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Size()
	raw := make([]byte, size)
	if _, err := f.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	const want = "4c56534e41500100" + "0900000000000000" + "0200000000000000" + "0100000000000000" + "0500000000000000" +
		"03000000" + "01000000" + "4cbb719a" + "00000000" + "1cad9ab2" + "00000000" + "000161" + "68656c6c6f"
	if got := hex.EncodeToString(raw); got != want {
		t.Errorf("file:\n got %s\nwant %s", got, want)
	}
	for i := range raw { // every flipped byte is noticed, except the four that say nothing
		if i >= 60 && i < 64 {
			continue
		}
		bad := bytes.Clone(raw)
		bad[i] ^= 0x10
		if _, err := f.WriteAt(bad, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := openSnapshots(fs, "groups/1"); !errors.Is(err, ErrSnapshotCorrupt) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	m := &raft.SnapshotMeta{Index: 1, Term: 1, Size: 2, Configuration: raft.Configuration{Servers: []raft.Server{{ID: "a"}}}}
	f.Add(append(encodeSnapshotHeader(m, 5), 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewMem(1)
		file, err := fs.Create("snapshot")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if m, err := readSnapshot(file, &content); err == nil && int64(content.Len()) != m.Size {
			t.Errorf("%d bytes of %d", content.Len(), m.Size)
		}
	})
}

func newTestLog(t *testing.T) (*logStore, *uint64, *uint64) {
	t.Helper()
	j, err := journal.Open(vfs.NewMem(1), "j", journal.Options{SegmentBytes: 64 << 10, SpareSegments: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	var at, term uint64
	return &logStore{log: j, group: 1, fatal: func(err error) { t.Error(err) }, snapshot: func() (uint64, uint64) { return at, term }}, &at, &term
}

func store(t *testing.T, s *logStore, from, to, term uint64, kind raft.LogType) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: term, Type: kind, Data: []byte("d"), AppendedAt: time.Unix(0, 5)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogStore(t *testing.T) {
	s, at, term := newTestLog(t)
	store(t, s, 1, 30, 2, raft.LogCommand)
	var l raft.Log
	if err := s.GetLog(30, &l); err != nil || l.Index != 30 || l.Term != 2 || !l.AppendedAt.Equal(time.Unix(0, 5)) {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := s.GetLog(31, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := s.DeleteRange(1, 10); err != nil {
		t.Fatal(err)
	}
	if first, _ := s.FirstIndex(); first != 10 {
		t.Errorf("first is %d; the last entry of a prefix stays", first)
	}
	if err := s.DeleteRange(25, 30); err != nil {
		t.Fatal(err)
	}
	if last, _ := s.LastIndex(); last != 24 {
		t.Errorf("last is %d", last)
	}
	if err := s.DeleteRange(12, 15); err == nil {
		t.Error("the middle was deleted")
	}
	if err := s.DeleteRange(10, 24); err != nil {
		t.Fatal(err)
	}
	if last, _ := s.LastIndex(); last != 0 {
		t.Errorf("last is %d after everything went", last)
	}
	*at, *term = 100, 9
	store(t, s, 101, 103, 9, raft.LogCommand)
	if err := s.GetLog(100, &l); err != nil || l.Term != 9 {
		t.Errorf("a follower does not see the end of its snapshot: %+v, %v", l, err)
	}
	s.leading.Store(true)
	if err := s.GetLog(100, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("a leader sees an entry that it does not have: %v", err)
	}
}

func TestReconcile(t *testing.T) {
	for name, test := range map[string]struct {
		from, to, at, term uint64
		left               uint64 // last index after
		bad                bool
	}{
		"no snapshot":         {from: 1, to: 5, left: 5},
		"ends before it":      {from: 1, to: 5, at: 9, term: 2},
		"joins it":            {from: 4, to: 8, at: 3, term: 2, left: 8},
		"spans it":            {from: 2, to: 8, at: 5, term: 2, left: 8},
		"forked before it":    {from: 2, to: 8, at: 5, term: 3},
		"begins far after it": {from: 5, to: 8, at: 3, term: 2, bad: true, left: 8},
	} {
		t.Run(name, func(t *testing.T) {
			s, at, term := newTestLog(t)
			store(t, s, test.from, test.to, 2, raft.LogCommand)
			*at, *term = test.at, test.term
			if err := s.reconcile(); (err != nil) != test.bad {
				t.Errorf("reconcile: %v", err)
			}
			if last, _ := s.LastIndex(); last != test.left {
				t.Errorf("last is %d, want %d", last, test.left)
			}
		})
	}
}

func TestCommitIndexIsWhatTheLibraryCanBear(t *testing.T) {
	s, _, _ := newTestLog(t)
	store(t, s, 1, 10, 1, raft.LogCommand)
	store(t, s, 11, 11, 1, raft.LogConfiguration)
	if err := s.StageCommitIndex(12); err != nil {
		t.Fatal(err)
	}
	store(t, s, 12, 13, 1, raft.LogCommand)
	if got, err := s.GetCommitIndex(); err != nil || got != 10 {
		t.Errorf("commit %d, %v; a configuration at 11 must lie above", got, err)
	}
}

// BenchmarkStableElections is what a thousand groups electing at once ask of the stable store:
// a term and a vote (two values) each.
func BenchmarkStableElections(b *testing.B) {
	elect := func(b *testing.B, set func(group, round uint64) error) {
		for round := range b.N {
			var wg sync.WaitGroup
			for g := range uint64(1000) {
				wg.Go(func() {
					if err := set(g, uint64(round)+2); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
	}
	b.Run("store=shared", func(b *testing.B) {
		s, err := OpenStable(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		b.ResetTimer()
		elect(b, func(group, term uint64) error {
			g := &groupStable{store: s, group: group, fatal: func(error) {}}
			return errors.Join(g.SetUint64([]byte(keyTerm), term), g.SetUint64([]byte(keyVoteTerm), term), g.Set([]byte(keyVoteFor), []byte("me")))
		})
	})
	b.Run("store=raft-boltdb", func(b *testing.B) {
		s, err := raftboltdb.NewBoltStore(b.TempDir() + "/stable.db")
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		b.ResetTimer()
		elect(b, func(group, term uint64) error {
			k := func(name string) []byte { return []byte(stableKey(group, name)) }
			return errors.Join(s.SetUint64(k(keyTerm), term), s.SetUint64(k(keyVoteTerm), term), s.Set(k(keyVoteFor), []byte("me")))
		})
	})
}
