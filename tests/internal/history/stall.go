package history

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Fault is a fault of a minority of the nodes, during which writes may only pause briefly.
type Fault struct {
	// What names the fault for the report.
	What string
	// At is when it began.
	At time.Duration
	// Until is when the cluster stopped being judged by it: the next fault or the end of the load.
	Until time.Duration
	// Shards are those that the stricken node led, by stream name.
	Shards map[string][]uint32
}

// Recovery is how long a shard took no write after a fault of its leader.
type Recovery struct {
	Stream string
	Shard  uint32
	What   string
	After  time.Duration
}

// CheckStalls measures, for every fault and shard led by its victim, the time from the
// fault to the first acknowledgement of a record sent after it, by the shard or one that came from it, and returns
// what it measured and a violation of I14 for each that took longer than limit.
// A shard that the next fault interrupted before limit had passed is left out.
func CheckStalls(streams []*Stream, faults []Fault, limit time.Duration) ([]Recovery, []Violation) {
	var measured []Recovery
	var broken []Violation
	for _, s := range streams {
		shards, heirs := acknowledgements(s), descendants(s.Shards)
		rep := &report{stream: s.Name, counts: map[string]int{}}
		for _, f := range faults {
			for _, shard := range f.Shards[s.Name] {
				done, ok := shards[shard].firstAfter(f.At)
				for heir := range heirs(shard) {
					if at, took := shards[heir].firstAfter(f.At); took && (!ok || at < done) {
						done, ok = at, true
					}
				}
				if ok && done <= f.Until {
					measured = append(measured, Recovery{s.Name, shard, f.What, done - f.At})
				}
				if waited := min(f.Until, orEnd(done, ok, f.Until)) - f.At; waited > limit {
					rep.add("I14", "shard %d took no write for %v after %s", shard, waited.Round(time.Millisecond), f.What)
				}
			}
		}
		broken = append(broken, rep.violations()...)
	}
	return measured, broken
}

// descendants returns a function that yields the shards that came from one, in all generations.
func descendants(shards []Shard) func(uint32) iter.Seq[uint32] {
	children := map[uint32][]uint32{}
	for _, sh := range shards {
		for _, p := range sh.Parents {
			children[p] = append(children[p], sh.Number)
		}
	}
	return func(shard uint32) iter.Seq[uint32] {
		return func(yield func(uint32) bool) {
			seen := map[uint32]bool{}
			for next := slices.Clone(children[shard]); len(next) > 0; next = next[1:] {
				if seen[next[0]] {
					continue
				}
				seen[next[0]] = true
				if !yield(next[0]) {
					return
				}
				next = append(next, children[next[0]]...)
			}
		}
	}
}

func orEnd(done time.Duration, ok bool, end time.Duration) time.Duration {
	if ok {
		return done
	}
	return end
}

// timeline is a shard's acknowledged writes in the order they were sent; done[i] is
// the earliest acknowledgement of those from i on.
type timeline struct {
	sent, done []time.Duration
}

func acknowledgements(s *Stream) map[uint32]*timeline {
	byShard := map[uint32][]Write{}
	for _, w := range s.Writes {
		if w.Outcome == Acked {
			byShard[w.Shard] = append(byShard[w.Shard], w)
		}
	}
	out := make(map[uint32]*timeline, len(byShard))
	for shard, writes := range byShard {
		slices.SortFunc(writes, func(a, b Write) int { return cmp.Compare(a.Sent, b.Sent) })
		t := &timeline{make([]time.Duration, len(writes)), make([]time.Duration, len(writes))}
		earliest := time.Duration(1<<63 - 1)
		for i := len(writes) - 1; i >= 0; i-- {
			earliest = min(earliest, writes[i].Done)
			t.sent[i], t.done[i] = writes[i].Sent, earliest
		}
		out[shard] = t
	}
	return out
}

// firstAfter returns when the first record sent at or after at was acknowledged.
func (t *timeline) firstAfter(at time.Duration) (time.Duration, bool) {
	if t == nil {
		return 0, false
	}
	i, _ := slices.BinarySearch(t.sent, at)
	if i == len(t.sent) {
		return 0, false
	}
	return t.done[i], true
}

// Resources is what a node's process holds.
type Resources struct {
	Goroutines, Descriptors int
}

// CheckResources compares the nodes before and after the run. Each may hold twice what it
// held and slack more: connections to other nodes and to clients come and
// go, but what leaks with every fault passes any such bound in the end (I16). Goroutines are
// compared for all nodes together: a shard's leader runs ten for it and each other replica three, and
// after many faults one node may lead nearly all shards.
func CheckResources(before, after map[string]Resources, slack Resources) []Violation {
	rep := &report{stream: "(all)", counts: map[string]int{}}
	var goroutines, had int
	for node, a := range after {
		b := before[node]
		goroutines, had = goroutines+a.Goroutines, had+b.Goroutines
		if a.Descriptors > 2*b.Descriptors+slack.Descriptors {
			rep.add("I16", "%s holds %d descriptors, %d before", node, a.Descriptors, b.Descriptors)
		}
	}
	if goroutines > 2*had+len(after)*slack.Goroutines {
		rep.add("I16", "the nodes run %d goroutines, %d before", goroutines, had)
	}
	return rep.violations()
}
