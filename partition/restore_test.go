package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal"
)

// fill applies entries [from, to], one record each, straight to a replica.
func fill(t testing.TB, r *Replica, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		head, data := appendCommand(int64(i), dataBatch(t, "k", fmt.Sprint("r", i))).Encode()
		if err, ok := r.Apply([]Entry{{Index: uint64(i), Head: head, Data: data}})[0].(error); ok {
			t.Fatal(err)
		}
	}
}

func names(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint("r", i))
	}
	return out
}

// peerOf answers fetches from a replica.
func peerOf(s *shardFixture) Fetcher {
	return func(_ context.Context, group, from uint64, maxBytes int) ([]byte, error) {
		if group != 7 {
			return nil, fmt.Errorf("fetch of group %d", group)
		}
		return s.replica.ServeFetch(from, maxBytes)
	}
}

// TestRestoreBringsTheLogToTheSnapshot covers what a replica may have when a
// snapshot at record 20 of a shard of 30 records arrives.
func TestRestoreBringsTheLogToTheSnapshot(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, r *Replica)
		fetch  func(t *testing.T, source *shardFixture) Fetcher
		trim   uint64 // of the source before the snapshot
		want   func(st Stats) bool
	}{
		{"empty", func(*testing.T, *Replica) {}, nil, 0, func(st Stats) bool { return st.Fetches > 1 && st.Diverged == 0 }},
		{"shorter", func(t *testing.T, r *Replica) { fill(t, r, 1, 12) }, nil, 0, func(st Stats) bool { return st.Fetches > 0 && st.Diverged == 0 }},
		{"exact", func(t *testing.T, r *Replica) { fill(t, r, 1, 20) }, noFetch, 0, func(st Stats) bool { return st.Fetches == 0 }},
		{"longer", func(t *testing.T, r *Replica) { fill(t, r, 1, 27) }, noFetch, 0, func(st Stats) bool { return st.Fetches == 0 && st.Diverged == 0 }},
		{"diverged and longer", func(t *testing.T, r *Replica) { fill(t, r, 1, 5); fill(t, r, 101, 120) }, nil, 0, func(st Stats) bool { return st.Diverged == 1 }},
		{"diverged and shorter", func(t *testing.T, r *Replica) { fill(t, r, 1, 3); fill(t, r, 101, 104) }, nil, 0, func(st Stats) bool { return st.Diverged == 1 }},
		{"empty, peer flaky", func(*testing.T, *Replica) {}, flaky, 0, func(st Stats) bool { return st.FetchFailures > 2 && st.Diverged == 0 }},
		{"shorter, garbage from peers", func(t *testing.T, r *Replica) { fill(t, r, 1, 12) }, garbage, 0, func(st Stats) bool { return st.FetchFailures > 2 }},
		{"empty, history trimmed", func(*testing.T, *Replica) {}, nil, 13, func(st Stats) bool { return st.Diverged == 0 }},
		{"shorter, a peer whose bytes are all damaged", func(t *testing.T, r *Replica) { fill(t, r, 1, 12) }, damaged, 0, func(st Stats) bool { return st.Diverged == 0 }},
		{"shorter, history trimmed", func(t *testing.T, r *Replica) { fill(t, r, 1, 4) }, nil, 13, func(st Stats) bool { return st.Diverged == 0 }},
		{"empty, everything trimmed", func(*testing.T, *Replica) {}, noFetch, 20, func(st Stats) bool { return st.Fetches == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := newShard(t, fixtureOptions{segments: 8 << 10})
				defer source.close()
				fill(t, source.replica, 1, 20)
				if err := source.log.Flush(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
				if c.trim > 0 {
					source.replica.Apply([]Entry{entryOf(21, Command{Kind: CommandTrim, Time: 20, Trim: c.trim})})
				}
				snap := snapshotBytes(t, source.replica)
				synctest.Wait() // segments below the trim point are gone
				fill(t, source.replica, 22, 31)

				fetch := peerOf(source)
				if c.fetch != nil {
					fetch = c.fetch(t, source)
				}
				s := newShard(t, fixtureOptions{edit: func(o *Options) { o.Fetch, o.Limits.FetchBytes = fetch, 300 }})
				defer s.close()
				c.before(t, s.replica)
				if err := s.replica.Restore(bytes.NewReader(snap)); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(names(int(c.trim)+1, 20), readAll(t, s.replica)); d != "" {
					t.Errorf("after the snapshot: %s", d)
				}
				if s.log.Durable().Next != 20 {
					t.Errorf("durable up to %d, a snapshot needs 20", s.log.Durable().Next)
				}
				fill(t, s.replica, 22, 31)
				want := append(names(int(c.trim)+1, 20), names(22, 31)...)
				if d := cmp.Diff(want, readAll(t, s.replica)); d != "" {
					t.Errorf("after what followed: %s", d)
				}
				if s.log.Position() != source.log.Position() {
					t.Errorf("logs end at %+v and %+v", s.log.Position(), source.log.Position())
				}
				if string(snapshotBytes(t, s.replica)) != string(snapshotBytes(t, source.replica)) {
					t.Error("replicas differ in their snapshots")
				}
				if st := s.replica.Stats(); !c.want(st) {
					t.Errorf("stats %+v", st)
				}
			})
		})
	}
}

// TestRestoreWithCalls: a replica that has a snapshot and what followed knows of calls what the others know.
func TestRestoreWithCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newShard(t, fixtureOptions{segments: 8 << 10})
		defer source.close()
		s := newShard(t, fixtureOptions{edit: func(o *Options) { o.Fetch = peerOf(source) }})
		defer s.close()
		source.replica.Apply([]Entry{
			entryOf(1, appendCommand(10, call(t, 1, 4, 7), dataBatch(t, "k", "x"))), entryOf(2, appendCommand(20, call(t, 2, 1, 2))),
		})
		if err := source.log.Flush(t.Context(), source.replica.Tail()); err != nil {
			t.Fatal(err)
		}
		if err := s.replica.Restore(bytes.NewReader(snapshotBytes(t, source.replica))); err != nil {
			t.Fatal(err)
		}
		after := []Entry{entryOf(3, appendCommand(30, call(t, 1, 3, 9), call(t, 2, 1, 2))), entryOf(4, appendCommand(40, call(t, 1, 1, 9)))}
		for _, r := range []*Replica{source.replica, s.replica} {
			for i, result := range r.Apply(after) {
				if err, ok := result.(error); ok {
					t.Fatalf("entry %d: %v", i, err)
				}
			}
		}
		want := []string{"c1-4", "c1-5", "c1-6", "x", "c2-1", "c1-3", "c1-7", "c1-8", "c1-1", "c1-2"}
		if d := cmp.Diff(want, readAll(t, s.replica)); d != "" {
			t.Error(d)
		}
		if !bytes.Equal(snapshotBytes(t, s.replica), snapshotBytes(t, source.replica)) || s.log.Position() != source.log.Position() {
			t.Error("the replicas differ")
		}
		if runs := s.replica.Stats().RepeatableRuns; runs != 5 {
			t.Errorf("%d runs", runs)
		}
	})
}

func noFetch(t *testing.T, _ *shardFixture) Fetcher {
	return func(context.Context, uint64, uint64, int) ([]byte, error) {
		t.Error("a peer was asked although nothing is missing")
		return nil, errors.New("no peer")
	}
}

// flaky is a peer that fails, is behind, or hands out little.
func flaky(_ *testing.T, source *shardFixture) Fetcher {
	calls := 0
	return func(ctx context.Context, _, from uint64, _ int) ([]byte, error) {
		switch calls++; calls % 3 {
		case 0:
			return nil, errors.New("connection reset")
		case 1:
			return (&part{}).encode(), nil
		}
		return source.replica.ServeFetch(from, 1)
	}
}

// garbage is a peer most of whose answers are damaged.
func garbage(_ *testing.T, source *shardFixture) Fetcher {
	calls := 0
	return func(_ context.Context, _, from uint64, maxBytes int) ([]byte, error) {
		b, err := source.replica.ServeFetch(from, maxBytes)
		switch calls++; {
		case calls%4 == 1 && len(b) > 0:
			b[len(b)-1] ^= 1
		case calls%4 == 2:
			b = b[:len(b)-3]
		case calls%4 == 3:
			b = []byte("HTTP/1.1 400 Bad Request")
		}
		return b, err
	}
}

// damaged is a peer whose answers are damaged for long.
func damaged(_ *testing.T, source *shardFixture) Fetcher {
	calls := 0
	return func(_ context.Context, _, from uint64, maxBytes int) ([]byte, error) {
		b, err := source.replica.ServeFetch(from, maxBytes)
		if calls++; calls <= 2*distrustAfter && err == nil {
			b[len(b)-1] ^= 1
		}
		return b, err
	}
}

func TestRestoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		foreign := EncodeSnapshot(Identity{Group: 7, StreamID: 5, Shard: 4}, Position{}, NewState(Rules{}))
		if err := s.replica.Restore(bytes.NewReader(foreign)); !errors.Is(err, ErrSnapshotForeign) || fault.KindOf(err) != fault.Corrupt {
			t.Errorf("another shard's snapshot: %v", err)
		}
		if err := s.replica.Restore(bytes.NewReader(foreign[:50])); !errors.Is(err, ErrSnapshot) {
			t.Errorf("cut snapshot: %v", err)
		}
		broken := errors.New("broken pipe")
		if err := s.replica.Restore(io.MultiReader(bytes.NewReader(foreign[:9]), failingReader{broken})); !errors.Is(err, broken) {
			t.Errorf("unreadable snapshot: %v", err)
		}
		missing := EncodeSnapshot(s.replica.identity(), Position{Next: 5}, &State{next: 5, producers: newProducerTable(1, 1), repeatables: newRepeatables()})
		if err := s.replica.Restore(bytes.NewReader(missing)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("history that nobody has: %v", err)
		}
	})
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestShutdownEndsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{edit: func(o *Options) {
			o.Fetch = func(context.Context, uint64, uint64, int) ([]byte, error) { return nil, errors.New("nobody there") }
		}})
		snap := EncodeSnapshot(s.replica.identity(), Position{Next: 5}, &State{next: 5, producers: newProducerTable(1, 1), repeatables: newRepeatables()})
		ended := make(chan error, 1)
		go func() { ended <- s.replica.Restore(bytes.NewReader(snap)) }()
		<-time.After(time.Hour)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("gave up: %v", err)
		default:
		}
		s.replica.Shutdown()
		if err := <-ended; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("ended with %v", err)
		}
		s.close()
	})
}

func TestServeFetchBeyondTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		fill(t, s.replica, 1, 3)
		if _, err := s.replica.ServeFetch(4, 1); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("beyond the end: %v", err)
		}
		b, err := s.replica.ServeFetch(3, 1)
		if err != nil || len(b) != partHeaderSize {
			t.Errorf("at the end: %x, %v", b, err)
		}
	})
}

// TestAcknowledgedSurvivesCrashes crashes the disk of a replica again and
// again, restores it from its newest snapshot, and applies what the group
// committed since: every acknowledged record is readable at its place, once.
func TestAcknowledgedSurvivesCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // carried out of the bubble, for rapid to shrink
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			crashRun(t, rt)
		})
		if message := fmt.Sprint(failure); fmt.Sprintf("%T", failure) == "rapid.stopTest" {
			rt.Fatal(message)
		}
		if failure != nil {
			panic(failure)
		}
	})
}

// crashWorld is what outlives the replica's crashes.
type crashWorld struct {
	disk      *vfs.Mem
	log       []Entry // of the group
	snap      []byte  // the newest snapshot, nil if there is none
	snapIndex int
	sent      uint64            // records of the one producer
	acked     map[uint64]string // ordinal to data
	placed    map[string]uint64 // ordinal of records of repeatable calls
}

func crashRun(t *testing.T, rt *rapid.T) {
	w := &crashWorld{disk: vfs.NewMem(rapid.Uint64().Draw(rt, "seed")), acked: map[uint64]string{}, placed: map[string]uint64{}}
	for range rapid.IntRange(1, 4).Draw(rt, "lives") {
		w.live(t, rt)
	}
}

// live runs a replica from its start to the next crash.
func (w *crashWorld) live(t *testing.T, rt *rapid.T) {
	s := newShard(t, fixtureOptions{disk: w.disk, segments: 8 << 10, delay: time.Millisecond})
	defer func() {
		w.log = s.group.log
		w.disk = w.disk.Crash()
		s.replica.Shutdown()
		s.group.stop()
		s.replica.Close()
		_ = s.log.Abandon() // its disk is gone
		_ = s.writer.Close()
	}()
	s.group.log = w.log
	if w.snap != nil {
		if err := s.replica.Restore(bytes.NewReader(w.snap)); err != nil {
			rt.Fatal(err)
		}
	}
	for _, r := range s.replica.Apply(w.log[w.snapIndex:]) {
		if err, ok := r.(error); ok {
			rt.Fatal(err)
		}
	}
	for range rapid.IntRange(0, 30).Draw(rt, "steps") {
		switch rapid.IntRange(0, 9).Draw(rt, "step") {
		case 0:
			if err := s.replica.Trim(rapid.Uint64Range(0, s.replica.Tail()).Draw(rt, "trim")); err != nil {
				rt.Fatal(err)
			}
		case 1:
			w.snap, w.snapIndex = snapshotBytes(t, s.replica), len(s.group.log)
			synctest.Wait()
		case 2:
			<-time.After(3 * time.Second) // the writer's flush
		case 3, 4, 5:
			w.repeat(t, rt, s)
		default:
			w.append(t, rt, s)
		}
		checkReadable(t, rt, s.replica, w.acked)
	}
}

// append sends the next batch, which may begin with records that were sent before.
func (w *crashWorld) append(t *testing.T, rt *rapid.T, s *shardFixture) {
	n := rapid.IntRange(1, 40).Draw(rt, "records")
	first := w.sent + 1 - min(w.sent, rapid.Uint64Range(0, 5).Draw(rt, "resent"))
	res := s.mustAppend(makeBatch(t, 1, first, n))
	for i, p := range places(res[0]) {
		if p.Ordinal == UnknownOrdinal {
			continue
		}
		name := fmt.Sprintf("p1-%d", first+uint64(i))
		if old, ok := w.acked[p.Ordinal]; ok != p.Duplicate || (ok && old != name) {
			rt.Fatalf("ordinal %d was acknowledged for %q, now for %q", p.Ordinal, old, name)
		}
		w.acked[p.Ordinal] = name
	}
	w.sent = max(w.sent, first+uint64(n)-1)
}

// repeat sends some of a repeatable call, which may have been sent before.
func (w *crashWorld) repeat(t *testing.T, rt *rapid.T, s *shardFixture) {
	n, first, count := rapid.IntRange(1, 4).Draw(rt, "call"), rapid.IntRange(1, 9).Draw(rt, "first"), rapid.IntRange(1, 9).Draw(rt, "count")
	res := s.mustAppend(call(t, n, first, first+count))
	for i, p := range places(res[0]) {
		name := fmt.Sprintf("c%d-%d", n, first+i)
		if old, ok := w.placed[name]; ok != p.Duplicate || ok && old != p.Ordinal {
			rt.Fatalf("%s is at %d, duplicate %v; before it was at %d, %v", name, p.Ordinal, p.Duplicate, old, ok)
		}
		w.placed[name], w.acked[p.Ordinal] = p.Ordinal, name
	}
}

func checkReadable(t *testing.T, rt *rapid.T, r *Replica, acked map[uint64]string) {
	if r.Tail() != uint64(len(acked)) {
		rt.Fatalf("tail %d, %d records acknowledged", r.Tail(), len(acked))
	}
	first := r.First()
	for i, got := range readAll(t, r) {
		if want := acked[first+uint64(i)]; got != want {
			rt.Fatalf("ordinal %d holds %q, %q was acknowledged", first+uint64(i), got, want)
		}
	}
}

// TestReapplyingWithoutSnapshotStartsEmpty: a log that survived a restart must
// not keep what Raft is about to apply again.
func TestReapplyingWithoutSnapshotStartsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		fill(t, s.replica, 1, 5)
		again := NewReplica(s.replica.opts)
		if got := again.Tail(); got != 0 {
			t.Fatalf("%d records are visible before anything was applied", got)
		}
		fill(t, again, 1, 3)
		if d := cmp.Diff(names(1, 3), readAll(t, again)); d != "" {
			t.Fatal(d)
		}
		again.Close()
	})
}

func TestPartGolden(t *testing.T) {
	p := part{trimmed: true, base: Position{Next: 1, Index: 2, Time: 3, Chain: [16]byte{4, 15: 5}}, blocks: []byte{0xBB}}
	want := "0101000000000000" + "0100000000000000" + "0200000000000000" + "0300000000000000" + "04000000000000000000000000000005" + "bb"
	if got := fmt.Sprintf("%x", p.encode()); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got := fmt.Sprintf("%x", (&part{blocks: []byte{0xBB}}).encode()); got != "0100000000000000bb" {
		t.Fatalf("got %s", got)
	}
}

func FuzzDecodePart(f *testing.F) {
	f.Add((&part{trimmed: true, base: Position{Next: 9}, blocks: []byte("blocks")}).encode())
	f.Add((&part{}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePart(data)
		if err != nil {
			if !errors.Is(err, ErrPart) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if got := p.encode(); string(got) != string(data) {
			t.Fatalf("%x decodes and encodes as %x", data, got)
		}
	})
}

var _ ShardLog = (*wal.Log)(nil)
