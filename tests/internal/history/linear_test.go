package history_test

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/tests/internal/history"
)

// at is a time of a history in ms.
func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// ordered is the history of shard 3 that has three acknowledged records, one of them under way beside the next, a fourth without
// answer that is stored and a fifth that is not.
func ordered() *history.Stream {
	s := &history.Stream{Name: "s"}
	var log []history.Entry
	write := func(counter uint64, o history.Outcome, sent, done int) {
		w := history.Write{Value: history.Value{Producer: 1, Key: 1, Counter: counter}, Outcome: o, Sent: at(sent), Done: at(done)}
		seq := seqno.New(1000, uint64(len(log)), 3)
		if o == history.Acked {
			w.Shard, w.Seq = 3, seq
		}
		if counter != 5 {
			log = append(log, history.Entry{Seq: seq, Value: w.Value})
		}
		s.Writes = append(s.Writes, w)
	}
	write(1, history.Acked, 10, 20)
	write(2, history.Acked, 30, 50)
	write(3, history.Acked, 40, 60)
	write(4, history.Unknown, 70, 80)
	write(5, history.Unknown, 70, 80)
	for _, node := range nodes {
		s.Copies = append(s.Copies, history.Replica{Node: node, Shard: 3, Entries: slices.Clone(log)})
	}
	return s
}

// tail adds a tail of shard 3.
func tail(next uint64, sent, done int) func(s *history.Stream) {
	return func(s *history.Stream) {
		s.Tails = append(s.Tails, history.Tail{By: "a", Shard: 3, Next: next, Sent: at(sent), Done: at(done)})
	}
}

// closedAt adds the answer that shard 3 is closed.
func closedAt(next uint64, sent, done int) func(s *history.Stream) {
	return func(s *history.Stream) {
		tail(next, sent, done)(s)
		s.Tails[len(s.Tails)-1].Closed = true
	}
}

// sight adds a reader of shard 3 that had all below next.
func sight(next uint64, ms int) func(s *history.Stream) {
	return func(s *history.Stream) {
		s.Readers = append(s.Readers, history.Reader{Name: "r", Shard: 3, Sights: []history.Sight{{Next: next, At: at(ms)}}})
	}
}

// timed gives the i-th write other times.
func timed(i, sent, done int) func(s *history.Stream) {
	return func(s *history.Stream) { s.Writes[i].Sent, s.Writes[i].Done = at(sent), at(done) }
}

// TestCheckLinear has for each pair of operations a history in which they may come in the log's order, as late or as early as
// possible, and one in which they may not.
func TestCheckLinear(t *testing.T) {
	type changes []func(*history.Stream)
	tests := []struct {
		name   string
		change changes
		want   []string // a part of each violation
	}{
		{"nothing seen", nil, nil},
		{"empty when asked before the first record", changes{tail(0, 0, 5)}, nil},
		{"empty when asked while the first is under way", changes{tail(0, 15, 90)}, nil},
		{"empty after the first was acknowledged", changes{tail(0, 21, 25)}, []string{"producer 1 key 1 counter 1 at 0 [10ms, 20ms] was over before the tail 0"}},
		{"all that is acknowledged", changes{tail(3, 61, 65)}, nil},
		{"what is acknowledged lacks in a tail", changes{tail(2, 61, 65)}, []string{"counter 3 at 2 [40ms, 60ms] was over before the tail 2"}},
		{"one that is under way lacks in a tail", changes{tail(2, 55, 65)}, nil},
		{"one that is under way is in a tail", changes{tail(3, 41, 45)}, nil},
		{"one that was not sent is in a tail", changes{tail(3, 31, 35)}, []string{"the tail 3, told by a [31ms, 35ms] was over before the append of producer 1 key 1 counter 3"}},
		{"one without answer is in a tail", changes{tail(4, 71, 75)}, nil},
		{"one without answer lacks in a tail, long after", changes{tail(3, 500, 505)}, nil},
		{"one without answer is in a tail before it was sent", changes{tail(4, 61, 65)}, []string{"the tail 4, told by a [61ms, 65ms] was over before the append of producer 1 key 1 counter 4"}},
		{"one without answer stands before one that was acknowledged earlier", changes{func(s *history.Stream) {
			for _, r := range s.Copies {
				r.Entries[2].Value, r.Entries[3].Value = r.Entries[3].Value, r.Entries[2].Value
			}
			s.Writes[2].Seq = seqno.New(1000, 3, 3)
		}}, []string{"counter 3 at 3 [40ms, 60ms] was over before the append of producer 1 key 1 counter 4 at 2 [70ms, no answer]"}},
		{"two at the same time in any order", changes{timed(1, 40, 60), timed(2, 30, 50)}, nil},
		{"an earlier one stands after a later one", changes{timed(1, 40, 60), timed(2, 30, 39)}, []string{"counter 3 at 2 [30ms, 39ms] was over before the append of producer 1 key 1 counter 2 at 1"}},
		{"a place that was given twice", changes{func(s *history.Stream) { s.Writes[2].Seq = s.Writes[1].Seq }}, []string{"took the same place"}},
		{"two tails at the same time in any order", changes{tail(2, 45, 55), tail(3, 45, 50)}, nil},
		{"a tail goes on", changes{tail(2, 41, 45), tail(3, 46, 49)}, nil},
		{"a tail goes back", changes{tail(3, 41, 45), tail(2, 46, 49)}, []string{"the tail 3, told by a [41ms, 45ms] was over before the tail 2, told by a [46ms, 49ms]"}},
		{"a tail that lacks all is named once", changes{tail(0, 500, 505)}, []string{"counter 1 at 0 [10ms, 20ms] was over before the tail 0"}},
		{"a tail goes back behind what has no answer", changes{tail(4, 71, 75), tail(3, 76, 80)}, []string{"the tail 4, told by a [71ms, 75ms] was over before the tail 3"}},
		{"a tail beyond the log", changes{tail(5, 71, 75)}, []string{"the tail 5, told by a [71ms, 75ms], but the log ends at 4"}},
		{"a reader may be late", changes{sight(1, 500)}, nil},
		{"a reader has one that is under way", changes{sight(3, 41), tail(3, 42, 45)}, nil},
		{"a reader has one that was not sent", changes{sight(3, 39)}, []string{"the sight of all below 3 by r [0s, 39ms] was over before the append of producer 1 key 1 counter 3"}},
		{"a reader was ahead of a tail", changes{sight(3, 41), tail(2, 42, 45)}, []string{"the sight of all below 3 by r [0s, 41ms] was over before the tail 2"}},
		{"a reader has what the log has not", changes{sight(5, 500)}, []string{"the sight of all below 5 by r [0s, 500ms], but the log ends at 4"}},
		{"closed at the end", changes{tail(4, 71, 75), closedAt(4, 72, 80), closedAt(4, 82, 85)}, nil},
		{"closed before the end", changes{closedAt(3, 61, 65)}, []string{"the end 3 for ever, told by a [61ms, 65ms], but the log went on to 4"}},
		{"open after it was closed", changes{closedAt(4, 71, 75), tail(4, 76, 80)}, []string{"the end 4 for ever, told by a [71ms, 75ms] was over before the tail 4"}},
		{"another shard's tail", changes{tail(0, 500, 505), func(s *history.Stream) { s.Tails[0].Shard = 2 }}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := ordered()
			for _, change := range test.change {
				change(s)
			}
			judged, got := history.CheckLinear(s)
			if len(got) != len(test.want) {
				t.Fatalf("%d violations, want %d: %v", len(got), len(test.want), got)
			}
			for i, v := range got {
				if v.Invariant != "I9" || !strings.Contains(v.Detail, test.want[i]) {
					t.Errorf("got %v\nwant %q in it", v, test.want[i])
				}
			}
			if want := (history.Judged{Appends: 4, Tails: len(s.Tails), Sights: len(s.Readers)}); judged != want {
				t.Errorf("%v judged, want %v", judged, want)
			}
		})
	}
}

// logState is what a search knows of a log: its records and whether it is closed.
type logState struct {
	records string // one letter each
	closed  bool
}

// logInput is an operation as the search is told about it: nothing says where in the log it belongs but its own answer.
type logInput struct {
	what   string
	letter string // append
	acked  bool   // append
	next   int    // the answer of an append that is acked, a tail, a sight
	closed bool   // tail
	all    string // the answer of the read at the end
}

// logModel is the sequential log.
var logModel = porcupine.Model{
	Init: func() any { return logState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, in := state.(logState), input.(logInput)
		switch in.what {
		case "append":
			if s.closed {
				return !in.acked, s
			}
			return !in.acked || in.next == len(s.records), logState{s.records + in.letter, false}
		case "tail":
			return in.next == len(s.records) && in.closed == s.closed, s
		case "sight":
			return in.next <= len(s.records), s
		case "close":
			return true, logState{s.records, true}
		}
		return in.all == s.records, s // the read at the end
	},
}

// searched asks a search over all orders whether a history of one shard is linear.
func searched(s *history.Stream) bool {
	const end = int64(time.Hour)
	const open = math.MaxInt64 - 1
	var ops []porcupine.Operation
	add := func(in logInput, call, back int64) {
		ops = append(ops, porcupine.Operation{ClientId: len(ops), Input: in, Call: call, Return: back})
	}
	letter := func(v history.Value) string { return string(rune('a' + v.Counter)) }
	for _, w := range s.Writes {
		in := logInput{what: "append", letter: letter(w.Value)}
		back := int64(open)
		if w.Outcome == history.Acked {
			in.acked, in.next, back = true, int(w.Seq.Ordinal()), int64(w.Done)
		}
		add(in, int64(w.Sent), back)
	}
	closed := false
	for _, t := range s.Tails {
		closed = closed || t.Closed
		add(logInput{what: "tail", next: int(t.Next), closed: t.Closed}, int64(t.Sent), int64(t.Done))
	}
	for _, r := range s.Readers {
		for _, seen := range r.Sights {
			add(logInput{what: "sight", next: int(seen.Next)}, 0, int64(seen.At))
		}
	}
	if closed {
		add(logInput{what: "close"}, 0, open)
	}
	all := ""
	for _, e := range s.Copies[0].Entries {
		all += letter(e.Value)
	}
	add(logInput{what: "read", all: all}, end, end+1)
	return porcupine.CheckOperations(logModel, ops)
}

// drawn makes a history of one shard: operations take effect in some order, and their calls and answers lie around that at random.
// Now and then one of them is spoiled, which may or may not matter.
func drawn(t *rapid.T) *history.Stream {
	s := &history.Stream{Name: "s", Copies: []history.Replica{{Node: "a"}}}
	log := &s.Copies[0].Entries
	n := rapid.IntRange(1, 8).Draw(t, "operations")
	closed := false
	for i := range n {
		effect := 1000 * (i + 1)
		sent := at(max(1, effect-rapid.IntRange(1, 3000).Draw(t, "before"))) + time.Duration(i) // no two at the same time
		done := at(effect+rapid.IntRange(1, 3000).Draw(t, "after")) + time.Duration(100+i)
		switch what := rapid.SampledFrom([]string{"append", "append", "unknown", "lost", "tail", "tail", "sight", "close"}).Draw(t, "what"); {
		case (what == "append" || what == "unknown") && !closed:
			w := history.Write{Value: history.Value{Producer: 1, Key: 1, Counter: uint64(i)}, Sent: sent, Done: done}
			seq := seqno.New(1, uint64(len(*log)), 0)
			if what == "append" {
				w.Outcome, w.Seq = history.Acked, seq
			}
			*log = append(*log, history.Entry{Seq: seq, Value: w.Value})
			s.Writes = append(s.Writes, w)
		case what == "lost":
			s.Writes = append(s.Writes, history.Write{Value: history.Value{Producer: 1, Key: 1, Counter: uint64(i)}, Sent: sent, Done: done})
		case what == "sight":
			s.Readers = append(s.Readers, history.Reader{Name: "r", Sights: []history.Sight{{Next: uint64(len(*log)), At: done}}})
		default:
			closed = closed || what == "close"
			s.Tails = append(s.Tails, history.Tail{By: "a", Next: uint64(len(*log)), Closed: closed, Sent: sent, Done: done})
		}
	}
	spoil(t, s)
	return s
}

func spoil(t *rapid.T, s *history.Stream) {
	shift := time.Duration(rapid.IntRange(-2500, 2500).Draw(t, "shift")) * time.Millisecond
	log := s.Copies[0].Entries
	switch what := rapid.SampledFrom([]string{"nothing", "tail", "closed", "tail time", "append time", "swap", "cut"}).Draw(t, "spoil"); {
	case what == "tail" && len(s.Tails) > 0:
		s.Tails[rapid.IntRange(0, len(s.Tails)-1).Draw(t, "i")].Next = uint64(rapid.IntRange(0, len(log)+1).Draw(t, "next"))
	case what == "closed" && len(s.Tails) > 0:
		s.Tails[rapid.IntRange(0, len(s.Tails)-1).Draw(t, "i")].Closed = rapid.Bool().Draw(t, "closed")
	case what == "tail time" && len(s.Tails) > 0:
		one := &s.Tails[rapid.IntRange(0, len(s.Tails)-1).Draw(t, "i")]
		one.Sent, one.Done = max(0, one.Sent+shift), max(1, one.Done+shift)
	case what == "append time" && len(s.Writes) > 0:
		one := &s.Writes[rapid.IntRange(0, len(s.Writes)-1).Draw(t, "i")]
		one.Sent, one.Done = max(0, one.Sent+shift), max(1, one.Done+shift)
	case what == "swap" && len(log) > 1:
		i := rapid.IntRange(0, len(log)-2).Draw(t, "i")
		log[i].Value, log[i+1].Value = log[i+1].Value, log[i].Value
		for k, w := range s.Writes {
			if j := slices.IndexFunc(log, func(e history.Entry) bool { return e.Value == w.Value }); w.Outcome == history.Acked {
				s.Writes[k].Seq = log[j].Seq
			}
		}
	case what == "cut" && len(log) > 0 && !slices.ContainsFunc(s.Writes, func(w history.Write) bool { // of acknowledged ones I1 speaks
		return w.Outcome == history.Acked && w.Seq == log[len(log)-1].Seq
	}):
		s.Copies[0].Entries = log[:len(log)-1]
	}
}

// TestCheckLinearAgreesWithASearch holds CheckLinear against a search over all orders.
func TestCheckLinearAgreesWithASearch(t *testing.T) {
	verdicts := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := drawn(t)
		_, violations := history.CheckLinear(s)
		want := searched(s)
		verdicts[want]++
		if got := len(violations) == 0; got != want {
			t.Fatalf("linear: %v by the log's order, %v by the search: %v\n%+v", got, want, violations, s)
		}
	})
	t.Logf("%d histories are linear, %d are not", verdicts[true], verdicts[false])
	if verdicts[true] == 0 || verdicts[false] == 0 {
		t.Errorf("%v histories are linear or not: both are to be seen", verdicts)
	}
}

// TestCheckLinearIsQuick: a run has many operations, for which time that grows with their square would be too much.
func TestCheckLinearIsQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("judges half a million operations; runs without -short")
	}
	const records = 250_000
	s := &history.Stream{Name: "s", Copies: []history.Replica{{Node: "a"}}}
	for i := range records {
		seq, now := seqno.New(1, uint64(i), 0), time.Duration(i)*time.Microsecond
		v := history.Value{Producer: 1, Key: 1, Counter: uint64(i + 1)}
		s.Writes = append(s.Writes, history.Write{Value: v, Outcome: history.Acked, Seq: seq, Sent: now, Done: now + 20*time.Microsecond})
		s.Tails = append(s.Tails, history.Tail{By: "a", Next: uint64(i), Sent: now, Done: now + time.Microsecond})
		s.Copies[0].Entries = append(s.Copies[0].Entries, history.Entry{Seq: seq, Value: v})
	}
	slices.SortFunc(s.Tails, func(a, b history.Tail) int { return cmp.Compare(b.Next, a.Next) })
	begun := time.Now()
	judged, violations := history.CheckLinear(s)
	took := time.Since(begun)
	t.Logf("%v in %v", judged, took.Round(time.Millisecond))
	if len(violations) > 0 || took > 15*time.Second {
		t.Errorf("%v, %v", took, violations)
	}
}
