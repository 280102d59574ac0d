package history_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/tests/internal/history"
)

var nodes = []string{"a", "b", "c"}

// sound returns a history that keeps every promise: two shards, three replicas,
// two producers that each wrote perKey records to each of four keys, one live
// reader per shard and node, plus one write without answer that is stored, one
// that is not, and one that failed.
func sound(perKey int) *history.Stream {
	s := &history.Stream{Name: "s", Shards: evenShards(2), Replicas: len(nodes)}
	logs := map[uint32][]history.Entry{}
	counters := map[uint32]uint64{}
	now := time.Duration(0)
	write := func(producer, key uint32, outcome history.Outcome, stored bool) {
		counters[producer]++
		now += time.Millisecond
		shard := key % 2
		w := history.Write{
			Value:   history.Value{Producer: producer, Key: key, Counter: counters[producer]},
			Outcome: outcome, Sent: now, Done: now + time.Millisecond,
		}
		if stored {
			seq := seqno.New(int64(1000+len(logs[shard])/3), uint64(len(logs[shard])), shard)
			logs[shard] = append(logs[shard], history.Entry{Seq: seq, Value: w.Value})
			if outcome == history.Acked {
				w.Shard, w.Seq = shard, seq
			}
		}
		s.Writes = append(s.Writes, w)
	}
	for range perKey {
		for producer := uint32(1); producer <= 2; producer++ {
			for key := range uint32(4) {
				write(producer, key, history.Acked, true)
			}
		}
	}
	write(1, 0, history.Unknown, true)
	write(1, 0, history.Unknown, false)
	write(2, 1, history.Failed, false)
	for shard := range uint32(2) {
		end := history.ShardEnd{Shard: shard, Leader: "a", Tails: map[string]uint64{}}
		for i, node := range nodes {
			s.Copies = append(s.Copies, history.Replica{Node: node, Shard: shard, Entries: slices.Clone(logs[shard])})
			s.Readers = append(s.Readers, history.Reader{
				Name: "reader on " + node, Shard: shard, Entries: slices.Clone(logs[shard][i : len(logs[shard])-i]),
			})
			end.Tails[node] = uint64(len(logs[shard]))
		}
		s.Ends = append(s.Ends, end)
	}
	return s
}

// evenShards returns open shards over even parts of the key space.
func evenShards(n int) (all []history.Shard) {
	for i, keys := range hashkey.SplitEven(n) {
		all = append(all, history.Shard{Number: uint32(i), Keys: keys})
	}
	return all
}

// split makes a sound history one in which shard 1 was split after its last record: shards 2 and 3 have one of each
// producer's next records.
func split(s *history.Stream) *history.Stream {
	parent := &s.Shards[1]
	var last history.Entry
	for _, r := range s.Copies {
		if r.Shard == 1 {
			last = r.Entries[len(r.Entries)-1]
		}
	}
	parent.Closed, parent.End, parent.EndTime = true, last.Seq.Ordinal()+1, last.Seq.Millis()+5
	for i, keys := range parent.Keys.SplitEven(2) {
		number := uint32(2 + i)
		s.Shards = append(s.Shards, history.Shard{Number: number, Keys: keys, Parents: []uint32{1}})
		w := history.Write{
			Value: history.Value{Producer: uint32(1 + i), Key: 1, Counter: 1000}, Outcome: history.Acked,
			Shard: number, Seq: seqno.New(parent.EndTime+1, 0, number),
		}
		s.Writes = append(s.Writes, w)
		end := history.ShardEnd{Shard: number, Leader: "a", Tails: map[string]uint64{}}
		for _, node := range nodes {
			s.Copies = append(s.Copies, history.Replica{Node: node, Shard: number, Entries: []history.Entry{{Seq: w.Seq, Value: w.Value}}})
			end.Tails[node] = 1
		}
		s.Ends = append(s.Ends, end)
	}
	return s
}

// TestGenerations breaks what a split promises, one thing at a time.
func TestGenerations(t *testing.T) {
	move := func(s *history.Stream, shard uint32, to seqno.Number) {
		for i := range s.Copies {
			if s.Copies[i].Shard == shard {
				s.Copies[i].Entries[0].Seq = to
			}
		}
		for i := range s.Writes {
			if s.Writes[i].Shard == shard {
				s.Writes[i].Seq = to
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(s *history.Stream)
		want  []string
	}{
		"sound":                           {func(*history.Stream) {}, nil},
		"a child that owns too little":    {func(s *history.Stream) { s.Shards[3].Keys.Start = s.Shards[3].Keys.Start.Next() }, []string{"I10"}},
		"a child that owns too much":      {func(s *history.Stream) { s.Shards[2].Keys.End = s.Shards[3].Keys.Start }, []string{"I10"}},
		"a parent that is still open":     {func(s *history.Stream) { s.Shards[1].Closed = false }, []string{"I10"}},
		"a record before the parent's":    {func(s *history.Stream) { move(s, 2, seqno.New(1, 0, 2)) }, []string{"I3", "I4"}},
		"a record at the parent's end":    {func(s *history.Stream) { move(s, 2, seqno.New(s.Shards[1].EndTime, 0, 2)) }, []string{"I3"}},
		"records after the seal":          {func(s *history.Stream) { s.Shards[1].End-- }, []string{"I3"}},
		"a parent's record after its end": {func(s *history.Stream) { s.Shards[1].EndTime = 1 }, []string{"I3"}},
		"a child's counter below the parent's": {func(s *history.Stream) {
			for i := range s.Copies {
				if s.Copies[i].Shard == 2 {
					s.Copies[i].Entries[0].Value.Counter = 0
				}
			}
			s.Writes[len(s.Writes)-2].Value.Counter = 0
		}, []string{"I4"}},
	} {
		s := split(sound(10))
		c.spoil(s)
		if d := cmp.Diff(c.want, broken(history.Check(s))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func broken(violations []history.Violation) []string {
	var names []string
	for _, v := range violations {
		names = append(names, v.Invariant)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// eachCopy applies f to every replica of shard 0: a fault that all replicas agree on.
func eachCopy(s *history.Stream, f func(r *history.Replica)) {
	for i := range s.Copies {
		if s.Copies[i].Shard == 0 {
			f(&s.Copies[i])
		}
	}
}

// noReaders drops the live readers, for faults that they would see as well.
func noReaders(s *history.Stream) { s.Readers = nil }

// renumber gives the entries from ordinal i on the ordinals that follow it, as a
// log that was never any different would have, in copies, writes and readers.
func renumber(entries []history.Entry, shard uint32) {
	for i := range entries {
		entries[i].Seq = seqno.New(1000, uint64(i), shard)
	}
}

func reAck(s *history.Stream, shard uint32, log []history.Entry) {
	at := map[history.Value]seqno.Number{}
	for _, e := range log {
		at[e.Value] = e.Seq
	}
	for i, w := range s.Writes {
		if w.Outcome == history.Acked && w.Shard == shard {
			s.Writes[i].Seq = at[w.Value]
		}
	}
}

// relog replaces the log of shard 0 everywhere and keeps all else consistent with it.
func relog(s *history.Stream, change func(log []history.Entry) []history.Entry) {
	noReaders(s)
	log := change(slices.Clone(s.Copies[0].Entries))
	renumber(log, 0)
	eachCopy(s, func(r *history.Replica) { r.Entries = slices.Clone(log) })
	for node := range s.Ends[0].Tails {
		s.Ends[0].Tails[node] = uint64(len(log))
	}
	reAck(s, 0, log)
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name   string
		change func(s *history.Stream)
		want   []string
	}{
		{"sound", func(*history.Stream) {}, nil},
		{"acknowledged record lost on every replica, at the tail", func(s *history.Stream) {
			noReaders(s)
			eachCopy(s, func(r *history.Replica) { r.Entries = r.Entries[:len(r.Entries)-2] })
		}, []string{"I1"}},
		{"acknowledged record lost on one replica, at the tail", func(s *history.Stream) {
			noReaders(s)
			s.Copies[0].Entries = s.Copies[0].Entries[:len(s.Copies[0].Entries)-2]
		}, []string{"I1", "I13"}},
		{"acknowledgement names another record's place", func(s *history.Stream) {
			s.Writes[0].Seq, s.Writes[2].Seq = s.Writes[2].Seq, s.Writes[0].Seq
		}, []string{"I1"}},
		{"acknowledgement names another shard", func(s *history.Stream) { s.Writes[0].Shard = 1 }, []string{"I1"}},
		{"one replica has another value under a number", func(s *history.Stream) {
			noReaders(s)
			e := s.Copies[1].Entries
			e[len(e)-1].Value.Counter++ // the write without answer that came later
		}, []string{"I2"}},
		{"a payload is damaged on one replica", func(s *history.Stream) {
			s.Copies[2].Entries[3].Value = history.Value{}
		}, []string{"I2"}},
		{"a reader was given another value", func(s *history.Stream) {
			e := s.Readers[0].Entries
			e[0].Value, e[1].Value = e[1].Value, e[0].Value
		}, []string{"I2"}},
		{"numbers go back", func(s *history.Stream) {
			noReaders(s)
			eachCopy(s, func(r *history.Replica) { r.Entries[2], r.Entries[3] = r.Entries[3], r.Entries[2] })
		}, []string{"I3", "I8"}},
		{"a number names another shard", func(s *history.Stream) {
			noReaders(s)
			eachCopy(s, func(r *history.Replica) {
				e := &r.Entries[len(r.Entries)-1]
				e.Seq = seqno.New(e.Seq.Millis(), e.Seq.Ordinal(), 1)
			})
		}, []string{"I3"}},
		{"two records of one key swapped", func(s *history.Stream) {
			relog(s, func(log []history.Entry) []history.Entry {
				log[0], log[4] = log[4], log[0] // same producer and key, by construction
				return log
			})
		}, []string{"I4"}},
		{"a record stored twice", func(s *history.Stream) {
			relog(s, func(log []history.Entry) []history.Entry { return append(log, log[len(log)-1]) })
		}, []string{"I5"}},
		{"a record stored in two shards", func(s *history.Stream) {
			value := s.Copies[3].Entries[0].Value
			relog(s, func(log []history.Entry) []history.Entry { return append(log, history.Entry{Value: value}) })
		}, []string{"I5"}},
		{"a failed write is there", func(s *history.Stream) {
			value := s.Writes[len(s.Writes)-1].Value
			relog(s, func(log []history.Entry) []history.Entry { return append(log, history.Entry{Value: value}) })
		}, []string{"I6"}},
		{"a record nobody wrote is there", func(s *history.Stream) {
			relog(s, func(log []history.Entry) []history.Entry {
				return append(log, history.Entry{Value: history.Value{Producer: 9, Key: 1, Counter: 1}})
			})
		}, []string{"I6"}},
		{"a record that was read vanished", func(s *history.Stream) {
			// The last record of shard 0 was never acknowledged: only the readers miss it.
			eachCopy(s, func(r *history.Replica) { r.Entries = r.Entries[:len(r.Entries)-1] })
		}, []string{"I7"}},
		{"a reader skipped a record", func(s *history.Stream) {
			s.Readers[1].Entries = slices.Delete(s.Readers[1].Entries, 2, 3)
		}, []string{"I8"}},
		{"a reader was given a record twice", func(s *history.Stream) {
			e := s.Readers[1].Entries
			s.Readers[1].Entries = slices.Insert(e, 2, e[1])
		}, []string{"I3"}},
		{"a replica lost its first record", func(s *history.Stream) {
			noReaders(s)
			s.Copies[0].Entries = s.Copies[0].Entries[1:]
		}, []string{"I1", "I13", "I8"}},
		{"a replica stopped short of the others", func(s *history.Stream) {
			noReaders(s)
			e := s.Copies[0].Entries
			s.Copies[0].Entries = e[:len(e)-1] // without answer, so nothing acknowledged is lost
		}, []string{"I13"}},
		{"a shard has no leader", func(s *history.Stream) { s.Ends[1].Leader = "" }, []string{"I15"}},
		{"a replica lags", func(s *history.Stream) { s.Ends[1].Tails["b"]-- }, []string{"I15"}},
		{"a replica is gone", func(s *history.Stream) { delete(s.Ends[1].Tails, "b") }, []string{"I15"}},
		{"a shard left the map", func(s *history.Stream) { s.Ends = s.Ends[:1] }, []string{"I15"}},
		{"a replica could not be read", func(s *history.Stream) { s.Copies = s.Copies[1:] }, []string{"I15"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := sound(5)
			test.change(s)
			if diff := cmp.Diff(test.want, broken(history.Check(s))); diff != "" {
				t.Errorf("violations differ (-want +got):\n%s\n%v", diff, history.Check(s))
			}
		})
	}
}

// TestCheckNothingStored: an empty cluster satisfies no promise by having nothing to compare.
func TestCheckNothingStored(t *testing.T) {
	s := sound(2)
	s.Copies = nil
	if got := broken(history.Check(s)); !slices.Contains(got, "I1") || !slices.Contains(got, "I7") || !slices.Contains(got, "I15") {
		t.Errorf("with nothing stored the violations are only %v", got)
	}
}

// TestCheckBoundsItsReport: a lost segment must not print a million lines.
func TestCheckBoundsItsReport(t *testing.T) {
	s := sound(1000)
	noReaders(s)
	eachCopy(s, func(r *history.Replica) { r.Entries = r.Entries[:1] })
	if got := len(history.Check(s)); got < 2 || got > 20 {
		t.Errorf("%d violations listed", got)
	}
}

// TestCheckFindsAnyDroppedEntry drops, damages or moves one entry of one
// replica at random: whatever it is, some invariant must notice.
func TestCheckFindsAnyDroppedEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sound(rapid.IntRange(1, 6).Draw(t, "perKey"))
		r := &s.Copies[rapid.IntRange(0, len(s.Copies)-1).Draw(t, "copy")]
		i := rapid.IntRange(0, len(r.Entries)-2).Draw(t, "entry")
		switch rapid.SampledFrom([]string{"drop", "swap", "damage", "shift"}).Draw(t, "fault") {
		case "drop":
			r.Entries = slices.Delete(r.Entries, i, i+1)
		case "swap":
			r.Entries[i].Value, r.Entries[i+1].Value = r.Entries[i+1].Value, r.Entries[i].Value
		case "damage":
			r.Entries[i].Value = history.Value{}
		case "shift":
			r.Entries[i].Seq = seqno.New(r.Entries[i].Seq.Millis()+1, r.Entries[i].Seq.Ordinal(), r.Shard)
		}
		if len(history.Check(s)) == 0 {
			t.Fatal("not noticed")
		}
	})
}

func TestCheckStalls(t *testing.T) {
	const limit = time.Second
	at := func(sent, done int) history.Write {
		return history.Write{Outcome: history.Acked, Sent: time.Duration(sent) * time.Millisecond, Done: time.Duration(done) * time.Millisecond}
	}
	led := map[string][]uint32{"s": {0}}
	tests := []struct {
		name     string
		writes   []history.Write
		until    time.Duration
		measured []time.Duration
		want     []string
	}{
		{"quick", []history.Write{at(0, 10), at(90, 700), at(150, 600)}, time.Minute, []time.Duration{500 * time.Millisecond}, nil},
		{"too slow", []history.Write{at(0, 10), at(150, 1600)}, time.Minute, []time.Duration{1500 * time.Millisecond}, []string{"I14"}},
		{"never", []history.Write{at(0, 10)}, time.Minute, nil, []string{"I14"}},
		{"sent before the fault does not count", []history.Write{at(90, 110)}, time.Minute, nil, []string{"I14"}},
		{"a child took one", []history.Write{at(0, 10), {Outcome: history.Acked, Shard: 2, Sent: 150 * time.Millisecond, Done: 400 * time.Millisecond}}, time.Minute, []time.Duration{300 * time.Millisecond}, nil},
		{"one that is no child did", []history.Write{at(0, 10), {Outcome: history.Acked, Shard: 3, Sent: 150 * time.Millisecond, Done: 400 * time.Millisecond}}, time.Minute, nil, []string{"I14"}},
		{"another fault came first", []history.Write{at(150, 1600)}, 700 * time.Millisecond, nil, nil},
		{"another fault came too late to excuse it", []history.Write{at(150, 9000)}, 5 * time.Second, nil, []string{"I14"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			shards := append(evenShards(1), history.Shard{Number: 1, Parents: []uint32{0}}, history.Shard{Number: 2, Parents: []uint32{1}}, history.Shard{Number: 3})
			s := &history.Stream{Name: "s", Shards: shards, Writes: test.writes}
			fault := history.Fault{What: "kill", At: 100 * time.Millisecond, Until: test.until, Shards: led}
			measured, violations := history.CheckStalls([]*history.Stream{s}, []history.Fault{fault}, limit)
			var got []time.Duration
			for _, m := range measured {
				got = append(got, m.After)
			}
			if diff := cmp.Diff(test.measured, got); diff != "" {
				t.Errorf("recoveries differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, broken(violations)); diff != "" {
				t.Errorf("violations differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckResources(t *testing.T) {
	before := map[string]history.Resources{"a": {Goroutines: 100, Descriptors: 50}}
	slack := history.Resources{Goroutines: 20, Descriptors: 10}
	for _, test := range []struct {
		name  string
		after history.Resources
		want  []string
	}{
		{"same", history.Resources{Goroutines: 100, Descriptors: 50}, nil},
		{"at the bound", history.Resources{Goroutines: 220, Descriptors: 110}, nil},
		{"goroutines leak", history.Resources{Goroutines: 221, Descriptors: 50}, []string{"I16"}},
		{"descriptors leak", history.Resources{Goroutines: 100, Descriptors: 111}, []string{"I16"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := broken(history.CheckResources(before, map[string]history.Resources{"a": test.after}, slack))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("violations differ (-want +got):\n%s", diff)
			}
		})
	}
}
