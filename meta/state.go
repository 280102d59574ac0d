package meta

import (
	"iter"
	"slices"
	"sort"

	"github.com/levada-stream/levada/internal/hashkey"
)

// FailoverHistoryMax is how many failovers the cluster remembers; older ones go first.
const FailoverHistoryMax = 10_000

// State is the control state at one version. Immutable: any number of readers
// may use it without locks, and what it returns must not be changed.
type State struct {
	version      uint64
	cluster      Cluster
	nodes        []*Node     // ascending by id; retired ones stay for ever
	tallies      []nodeTally // of nodes, at the same indexes; follows from the live streams
	nextStream   uint64      // next stream id; ids start at 1
	nextGroup    uint64      // next group id; ids start at 1
	nextFailover uint64      // next number of a failover; numbers start at 1
	streams      trie[Stream]
	deleted      trie[Stream]  // tombstones, so that nodes which were away delete too
	names        []*nameEntry  // live streams, ascending by name
	spans        []streamSpan  // ascending by First; live streams and tombstones
	forgotten    []NumberRange // ascending, no two touch; groups of deleted streams without a tombstone
	failovers    trie[Failover]
	nextReshard  uint64 // next number of a reshard; numbers start at 1
	reshards     trie[Reshard]
	active       []uint64 // numbers of the reshards under way, ascending
	nextScaling  uint64   // next number of a scaling event; numbers start at 1
	scalings     trie[ScalingEvent]
	documents    Documents

	documentBytes int // of the values of all documents; follows from them
}

// nameEntry never changes, so that a stream's new version leaves the index alone.
type nameEntry struct {
	name string
	id   uint64
}

type streamSpan struct {
	GroupSpan
	stream uint64
}

func newState() *State {
	return &State{
		cluster:    Cluster{Settings: ClusterSettings{DeadGraceSeconds: DeadGraceSecondsDefault}},
		nextStream: 1, nextGroup: 1, nextFailover: 1, nextReshard: 1, nextScaling: 1,
	}
}

// Version is the log index of the last command applied, 0 if there was none.
// A node that has it has seen all commands up to that index.
func (s *State) Version() uint64 { return s.version }

// Cluster returns the cluster's identity and settings; its ID is "" before InitCluster.
func (s *State) Cluster() Cluster { return s.cluster }

// Nodes returns every node ever registered, retired ones too, ascending by id.
func (s *State) Nodes() []*Node { return s.nodes }

// Node returns the node of that id.
func (s *State) Node(id NodeID) (*Node, bool) {
	i, ok := slices.BinarySearchFunc(s.nodes, id, compareNode)
	if !ok {
		return nil, false
	}
	return s.nodes[i], true
}

func compareNode(n *Node, id NodeID) int {
	switch {
	case n.ID < id:
		return -1
	case n.ID > id:
		return 1
	}
	return 0
}

// joined returns the number of nodes that take part.
func (s *State) joined() int {
	count := 0
	for _, n := range s.nodes {
		if n.State == NodeJoined {
			count++
		}
	}
	return count
}

// Streams yields the live streams in ascending order of their ids.
func (s *State) Streams() iter.Seq[*Stream] { return values(&s.streams) }

// StreamsByName yields the live streams whose names come after the given one,
// ascending; all of them after "".
func (s *State) StreamsByName(after string) iter.Seq[*Stream] {
	return func(yield func(*Stream) bool) {
		from, found := s.nameIndex(after)
		if found {
			from++
		}
		for _, e := range s.names[from:] {
			if !yield(s.streams.get(e.id)) {
				return
			}
		}
	}
}

// DeletedStreams yields the tombstones in ascending order of their ids.
func (s *State) DeletedStreams() iter.Seq[*Stream] { return values(&s.deleted) }

// Failovers yields the failovers remembered, oldest first.
func (s *State) Failovers() iter.Seq[*Failover] { return values(&s.failovers) }

func values[V any](t *trie[V]) iter.Seq[*V] {
	return func(yield func(*V) bool) {
		for _, v := range t.all() {
			if !yield(v) {
				return
			}
		}
	}
}

// StreamCount returns the number of live streams.
func (s *State) StreamCount() int { return s.streams.len() }

// StreamByName returns the live stream of that name.
func (s *State) StreamByName(name string) (*Stream, bool) {
	i, ok := s.nameIndex(name)
	if !ok {
		return nil, false
	}
	return s.streams.get(s.names[i].id), true
}

func (s *State) nameIndex(name string) (int, bool) {
	i := sort.Search(len(s.names), func(i int) bool { return s.names[i].name >= name })
	return i, i < len(s.names) && s.names[i].name == name
}

// StreamByID returns the stream of that id, also one that is deleting.
func (s *State) StreamByID(id uint64) (*Stream, bool) {
	if st := s.streams.get(id); st != nil {
		return st, true
	}
	st := s.deleted.get(id)
	return st, st != nil
}

// Shard returns a shard of a live stream.
func (s *State) Shard(streamID uint64, number uint32) (*Shard, bool) {
	st := s.streams.get(streamID)
	if st == nil {
		return nil, false
	}
	sh := st.Shard(number)
	return sh, sh != nil
}

// ShardForHash returns the open shard of a live stream that owns key.
func (s *State) ShardForHash(streamID uint64, key hashkey.Key) (*Shard, bool) {
	st := s.streams.get(streamID)
	if st == nil {
		return nil, false
	}
	sh := st.ShardForHash(key)
	return sh, sh != nil
}

// ShardByGroup returns the shard of a live stream whose Raft group that is.
func (s *State) ShardByGroup(group uint64) (*Shard, bool) {
	span := s.span(group)
	if span == nil {
		return nil, false
	}
	return s.Shard(span.stream, span.Number+uint32(group-span.First))
}

// GroupDeleted reports whether the group belonged to a stream that was deleted, or to a
// shard that is gone. False also for a group this state never heard of: absence is not deletion.
func (s *State) GroupDeleted(group uint64) bool {
	if s.groupForgotten(group) {
		return true
	}
	span := s.span(group)
	if span == nil {
		return false
	}
	st, ok := s.StreamByID(span.stream)
	return ok && (st.State == StreamDeleting || st.Gone(span.Number+uint32(group-span.First)))
}

func (s *State) span(group uint64) *streamSpan {
	i := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].First > group })
	if i == 0 || group >= s.spans[i-1].First+s.spans[i-1].Count {
		return nil
	}
	return &s.spans[i-1]
}
