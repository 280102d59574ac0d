package partition

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

func TestAppendIsReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Millisecond})
		defer s.close()
		got := s.mustAppend(makeBatch(t, 1, 1, 2), dataBatch(t, "k", "x"))
		now := time.Now().Add(-time.Millisecond).UnixMilli() // stamped when it was proposed
		want := []AppendResult{
			{Ranges: []ResultRange{{Count: 2, First: 0, Time: now}}},
			{Ranges: []ResultRange{{Count: 1, First: 2, Time: now}}},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff([]string{"p1-1", "p1-2", "x"}, readAll(t, s.replica)); d != "" {
			t.Fatal(d)
		}
		dup := s.mustAppend(makeBatch(t, 1, 1, 2))
		if !dup[0].Ranges[0].Duplicate || s.replica.Tail() != 3 {
			t.Fatalf("retry: %+v, tail %d", dup, s.replica.Tail())
		}
		st := s.replica.Stats()
		if st.Records != 3 || st.Batches != 2 || st.Duplicates != 2 || st.Producers != 1 || st.Entries != 2 || st.QueuedBytes != 0 {
			t.Fatalf("stats %+v", st)
		}
	})
}

// TestOrderOfOneCallerIsKept has callers that enqueue without waiting.
func TestOrderOfOneCallerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Millisecond, edit: func(o *Options) {
			o.Limits = Limits{EntryBytesMin: 200, EntryBytesTarget: 600, EntriesInFlight: 3}
		}})
		defer s.close()
		const callers, calls = 4, 60
		answered := make([]int, callers)
		for c := range callers {
			go func() {
				for i := range calls {
					s.replica.Enqueue([]record.Batch{dataBatch(t, "k", fmt.Sprintf("%d/%03d", c, i))}, func(a AppendResult, err error) {
						if err != nil || answered[c] != i {
							t.Errorf("caller %d: answer %d came as number %d: %v", c, i, answered[c], err)
						}
						answered[c]++
					})
					if i%7 == 0 {
						<-time.After(300 * time.Microsecond)
					}
				}
			}()
		}
		<-time.After(time.Minute)
		synctest.Wait()
		next := make([]int, callers)
		for _, r := range readAll(t, s.replica) {
			c := int(r[0] - '0')
			if want := fmt.Sprintf("%d/%03d", c, next[c]); r != want {
				t.Fatalf("record %s, want %s", r, want)
			}
			next[c]++
		}
		for c := range callers {
			if next[c] != calls || answered[c] != calls {
				t.Errorf("caller %d: %d stored, %d answered, %d sent", c, next[c], answered[c], calls)
			}
		}
		if s.group.deepest > 3 {
			t.Errorf("%d entries in flight, 3 are allowed", s.group.deepest)
		}
	})
}

func TestGatheringIntoEntries(t *testing.T) {
	const kib = 1 << 10
	for _, c := range []struct {
		name    string
		batches []int // sizes in bytes, enqueued at one instant behind a first of 100 bytes
		want    []int // sizes of the entries' bodies without the first
	}{
		{"small ones wait for the one in flight", []int{kib, kib, kib}, []int{3 * kib}},
		{"enough for an entry does not wait", []int{40 * kib, 40 * kib}, []int{80 * kib}},
		{"an entry ends before the target", repeat(30*kib, 20), []int{240 * kib, 240 * kib, 120 * kib}},
		{"full batches are not put together", []int{255 * kib, 255 * kib, kib}, []int{255 * kib, 256 * kib}},
		{"a larger batch goes alone", []int{kib, 3 << 20, kib}, []int{kib, 3 << 20, kib}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShard(t, fixtureOptions{delay: time.Millisecond, edit: func(o *Options) { o.Limits.RecordBytesMax = 4 << 20 }})
				defer s.close()
				done := func(_ AppendResult, err error) {
					if err != nil {
						t.Error(err)
					}
				}
				s.replica.Enqueue([]record.Batch{bigBatch(t, 100)}, done)
				synctest.Wait()
				var batches []record.Batch
				for _, n := range c.batches {
					batches = append(batches, bigBatch(t, n))
				}
				s.replica.Enqueue(batches, done)
				<-time.After(time.Minute)
				synctest.Wait()
				if d := cmp.Diff(c.want, s.group.sizes[1:]); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func repeat(v, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(50 << 10)
		s := newShard(t, fixtureOptions{delay: time.Second, edit: func(o *Options) {
			o.Limits.QueueBytesMax, o.Budget = 25<<10, budget
		}})
		defer s.close()
		answers := 0
		enqueue := func() (err error) {
			s.replica.Enqueue([]record.Batch{bigBatch(t, 10<<10)}, func(_ AppendResult, e error) { err = e; answers++ })
			return err
		}
		if err := errors.Join(enqueue(), enqueue()); err != nil {
			t.Fatal(err)
		}
		if err := enqueue(); fault.KindOf(err) != fault.Throttled || answers != 1 {
			t.Fatalf("third of 10 KiB into 25 KiB: %v after %d answers", err, answers)
		}
		began := time.Now()
		var waited time.Duration
		err := s.replica.EnqueueWait(context.Background(), time.Minute, []record.Batch{bigBatch(t, 10<<10)}, func(r []AppendResult, _ error) {
			if r[0].Err != nil {
				t.Error(r[0].Err)
			}
		})
		if waited = time.Since(began); err != nil || waited != time.Second {
			t.Fatalf("EnqueueWait returned after %v: %v, want the second that the first entry takes", waited, err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if budget.Used() != 0 || s.replica.Stats().QueuedBytes != 0 {
			t.Fatalf("%d bytes of the node's, %d of the replica's budget were not given back", budget.Used(), s.replica.Stats().QueuedBytes)
		}
		if !budget.TryAcquire(45 << 10) {
			t.Fatal("an empty budget has no room")
		}
		if err := enqueue(); fault.KindOf(err) != fault.Throttled {
			t.Fatalf("another shard holds the node's budget: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = s.replica.EnqueueWait(ctx, time.Minute, []record.Batch{bigBatch(t, 10<<10)}, func([]AppendResult, error) { t.Error("done was called") })
		if fault.KindOf(err) != fault.Throttled {
			t.Fatalf("EnqueueWait without room: %v", err)
		}
		go func() {
			<-time.After(time.Second)
			budget.Release(45 << 10)
		}()
		if err := s.replica.EnqueueWait(t.Context(), time.Minute, []record.Batch{bigBatch(t, 10<<10)}, func([]AppendResult, error) {}); err != nil {
			t.Fatalf("EnqueueWait with room of the node to come: %v", err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if st := s.replica.Stats(); st.Throttled < 3 || budget.Used() != 0 {
			t.Errorf("%d throttled, %d bytes still taken", st.Throttled, budget.Used())
		}
	})
}

func TestLargerThanTheBudgetGoesAlone(t *testing.T) {
	b := NewBudget(10)
	if !b.TryAcquire(100) || b.TryAcquire(1) {
		t.Fatal("one that is too large is to be let in alone")
	}
	b.Release(100)
	if !b.TryAcquire(4) || b.TryAcquire(100) || !b.TryAcquire(6) || b.TryAcquire(1) || b.Used() != 10 {
		t.Fatalf("%d used", b.Used())
	}
}

// TestLossOfLeadershipTellsWrittenFromUnknown: what was queued is certainly
// not written, what was proposed may be.
func TestLossOfLeadershipTellsWrittenFromUnknown(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept=%v", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShard(t, fixtureOptions{delay: time.Second})
				defer s.close()
				var errs []error
				note := func(_ AppendResult, err error) { errs = append(errs, err) }
				s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "proposed")}, note)
				synctest.Wait()
				s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "queued")}, note)
				s.group.lose("node-b", kept)
				synctest.Wait()
				if len(errs) != 2 || fault.KindOf(errs[0]) != fault.Unavailable || fault.KindOf(errs[1]) != fault.NotLeader {
					t.Fatalf("answers %v, want unknown, then not leader", errs)
				}
				if fault.As(errs[1]).LeaderNode != "node-b" {
					t.Errorf("no hint to the leader: %+v", fault.As(errs[1]))
				}
				_, err := s.replica.Append(t.Context(), []record.Batch{dataBatch(t, "k", "later")})
				if f := fault.As(err); f == nil || f.Kind != fault.NotLeader || f.LeaderNode != "node-b" {
					t.Errorf("append to a follower: %v", err)
				}
				want := []string(nil)
				if kept {
					want = []string{"proposed"}
				}
				if d := cmp.Diff(want, readAll(t, s.replica)); d != "" {
					t.Error(d)
				}
				s.group.win()
				s.mustAppend(dataBatch(t, "k", "again"))
			})
		})
	}
}

func TestLeadershipChangedRefusesTheQueueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Second})
		defer s.close()
		var kinds []fault.Kind
		note := func(_ AppendResult, err error) { kinds = append(kinds, fault.KindOf(err)) }
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "a")}, note)
		synctest.Wait()
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "b")}, note)
		s.replica.LeadershipChanged(true, 1)
		s.replica.LeadershipChanged(false, 2)
		s.group.lose("", false)
		synctest.Wait()
		if d := cmp.Diff([]fault.Kind{fault.Unavailable, fault.NotLeader}, kinds); d != "" {
			t.Fatal(d)
		}
	})
}

// TestQueueFailsWithTheEntryBeforeIt: leadership is back before the failure is
// noticed; what was queued behind the failed entry is refused all the same.
func TestQueueFailsWithTheEntryBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Second})
		defer s.close()
		var kinds []fault.Kind
		note := func(_ AppendResult, err error) { kinds = append(kinds, fault.KindOf(err)) }
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "first")}, note)
		synctest.Wait()
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "second")}, note)
		s.replica.mu.Lock() // the completer cannot act before the group leads again
		s.group.lose("", false)
		s.group.win()
		s.replica.mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]fault.Kind{fault.Unavailable, fault.NotLeader}, kinds); d != "" || s.replica.Tail() != 0 {
			t.Fatalf("tail %d: %s", s.replica.Tail(), d)
		}
	})
}

// TestNothingOvertakesAFailedEntry: leadership is lost and won again while an
// entry is undecided; what was queued behind it must not be written.
func TestNothingOvertakesAFailedEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Second, edit: func(o *Options) { o.Limits.EntryBytesMin = 150 }})
		defer s.close()
		var errs []error
		note := func(_ AppendResult, err error) { errs = append(errs, err) }
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "first")}, note)
		synctest.Wait()
		s.group.mu.Lock()
		s.group.term += 2 // lost and won, of which the future has not yet heard
		s.group.mu.Unlock()
		s.replica.Enqueue([]record.Batch{bigBatch(t, 300)}, note)
		synctest.Wait()
		if s.replica.Stats().Entries != 1 {
			t.Fatal("an entry was proposed behind an undecided one of an older term")
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if len(errs) != 2 || errs[0] != nil || fault.KindOf(errs[1]) != fault.NotLeader {
			t.Fatalf("answers %v", errs)
		}
	})
}

func TestRefusedArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lower := hashkey.SplitEven(2)[0]
		s := newShard(t, fixtureOptions{edit: func(o *Options) {
			o.Range, o.Limits.RecordBytesMax = lower, 1000
		}})
		defer s.close()
		inside, outside := "a", "a"
		for i := 0; !lower.Contains(hashkey.FromPartitionKey([]byte(inside))); i++ {
			inside = fmt.Sprint("in", i)
		}
		for i := 0; lower.Contains(hashkey.FromPartitionKey([]byte(outside))); i++ {
			outside = fmt.Sprint("out", i)
		}
		pin := record.NewBuilder(0)
		addRecord(t, pin, outside, "x")
		pinned := pin.Finish(record.ProducerID{}, 0, true)
		explicit := record.NewBuilder(0)
		if err := explicit.Add(record.Record{Key: []byte(inside), HasExplicitHash: true, ExplicitHash: hashkey.Max}); err != nil {
			t.Fatal(err)
		}
		lying := append(record.Batch(nil), dataBatch(t, inside, "x")...)
		lying[40] = 2 // count
		for _, c := range []struct {
			name    string
			batches []record.Batch
			want    fault.Kind
			field   string
		}{
			{"nothing", nil, fault.Invalid, "batches"},
			{"no header", []record.Batch{{}}, fault.Invalid, "batch"},
			{"another shard's key", []record.Batch{dataBatch(t, inside, "x"), dataBatch(t, outside, "x")}, fault.Invalid, "partition_key"},
			{"another shard's explicit key", []record.Batch{explicit.Finish(record.ProducerID{}, 0, false)}, fault.Invalid, "partition_key"},
			{"record too large", []record.Batch{dataBatch(t, inside, strings.Repeat("x", 1000))}, fault.TooLarge, "data"},
			{"fewer records than it says", []record.Batch{lying}, fault.Invalid, "batch"},
		} {
			_, err := s.replica.Append(t.Context(), c.batches)
			if f := fault.As(err); f == nil || f.Kind != c.want || f.Field != c.field {
				t.Errorf("%s: %v, want %s of %s", c.name, err, c.want, c.field)
			}
		}
		if got := s.replica.Tail(); got != 0 {
			t.Fatalf("refused calls stored %d records", got)
		}
		s.mustAppend(pinned, dataBatch(t, inside, strings.Repeat("x", 1000-len(inside))))
	})
}

func TestAppendWhoseCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Second})
		defer s.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.replica.Append(ctx, []record.Batch{dataBatch(t, "k", "x")}); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("given up while in flight: %v", err)
		}
		if _, err := s.replica.Append(ctx, []record.Batch{dataBatch(t, "k", "y")}); fault.KindOf(err) != fault.Throttled {
			t.Fatalf("given up before: %v", err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"x"}, readAll(t, s.replica)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestNoGoroutineWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{})
		defer s.close()
		s.mustAppend(dataBatch(t, "k", "x"))
		synctest.Wait()
		idle := make(chan struct{})
		go func() { s.replica.work.Wait(); close(idle) }()
		synctest.Wait()
		select {
		case <-idle:
		default:
			t.Fatal("a goroutine of an idle replica is still running")
		}
	})
}

func TestShutdownAnswersEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Second})
		var kinds []fault.Kind
		note := func(_ AppendResult, err error) { kinds = append(kinds, fault.KindOf(err)) }
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "a")}, note)
		synctest.Wait()
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "b")}, note)
		reader := make(chan error, 1)
		go func() {
			_, err := s.replica.Read(context.Background(), 0, 1, true)
			reader <- err
		}()
		synctest.Wait()
		s.replica.Shutdown()
		if err := <-reader; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a waiting reader got %v", err)
		}
		s.replica.Enqueue([]record.Batch{dataBatch(t, "k", "c")}, note)
		s.group.lose("", false)
		s.close() // shuts down a second time
		s.replica.Close()
		if d := cmp.Diff([]fault.Kind{fault.NotLeader, fault.Unavailable, fault.NotLeader}, kinds); d != "" {
			t.Fatal(d)
		}
	})
}
