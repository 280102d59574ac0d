package partition

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal"
	"github.com/levada-stream/levada/wal/record"
)

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Millisecond})
		defer s.close()
		const readers = 20
		woken := make(chan string, readers)
		for range readers {
			go func() {
				blocks, err := s.replica.Read(t.Context(), 1, 1<<20, true)
				if err != nil || len(blocks) == 0 {
					woken <- fmt.Sprint(err)
					return
				}
				woken <- recordData(t, blocks[0].Payload...)[1-blocks[0].First]
			}()
		}
		s.mustAppend(dataBatch(t, "k", "zero")) // wakes them, but is not what they wait for
		<-time.After(time.Hour)
		synctest.Wait()
		select {
		case got := <-woken:
			t.Fatalf("a reader of record 1 returned %q before there was one", got)
		default:
		}
		began := time.Now()
		s.mustAppend(dataBatch(t, "k", "one"))
		for range readers {
			if got := <-woken; got != "one" {
				t.Fatalf("reader got %q", got)
			}
		}
		if d := time.Since(began); d != time.Millisecond {
			t.Errorf("readers had the record %v after it was sent, want the commit's 1ms", d)
		}
		if w := s.replica.Stats().Waits; w != readers {
			t.Errorf("%d waits counted", w)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, err := s.replica.Read(ctx, 2, 1, true); len(b) != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("poll without records: %v, %v", b, err)
		}
		if b, err := s.replica.Read(t.Context(), 2, 1, false); len(b) != 0 || err != nil {
			t.Errorf("read at the end without waiting: %v, %v", b, err)
		}
		closed := make(chan error, 1)
		go func() {
			_, err := s.replica.Read(t.Context(), 2, 1, true)
			closed <- err
		}()
		synctest.Wait()
		end, err := s.replica.Seal()
		if err != nil || end.End != 2 || !s.replica.Closed() {
			t.Fatalf("seal: %+v, %v", end, err)
		}
		if err := <-closed; err != nil {
			t.Errorf("a reader at the end of a sealed shard got %v", err)
		}
		got, err := s.replica.Append(t.Context(), []record.Batch{dataBatch(t, "k", "late")})
		if err != nil || got[0].Err == nil || got[0].Err.Kind != fault.ShardClosed {
			t.Errorf("append to a sealed shard: %+v, %v", got, err)
		}
	})
}

func TestTrimAndSeekTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		start := time.Now().UnixMilli()
		for i := range 10 {
			s.mustAppend(dataBatch(t, "k", fmt.Sprint(2*i), fmt.Sprint(2*i+1)))
			<-time.After(time.Second)
		}
		if err := s.replica.Trim(5); err != nil {
			t.Fatal(err)
		}
		if s.replica.First() != 5 || s.replica.Tail() != 20 {
			t.Fatalf("readable [%d, %d)", s.replica.First(), s.replica.Tail())
		}
		_, err := s.replica.Read(t.Context(), 4, 1, false)
		var trimmed *wal.TrimmedError
		if !errors.As(err, &trimmed) || trimmed.First != 5 {
			t.Errorf("read below the trim point: %v", err)
		}
		for _, c := range []struct {
			ms   int64
			want uint64
		}{{0, 5}, {start, 5}, {start + 2000, 5}, {start + 2001, 6}, {start + 9000, 18}, {start + 9001, 20}} {
			if got, err := s.replica.SeekTime(c.ms); err != nil || got != c.want {
				t.Errorf("seek %d: %d, %v, want %d", c.ms-start, got, err, c.want)
			}
		}
		if got := readAll(t, s.replica); got[0] != "5" || len(got) != 15 {
			t.Errorf("readable records %v", got)
		}
		at, due := s.replica.Retention(time.Now(), 4500*time.Millisecond, 0)
		if !due || at != 12 {
			t.Errorf("retention by time: %d, %v, want 12", at, due)
		}
		if _, due := s.replica.Retention(time.Now(), time.Hour, 1<<40); due {
			t.Error("retention found something to trim within its limits")
		}
		s.group.lose("", false)
		if _, due := s.replica.Retention(time.Now(), 1, 1); due {
			t.Error("a follower decides about retention")
		}
		if err := s.replica.Trim(6); fault.KindOf(err) != fault.NotLeader {
			t.Errorf("trim by a follower: %v", err)
		}
	})
}

func TestOldestWithin(t *testing.T) {
	segments := []wal.SegmentInfo{{First: 0, Bytes: 100}, {First: 10, Bytes: 100}, {First: 20, Bytes: 100}}
	for _, c := range []struct {
		max  int64
		want uint64
	}{{300, 0}, {299, 10}, {200, 10}, {100, 20}, {1, 20}} {
		if got := oldestWithin(segments, c.max); got != c.want {
			t.Errorf("within %d bytes: from %d, want %d", c.max, got, c.want)
		}
	}
	if got := oldestWithin(nil, 1); got != 0 {
		t.Errorf("empty log: %d", got)
	}
}

// TestTrimmedSegmentsGoAfterASnapshot: not earlier, lest a restart from the
// older snapshot misses what it says is there.
func TestTrimmedSegmentsGoAfterASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{segments: 16 << 10})
		defer s.close()
		for range 40 {
			s.mustAppend(bigBatch(t, 4<<10))
		}
		if err := s.log.Flush(t.Context(), s.replica.Tail()); err != nil {
			t.Fatal(err)
		}
		before := len(s.log.Segments())
		at, due := s.replica.Retention(time.Now(), 0, 40<<10)
		if !due {
			t.Fatalf("nothing to trim in %d segments", before)
		}
		if err := s.replica.Trim(at); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := len(s.log.Segments()); got != before {
			t.Fatalf("%d of %d segments are left before any snapshot", got, before)
		}
		snapshotBytes(t, s.replica)
		synctest.Wait()
		if got := len(s.log.Segments()); got > before/2 || s.log.First() > at {
			t.Fatalf("%d of %d segments are left, first record %d, trimmed to %d", got, before, s.log.First(), at)
		}
		if got := readAll(t, s.replica); uint64(len(got)) != 40-at {
			t.Fatalf("%d records readable, want %d", len(got), 40-at)
		}
	})
}

func TestFailedLogAcknowledgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk *vfs.Fault
		s := newShard(t, fixtureOptions{
			wrap: func(fs vfs.FS) vfs.FS { disk = vfs.NewFault(fs); return disk },
		})
		defer func() {
			s.replica.Shutdown()
			s.group.stop()
			s.replica.Close()
			_ = s.log.Abandon() // the disk is gone; its error is seen below
			_ = s.writer.Close()
		}()
		s.mustAppend(dataBatch(t, "k", "good"))
		disk.Add(vfs.Rule{Ops: vfs.OpWrite | vfs.OpSync | vfs.OpCreate, Times: vfs.Forever, Err: errors.New("disk on fire")})
		if snap, err := s.replica.Snapshot(); err != nil {
			t.Fatal(err)
		} else if err := snap.Persist(discard{t}); err == nil {
			t.Fatal("a snapshot was persisted whose log is not durable")
		}
		got, err := s.replica.Append(t.Context(), []record.Batch{dataBatch(t, "k", "lost")})
		if err != nil || got[0].Err == nil || got[0].Err.Kind != fault.Unavailable {
			t.Fatalf("append to a failed log: %+v, %v", got, err)
		}
		synctest.Wait()
		if err := s.replica.Failed(); !errors.Is(err, wal.ErrFailed) {
			t.Fatalf("the replica has failed with %v", err)
		}
		if _, err := s.replica.Append(t.Context(), []record.Batch{dataBatch(t, "k", "later")}); fault.KindOf(err) != fault.NotLeader {
			t.Errorf("append after the failure: %v", err)
		}
		if _, err := s.replica.Read(t.Context(), 0, 1, true); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("read after the failure: %v", err)
		}
		if _, err := s.replica.Snapshot(); err == nil {
			t.Error("a failed replica gives snapshots")
		}
		if r := s.replica.Apply([]Entry{entryOf(99, Command{Kind: CommandTick})}); r[0] == nil {
			t.Error("a failed replica applies entries")
		}
	})
}

// discard fails the test when something is written to it.
type discard struct{ t *testing.T }

func (d discard) Write(p []byte) (int, error) {
	d.t.Errorf("%d bytes of a snapshot were written", len(p))
	return len(p), nil
}

func TestUnknownCommandStopsTheReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		unknown := entryOf(2, Command{Kind: CommandTick})
		unknown.Head[0] = 200
		good := appendCommand(1, dataBatch(t, "k", "x"))
		results := s.replica.Apply([]Entry{entryOf(1, good), unknown, entryOf(3, good)})
		if _, ok := results[0].([]AppendResult); !ok {
			t.Errorf("the entry before: %v", results[0])
		}
		for i := 1; i < 3; i++ {
			if err, ok := results[i].(error); !ok || !errors.Is(err, ErrCommand) {
				t.Errorf("result %d: %v", i, results[i])
			}
		}
		if !errors.Is(s.replica.Failed(), ErrCommand) || s.log.Position().Next != 1 {
			t.Errorf("failed with %v, log ends at %d", s.replica.Failed(), s.log.Position().Next)
		}
	})
}

func TestApplyResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		got := s.replica.Apply([]Entry{
			entryOf(1, appendCommand(5, dataBatch(t, "k", "a", "b"))),
			entryOf(4, Command{Kind: CommandTrim, Time: 6, Trim: 1}),
			entryOf(5, Command{Kind: CommandTick, Time: 7}),
			entryOf(6, Command{Kind: CommandSeal, Time: 8}),
		})
		want := []any{[]AppendResult{{Ranges: []ResultRange{{Count: 2, Time: 5}}}}, uint64(1), nil, Inheritance{Shard: 3, End: 2, Time: 8, Range: hashkey.Full}}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(Inheritance{})); d != "" {
			t.Fatal(d)
		}
		if p := s.log.Position(); p.Next != 2 || p.Index != 1 || p.Time != 5 {
			t.Fatalf("log at %+v", p)
		}
		if s.replica.TailTime() != 8 {
			t.Fatalf("tail time %d", s.replica.TailTime())
		}
	})
}
