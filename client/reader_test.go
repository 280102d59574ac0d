package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// fill writes n records of sizes 1 to 5 per batch to a shard, in the fake's own hands.
func (f *fakeCluster) fill(sh *fakeShard, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := int(sh.next); n > 0; {
		b := record.NewBuilder(64)
		for range min(n, 1+i%5) {
			if err := b.Add(record.Record{Key: fmt.Appendf(nil, "k%d", i%7), Data: fmt.Appendf(nil, "%d/%d", sh.number, i)}); err != nil {
				f.t.Fatal(err)
			}
			i++
			n--
		}
		if _, err := f.apply(sh, b.Finish(record.ProducerID{}, 0, true)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// drain reads to the end and returns the data, with "gap" where there was one.
func drain(t *testing.T, next func(context.Context) (Record, error)) (all []string, end error) {
	t.Helper()
	want := map[uint32]uint64{}
	for {
		r, err := next(t.Context())
		if gap := (*Gap)(nil); errors.As(err, &gap) {
			all = append(all, fmt.Sprintf("gap %d-%d", gap.From, gap.To))
			want[gap.Shard] = gap.To
			continue
		}
		if err != nil {
			return all, err
		}
		if next, ok := want[r.Shard]; ok && r.Ordinal != next {
			t.Fatalf("shard %d: ordinal %d after %d", r.Shard, r.Ordinal, next-1)
		}
		if r.Sequence.Ordinal() != r.Ordinal || r.Sequence.Millis() != r.ApproxArrival.UnixMilli() {
			t.Fatalf("sequence %v of record %d", r.Sequence, r.Ordinal)
		}
		want[r.Shard] = r.Ordinal + 1
		all = append(all, string(r.Data))
	}
}

func numbered(shard, from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%d/%d", shard, i))
	}
	return all
}

func TestReadPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 2)
		defer f.close()
		s := f.create("s", 1)
		f.fill(s.shards[0], 100)
		c := f.client()
		defer c.Close()
		third := s.shards[0].blocks[3]
		mid := SequenceNumber{}
		for _, tc := range []struct {
			from  func() Position
			first int
		}{
			{TrimHorizon, 0},
			{Latest, 100},
			{func() Position { return AtOrdinal(41) }, 41},
			{func() Position { return AtSequence(mid) }, 50},
			{func() Position { return AfterSequence(mid) }, 51},
			{func() Position { return AtTime(time.UnixMilli(third.GetTimeMs())) }, int(third.GetFirstOrdinal())},
		} {
			r := c.ReadShard(t.Context(), "s", 0, ReadOptions{From: tc.from()})
			got, end := drain(t, r.Next)
			if d := cmp.Diff(numbered(0, tc.first, 100), got); d != "" || !errors.Is(end, io.EOF) {
				t.Errorf("%s: end %v (-want +got):\n%s", tc.from(), end, d)
			}
			if r.Lag().RecordsBehind != 0 {
				t.Errorf("%s: lag at the end %+v", tc.from(), r.Lag())
			}
			r.Close()
			r.Close()
			if tc.first == 0 {
				r := c.ReadShard(t.Context(), "s", 0, ReadOptions{From: AtOrdinal(50)})
				rec, err := r.Next(t.Context())
				if err != nil || r.Lag().RecordsBehind != 49 {
					t.Errorf("lag %+v %v", r.Lag(), err)
				}
				mid = rec.Sequence
				r.Close()
			}
		}
	})
}

// A reader survives calls broken at every point and replicas that lag, and ends
// neither early nor with anything twice.
func TestReadThroughBreaks(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := seeded(seed)
				f := newFake(t, 3)
				defer f.close()
				s := f.create("s", 2)
				for _, sh := range s.shards {
					f.fill(sh, 300)
					f.nodes[rng.IntN(3)].tails[sh.number] = uint64(rng.IntN(200))
				}
				f.reads = func(n *fakeNode, sh *fakeShard, sent int) error {
					switch rng.IntN(8) {
					case 0:
						return fault.New(fault.Unavailable, "broken")
					case 1:
						return fault.New(fault.Internal, "broken")
					case 2:
						sh.leader = rng.IntN(3)
						n.tails[sh.number] = sh.next // it has caught up
					}
					return nil
				}
				c := f.client()
				defer c.Close()
				for _, sh := range s.shards {
					// The leader has everything; only a read that begins elsewhere may end early.
					f.mu.Lock()
					delete(f.nodes[sh.leader].tails, sh.number)
					f.mu.Unlock()
					r := c.ReadShard(t.Context(), "s", sh.number, ReadOptions{Follow: true})
					got := []string{}
					for len(got) < 300 {
						rec, err := r.Next(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, string(rec.Data))
					}
					if d := cmp.Diff(numbered(int(sh.number), 0, 300), got); d != "" {
						t.Errorf("shard %d (-want +got):\n%s", sh.number, d)
					}
					r.Close()
				}
			})
		})
	}
}

func TestReadEndsNotBelowATailSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 2)
		defer f.close()
		s := f.create("s", 1)
		f.fill(s.shards[0], 100)
		f.nodes[1].tails[0] = 30
		broken := false
		f.reads = func(n *fakeNode, _ *fakeShard, sent int) error {
			if n == f.nodes[0] && sent == 2 && !broken {
				broken = true
				return fault.New(fault.Unavailable, "broken")
			}
			return nil
		}
		c := f.client()
		defer c.Close()
		r := c.ReadShard(t.Context(), "s", 0, ReadOptions{})
		defer r.Close()
		got, end := drain(t, r.Next)
		if len(got) != 100 || !errors.Is(end, io.EOF) || !broken {
			t.Errorf("%d records, end %v", len(got), end)
		}
	})
}

func TestReadReportsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		defer f.close()
		s := f.create("s", 1)
		f.fill(s.shards[0], 50)
		c := f.client()
		defer c.Close()
		s.shards[0].first = 20
		for from, want := range map[Position][]string{
			AtOrdinal(5):  append([]string{"gap 5-20"}, numbered(0, 20, 50)...),
			TrimHorizon(): numbered(0, 20, 50),
			AtOrdinal(20): numbered(0, 20, 50),
			AtOrdinal(30): numbered(0, 30, 50),
		} {
			r := c.ReadShard(t.Context(), "s", 0, ReadOptions{From: from})
			got, end := drain(t, r.Next)
			if d := cmp.Diff(want, got); d != "" || !errors.Is(end, io.EOF) {
				t.Errorf("%s: end %v (-want +got):\n%s", from, end, d)
			}
			r.Close()
		}
		s.shards[0].first = 50 // everything is gone
		r := c.ReadShard(t.Context(), "s", 0, ReadOptions{From: AtOrdinal(7)})
		defer r.Close()
		if got, end := drain(t, r.Next); !cmp.Equal(got, []string{"gap 7-50"}) || !errors.Is(end, io.EOF) {
			t.Errorf("%v %v", got, end)
		}
	})
}

func TestReadStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 3)
		defer f.close()
		s := f.create("s", 5)
		for i, sh := range s.shards {
			f.fill(sh, 10*i)
		}
		// Shard 4 was split: its children come after it.
		s.shards[4].closed, s.shards[4].children = true, []uint32{5, 6}
		for i, keys := range s.shards[4].keys.SplitEven(2) {
			child := newFakeShard(uint32(5+i), keys, 0)
			child.parents, child.open = []uint32{4}, true
			s.shards = append(s.shards, child)
			f.fill(child, 3)
		}
		c := f.client()
		defer c.Close()
		r := c.ReadStream(t.Context(), "s", ReadOptions{PerShard: map[uint32]Position{2: AtOrdinal(15)}})
		got, end := drain(t, r.Next)
		if !errors.Is(end, io.EOF) || len(got) != 10+5+30+40+6 {
			t.Errorf("%d records, end %v", len(got), end)
		}
		parentDone := 0
		for i, d := range got {
			var shard, n int
			if _, err := fmt.Sscanf(d, "%d/%d", &shard, &n); err != nil {
				t.Fatal(err)
			}
			if shard == 4 {
				parentDone = i
			}
			if shard > 4 && n == 0 && i < parentDone {
				t.Errorf("child %d began before its parent ended", shard)
			}
		}
		r.Close()
		live := c.ReadStream(t.Context(), "s", ReadOptions{From: Latest(), Follow: true})
		synctest.Wait()
		f.fill(s.shards[1], 1)
		if rec, err := live.Next(t.Context()); err != nil || string(rec.Data) != "1/10" {
			t.Errorf("%q %v", rec.Data, err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := live.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("next at the tail: %v", err)
		}
		live.Close()
		if _, err := live.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// splitShard closes a shard and opens two others in its place, with records of their own.
func (f *fakeCluster) splitShard(s *fakeStream, number, records int) {
	f.reshard(s, s.shards[number:number+1], s.shards[number].keys.SplitEven(2), func() {})
	for _, sh := range s.shards[len(s.shards)-2:] {
		f.fill(sh, records)
	}
}

// TestReadStreamFromLaterThanAReshard: what was closed before is not read, whatever splits while the reader follows.
func TestReadStreamFromLaterThanAReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 3)
		defer f.close()
		s := f.create("s", 1)
		f.fill(s.shards[0], 5)
		f.splitShard(s, 0, 7) // 1 and 2
		c := f.client()
		defer c.Close()
		f.mu.Lock()
		since := time.UnixMilli(f.clock + 1)
		f.mu.Unlock()
		latest := c.ReadStream(t.Context(), "s", ReadOptions{From: Latest(), Follow: true})
		defer latest.Close()
		synctest.Wait()
		f.splitShard(s, 1, 3) // 3 and 4
		f.splitShard(s, 3, 2) // 5 and 6
		for name, r := range map[string]*StreamReader{
			"latest": latest, "at a time": c.ReadStream(t.Context(), "s", ReadOptions{From: AtTime(since), Follow: true}),
		} {
			var got []string
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				rec, err := r.Next(ctx)
				cancel()
				if err != nil {
					break
				}
				got = append(got, string(rec.Data))
			}
			slices.Sort(got)
			if want := []string{"3/0", "3/1", "3/2", "4/0", "4/1", "4/2", "5/0", "5/1", "6/0", "6/1"}; !slices.Equal(got, want) {
				t.Errorf("from %s: %v, want %v", name, got, want)
			}
			r.Close()
		}
	})
}

// TestChildrenAreReadAfterBothParents: though one of them is slow.
func TestChildrenAreReadAfterBothParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		defer f.close()
		s := f.create("s", 2)
		f.fill(s.shards[0], 5)
		f.fill(s.shards[1], 5)
		f.reshard(s, s.shards[:2], []hashkey.Range{hashkey.Full}, func() {})
		f.fill(s.shards[2], 5)
		f.reads = func(_ *fakeNode, sh *fakeShard, _ int) error {
			if sh.number == 1 {
				f.mu.Unlock()
				time.Sleep(5 * time.Second)
				f.mu.Lock()
			}
			return nil
		}
		c := f.client()
		defer c.Close()
		r := c.ReadStream(t.Context(), "s", ReadOptions{})
		defer r.Close()
		got, end := drain(t, r.Next)
		want := []string{"0/0", "0/1", "0/2", "0/3", "0/4", "1/0", "1/1", "1/2", "1/3", "1/4", "2/0", "2/1", "2/2", "2/3", "2/4"}
		if !errors.Is(end, io.EOF) || !slices.Equal(got, want) {
			t.Errorf("read %v, end %v", got, end)
		}
	})
}

// TestReadToTheTailDuringAReshard: a read that ends at the tails takes nothing of a child whose parent it did not read to the end.
func TestReadToTheTailDuringAReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		defer f.close()
		s := f.create("s", 2)
		f.fill(s.shards[0], 5)
		f.fill(s.shards[1], 200)
		held := make(chan struct{})
		f.reads = func(_ *fakeNode, sh *fakeShard, sent int) error {
			if sh.number == 1 && sent == 3 {
				f.mu.Unlock()
				<-held // shard 0 has been read to its tail meanwhile
				f.mu.Lock()
			}
			return nil
		}
		c := f.client()
		defer c.Close()
		r := c.ReadStream(t.Context(), "s", ReadOptions{})
		defer r.Close()
		done := make(chan []string)
		go func() {
			got, end := drain(t, r.Next)
			if !errors.Is(end, io.EOF) {
				t.Errorf("the end: %v", end)
			}
			done <- got
		}()
		synctest.Wait()
		f.fill(s.shards[0], 5)
		f.splitShard(s, 0, 10)
		close(held)
		if got := <-done; len(got) != 205 {
			t.Errorf("%d records", len(got))
		}
	})
}

// TestReadOfAShardThatExpires: it is reported as a gap, and what came after it is read.
func TestReadOfAShardThatExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		defer f.close()
		s := f.create("s", 1)
		f.fill(s.shards[0], 100)
		f.splitShard(s, 0, 3)
		f.reads = func(_ *fakeNode, sh *fakeShard, sent int) error {
			if sh.number == 0 && sent == 2 { // some have been read
				s.shards = s.shards[1:]
				return fault.New(fault.NotFound, "shard 0 is gone")
			}
			return nil
		}
		c := f.client()
		defer c.Close()
		r := c.ReadStream(t.Context(), "s", ReadOptions{})
		defer r.Close()
		got, end := drain(t, r.Next)
		gaps := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "gap ") })
		if !errors.Is(end, io.EOF) || gaps < 1 || len(got) != gaps+1+6 || !strings.HasSuffix(got[gaps], "-100") {
			t.Errorf("read %v, end %v", got, end)
		}
	})
}

func TestReadRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		defer f.close()
		f.create("s", 1)
		c := f.client()
		defer c.Close()
		for name, r := range map[string]*ShardReader{
			"stream": c.ReadShard(t.Context(), "nope", 0, ReadOptions{}),
			"shard":  c.ReadShard(t.Context(), "s", 9, ReadOptions{Follow: true}),
			"node":   c.ReadShard(t.Context(), "s", 9, ReadOptions{Node: "node0:1", LocalOnly: true}),
		} {
			if _, err := r.Next(t.Context()); !IsNotFound(err) {
				t.Errorf("unknown %s: %v", name, err)
			}
			r.Close()
		}
		r := c.ReadShard(t.Context(), "s", 0, ReadOptions{LocalOnly: true})
		defer r.Close()
		if _, err := r.Next(t.Context()); !IsInvalid(err) {
			t.Errorf("local read of no node: %v", err)
		}
		f.nodes[0].server.Stop()
		gone := c.ReadShard(t.Context(), "s", 0, ReadOptions{RetryFor: 5 * time.Second})
		defer gone.Close()
		if _, err := gone.Next(t.Context()); !IsUnavailable(err) {
			t.Errorf("no node: %v", err)
		}
	})
}
