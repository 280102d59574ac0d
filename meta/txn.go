package meta

import (
	"slices"

	"github.com/levada-stream/levada/internal/fault"
)

// Events says what a command changed, in ascending order without repetition.
type Events struct {
	Cluster bool
	Nodes   []NodeID
	Streams []uint64 // created, settings or state changed, deleted
	Groups  []uint64 // leader, desired replicas or members of a shard changed, or the shard is new
}

// Empty reports whether nothing changed.
func (e Events) Empty() bool {
	return !e.Cluster && len(e.Nodes) == 0 && len(e.Streams) == 0 && len(e.Groups) == 0
}

// A txn builds the next state. Dropping it undoes everything, because what the
// base shares is never changed in place.
type txn struct {
	next    *State
	edit    *edit
	events  Events
	tallied bool // the tallies of next are a copy of its own
}

func begin(base *State, version uint64) *txn {
	next := *base
	next.version = version
	return &txn{next: &next, edit: new(edit)}
}

// finish returns the new state and what changed.
func (t *txn) finish() (*State, Events) {
	slices.Sort(t.events.Nodes)
	slices.Sort(t.events.Streams)
	slices.Sort(t.events.Groups)
	t.events.Nodes = slices.Compact(t.events.Nodes)
	t.events.Streams = slices.Compact(t.events.Streams)
	t.events.Groups = slices.Compact(t.events.Groups)
	return t.next, t.events
}

// needCluster refuses everything before InitCluster.
func (t *txn) needCluster() error {
	if t.next.cluster.ID == "" {
		return fault.New(fault.Unavailable, "the cluster is not initialised yet; try again")
	}
	return nil
}

// putNode stores n, which nobody else may change any more.
func (t *txn) putNode(n *Node) {
	i, ok := slices.BinarySearchFunc(t.next.nodes, n.ID, compareNode)
	nodes := slices.Clone(t.next.nodes)
	if ok {
		nodes[i] = n
	} else {
		nodes = slices.Insert(nodes, i, n)
		t.next.tallies, t.tallied = slices.Insert(slices.Clone(t.next.tallies), i, nodeTally{}), true
	}
	t.next.nodes = nodes
	t.events.Nodes = append(t.events.Nodes, n.ID)
}

// stream returns a copy of the live stream that this transaction may change, nil if there is none.
func (t *txn) stream(id uint64) *Stream {
	st := t.next.streams.get(id)
	if st == nil || st.owner == t.edit {
		return st
	}
	c := *st
	c.owner = t.edit
	t.next.streams.set(t.edit, id, &c)
	return &c
}

// putShard stores a new version of a shard of a live stream and keeps the
// stream's state and the nodes' tallies in step.
func (t *txn) putShard(sh *Shard) {
	st := t.stream(sh.StreamID)
	old := st.Shard(sh.Number)
	led := func(s *Shard) bool { return s.State != ShardOpen || s.Term > 0 }
	if !led(old) {
		st.unled--
	}
	if !led(sh) {
		st.unled++
	}
	if !sameHolders(old, sh) {
		t.count(old, -1)
		t.count(sh, 1)
	}
	st.shards.set(t.edit, uint64(sh.Number), sh)
	t.events.Groups = append(t.events.Groups, sh.Group)
	if st.State == StreamCreating && st.unled == 0 {
		st.State = StreamActive
		t.events.Streams = append(t.events.Streams, st.ID)
	}
}

// addShards gives new shards their groups and puts them into a stream this
// transaction may change. Numbers and groups follow on from the last ones.
func (t *txn) addShards(st *Stream, shards []*Shard) {
	span := GroupSpan{First: t.next.nextGroup, Count: uint64(len(shards)), Number: st.next}
	// The stream has to miss leaders before the first shard is stored, or it would become active at once.
	for i, sh := range shards {
		sh.StreamID, sh.Number, sh.Group = st.ID, st.next+uint32(i), t.next.nextGroup+uint64(i)
		if sh.State == ShardOpen && sh.Term == 0 {
			st.unled++
		}
		st.shards.set(t.edit, uint64(sh.Number), sh)
		t.count(sh, 1)
		t.events.Groups = append(t.events.Groups, sh.Group)
	}
	st.next += uint32(len(shards))
	t.next.nextGroup += uint64(len(shards))
	st.groups = appendSpan(slices.Clip(st.groups), span)
	t.next.spans = appendStreamSpan(slices.Clip(t.next.spans), streamSpan{span, st.ID})
}

// appendSpan keeps spans as few as possible, so that equal histories give equal lists.
func appendSpan(spans []GroupSpan, next GroupSpan) []GroupSpan {
	if n := len(spans); n > 0 && spans[n-1].joins(next) {
		spans = slices.Clone(spans)
		spans[n-1].Count += next.Count
		return spans
	}
	return append(spans, next)
}

func appendStreamSpan(spans []streamSpan, next streamSpan) []streamSpan {
	if n := len(spans); n > 0 && spans[n-1].stream == next.stream && spans[n-1].joins(next.GroupSpan) {
		spans = slices.Clone(spans)
		spans[n-1].Count += next.Count
		return spans
	}
	return append(spans, next)
}

func (g GroupSpan) joins(next GroupSpan) bool {
	return g.First+g.Count == next.First && g.Number+uint32(g.Count) == next.Number
}

// addFailover appends to the history and lets the oldest entry go.
func (t *txn) addFailover(f Failover) {
	f.Number = t.next.nextFailover
	t.next.nextFailover++
	t.next.failovers.set(t.edit, f.Number, &f)
	if f.Number > FailoverHistoryMax {
		t.next.failovers.remove(t.edit, f.Number-FailoverHistoryMax)
	}
}
