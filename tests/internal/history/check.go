package history

import (
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/seqno"
)

// place is where a record stands in a stream. Two shards may share the low bits
// of their numbers, so the sequence number alone would not do.
type place struct {
	shard uint32
	seq   seqno.Number
}

// holding is what the run says about one place.
type holding struct {
	value Value
	// copies has bit i set when the i-th replica of the shard holds the record.
	copies uint64
}

// checker holds the indexes that the checks share.
type checker struct {
	stream *Stream
	report *report
	places map[place]holding
	// replicas maps a shard to the names of its replicas; the index is the bit in holding.copies.
	replicas map[uint32][]string
}

// Check returns the promises that the run broke; none is a pass. It covers I1 to
// I8, I13 and I15, on the copies, writes, readers and ends recorded in s.
func Check(s *Stream) []Violation {
	c := &checker{
		stream:   s,
		report:   &report{stream: s.Name, counts: map[string]int{}},
		places:   make(map[place]holding, len(s.Writes)),
		replicas: map[uint32][]string{},
	}
	for i := range s.Copies {
		c.copy(&s.Copies[i])
	}
	c.identical()
	c.lineage()
	c.generations()
	c.writes()
	for i := range s.Readers {
		c.reader(&s.Readers[i])
	}
	c.ends()
	return c.report.violations()
}

// copy checks one replica by itself and enters its records in the index.
func (c *checker) copy(r *Replica) {
	bit := uint64(1) << len(c.replicas[r.Shard])
	c.replicas[r.Shard] = append(c.replicas[r.Shard], r.Node)
	who := fmt.Sprintf("shard %d on %s", r.Shard, r.Node)
	c.sequence(who, r.Shard, r.Entries)
	if len(r.Entries) > 0 && r.Entries[0].Seq.Ordinal() != r.First {
		c.report.add("I8", "%s: says it keeps records from ordinal %d but the first read is %d", who, r.First, r.Entries[0].Seq.Ordinal())
	}
	for _, e := range r.Entries {
		at := place{r.Shard, e.Seq}
		h, seen := c.places[at]
		switch {
		case e.Value == Value{}:
			c.report.add("I2", "%s: record %s is not what was written", who, e.Seq)
		case !seen:
			h.value = e.Value
		case h.value != e.Value:
			c.report.add("I2", "%s: record %s is %s here and %s elsewhere", who, e.Seq, e.Value, h.value)
		}
		h.copies |= bit
		c.places[at] = h
	}
	c.order(who, r.Entries)
}

// sequence checks that entries follow each other without gap, and belong to the shard.
func (c *checker) sequence(who string, shard uint32, entries []Entry) {
	for i, e := range entries {
		if e.Seq.Shard() != uint16(shard) {
			c.report.add("I3", "%s: record %s names shard %d", who, e.Seq, e.Seq.Shard())
		}
		if i == 0 {
			continue
		}
		before := entries[i-1].Seq
		switch {
		case e.Seq.Compare(before) <= 0:
			c.report.add("I3", "%s: record %s comes after %s", who, e.Seq, before)
		case e.Seq.Ordinal() != before.Ordinal()+1:
			c.report.add("I8", "%s: ordinal %d comes after %d", who, e.Seq.Ordinal(), before.Ordinal())
		}
	}
}

// order checks order per producer and key, and that nothing is there twice.
func (c *checker) order(who string, entries []Entry) {
	type line struct{ producer, key uint32 }
	last := map[line]uint64{}
	seen := make(map[Value]struct{}, len(entries))
	for _, e := range entries {
		if e.Value == (Value{}) {
			continue
		}
		if _, twice := seen[e.Value]; twice {
			c.report.add("I5", "%s: %s is there twice, the second time as %s", who, e.Value, e.Seq)
			continue
		}
		seen[e.Value] = struct{}{}
		l := line{e.Value.Producer, e.Value.Key}
		if e.Value.Counter < last[l] {
			c.report.add("I4", "%s: %s comes after counter %d of the same producer and key", who, e.Value, last[l])
			continue
		}
		last[l] = e.Value.Counter
	}
}

// identical checks that every replica of a shard holds every record of it.
func (c *checker) identical() {
	for at, h := range c.places {
		names := c.replicas[at.shard]
		if h.copies != full(len(names)) {
			c.report.add("I13", "shard %d: record %s (%s) is missing on %s", at.shard, at.seq, h.value, missing(names, h.copies))
		}
	}
}

// writes checks what the writers know against what is stored.
func (c *checker) writes() {
	outcome := make(map[Value]Outcome, len(c.stream.Writes))
	for _, w := range c.stream.Writes {
		outcome[w.Value] = w.Outcome
		if w.Outcome != Acked {
			continue
		}
		h := c.places[place{w.Shard, w.Seq}]
		switch names := c.replicas[w.Shard]; {
		case h.copies != full(len(names)):
			c.report.add("I1", "acknowledged record %s in shard %d (%s) is missing on %s", w.Seq, w.Shard, w.Value, missing(names, h.copies))
		case h.value != w.Value:
			c.report.add("I1", "acknowledged record %s in shard %d is %s, but %s was written", w.Seq, w.Shard, h.value, w.Value)
		}
	}
	home := make(map[Value]uint32, len(c.places))
	for at, h := range c.places {
		if h.value == (Value{}) {
			continue
		}
		switch o, sent := outcome[h.value]; {
		case !sent:
			c.report.add("I6", "record %s in shard %d (%s) was never sent", at.seq, at.shard, h.value)
		case o == Failed:
			c.report.add("I6", "record %s in shard %d (%s) was reported as failed", at.seq, at.shard, h.value)
		}
		if other, seen := home[h.value]; seen && other != at.shard {
			c.report.add("I5", "%s is in shard %d and in shard %d", h.value, min(other, at.shard), max(other, at.shard))
		}
		home[h.value] = at.shard
	}
}

// reader checks that what a live consumer was given is contiguous and still there.
func (c *checker) reader(r *Reader) {
	who := fmt.Sprintf("shard %d read by %s", r.Shard, r.Name)
	c.sequence(who, r.Shard, r.Entries)
	names := c.replicas[r.Shard]
	for _, e := range r.Entries {
		h, stored := c.places[place{r.Shard, e.Seq}]
		switch {
		case !stored || h.copies != full(len(names)):
			c.report.add("I7", "%s: record %s (%s) was read and is now missing on %s", who, e.Seq, e.Value, missing(names, h.copies))
		case e.Value != h.value:
			c.report.add("I2", "%s: record %s was read as %s and is now %s", who, e.Seq, e.Value, h.value)
		}
	}
}

// ends checks that every shard is led and has all its replicas, at one tail.
func (c *checker) ends() {
	ended := make(map[uint32]bool, len(c.stream.Ends))
	for _, e := range c.stream.Ends {
		ended[e.Shard] = true
		if e.Leader == "" {
			c.report.add("I15", "shard %d has no leader", e.Shard)
		}
		if len(e.Tails) != c.stream.Replicas {
			c.report.add("I15", "shard %d has %d replicas instead of %d", e.Shard, len(e.Tails), c.stream.Replicas)
		}
		var high uint64
		for _, tail := range e.Tails {
			high = max(high, tail)
		}
		for node, tail := range e.Tails {
			if tail != high {
				c.report.add("I15", "shard %d on %s is at ordinal %d, behind %d", e.Shard, node, tail, high)
			}
		}
	}
	for _, sh := range c.stream.Shards {
		if !ended[sh.Number] {
			c.report.add("I15", "shard %d is not in the partition map", sh.Number)
		}
		if len(c.replicas[sh.Number]) != c.stream.Replicas {
			c.report.add("I15", "shard %d could be read from %d replicas instead of %d", sh.Number, len(c.replicas[sh.Number]), c.stream.Replicas)
		}
	}
}

// lineage checks that the open shards own each key once, that a closed shard ends where the map says, and that its
// children's records are later than all of its own.
func (c *checker) lineage() {
	byNumber := map[uint32]Shard{}
	var open []hashkey.Range
	for _, sh := range c.stream.Shards {
		byNumber[sh.Number] = sh
		if !sh.Closed {
			open = append(open, sh.Keys)
		}
	}
	if problem := Untiled(open); problem != "" {
		c.report.add("I10", "the open shards do not tile the key space: %s", problem)
	}
	for _, r := range c.stream.Copies {
		sh := byNumber[r.Shard]
		if n := len(r.Entries); n > 0 && sh.Closed {
			if last := r.Entries[n-1].Seq; last.Ordinal()+1 != sh.End || last.Millis() > sh.EndTime {
				c.report.add("I3", "shard %d on %s ends with %s, the map says before ordinal %d, at %d", r.Shard, r.Node, last, sh.End, sh.EndTime)
			}
		}
		for _, p := range sh.Parents {
			if parent := byNumber[p]; len(r.Entries) > 0 && r.Entries[0].Seq.Millis() <= parent.EndTime {
				c.report.add("I3", "shard %d on %s begins with %s, its parent %d ended at %d", r.Shard, r.Node, r.Entries[0].Seq, p, parent.EndTime)
			}
		}
	}
}

// Untiled says where ranges leave a gap or overlap, "" if they own each key once.
func Untiled(ranges []hashkey.Range) string {
	slices.SortFunc(ranges, func(a, b hashkey.Range) int { return a.Start.Compare(b.Start) })
	var next hashkey.Key
	for i, r := range ranges {
		if r.Start != next || (r.End == hashkey.Max) != (i == len(ranges)-1) {
			return fmt.Sprintf("after %d ranges %s follows, %s is next", i, r, next)
		}
		next = r.End.Next()
	}
	if len(ranges) == 0 {
		return "there are none"
	}
	return ""
}

// generations checks the order of each producer's records of a key over all shards, in the order of their sequence numbers.
func (c *checker) generations() {
	var all []Entry
	taken := map[uint32]bool{}
	for _, r := range c.stream.Copies {
		if !taken[r.Shard] {
			taken[r.Shard] = true
			all = append(all, r.Entries...)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return a.Seq.Compare(b.Seq) })
	type line struct{ producer, key uint32 }
	last := map[line]Entry{}
	sent := map[Value]Outcome{}
	for _, w := range c.stream.Writes {
		sent[w.Value] = w.Outcome
	}
	for _, e := range all {
		if o, ok := sent[e.Value]; !ok || o == Failed {
			continue // it should not be there at all, which I6 says
		}
		l := line{e.Value.Producer, e.Value.Key}
		if before := last[l]; e.Value.Counter < before.Value.Counter {
			c.report.add("I4", "%s at %s comes after %s at %s", e.Value, e.Seq, before.Value, before.Seq)
			continue
		}
		last[l] = e
	}
}

// full returns the mask with the n lowest bits set; all of none is a shard
// without replicas, in which nothing can be found.
func full(n int) uint64 {
	if n == 0 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

func missing(names []string, copies uint64) string {
	if len(names) == 0 {
		return "all replicas (none was read)"
	}
	var out []byte
	for i, name := range names {
		if copies&(1<<i) == 0 {
			if len(out) > 0 {
				out = append(out, ", "...)
			}
			out = append(out, name...)
		}
	}
	return string(out)
}
