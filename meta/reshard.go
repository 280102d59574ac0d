package meta

import (
	"iter"
	"slices"

	"github.com/levada-stream/levada/internal/hashkey"
)

// ReshardPhase is how far a reshard has come.
type ReshardPhase string

// The phases of a reshard.
//
// Preparing: the children exist, pending, and elect leaders; writers and readers notice nothing. It can still be aborted.
// Sealing: the parents are being closed through their own logs, and the children take over what they left. From
// here on there is only forward, since a parent may have refused a record already. Done and aborted are final.
const (
	ReshardPreparing ReshardPhase = "preparing"
	ReshardSealing   ReshardPhase = "sealing"
	ReshardDone      ReshardPhase = "done"
	ReshardAborted   ReshardPhase = "aborted"
)

// Active reports whether something is still to be done.
func (p ReshardPhase) Active() bool { return p == ReshardPreparing || p == ReshardSealing }

// Limits of reshards.
const (
	ReshardHistoryMax = 10_000 // how many the cluster remembers, those under way among them
	ReshardsActiveMax = 256    // how many may be under way
	ReshardParentsMax = 2
	ReshardChildMax   = 256 // children of one split
)

// A Reshard replaces shards by others that own the same keys: one by several, which is
// a split, or two neighbours by one, which is a merge. Immutable.
type Reshard struct {
	Number   uint64       `json:"number"` // position in the cluster's history, from 1
	ID       string       `json:"id"`     // chosen by who asked for it: the same again is the same reshard
	StreamID uint64       `json:"stream"`
	Parents  []uint32     `json:"parents"`  // ascending by their ranges
	Children []uint32     `json:"children"` // ascending by their ranges and numbers
	Phase    ReshardPhase `json:"phase"`
	Reason   string       `json:"reason,omitempty"` // who asked for it, and why
	Started  int64        `json:"started"`          // unix ms
	Sealing  int64        `json:"sealing,omitempty"`
	Ended    int64        `json:"ended,omitempty"`
	Failure  string       `json:"failure,omitempty"` // why it was aborted
}

// Split reports whether it is a split; if not, it is a merge.
func (r *Reshard) Split() bool { return len(r.Parents) == 1 }

// Reshards yields the reshards remembered, oldest first.
func (s *State) Reshards() iter.Seq[*Reshard] { return values(&s.reshards) }

// ActiveReshards yields the reshards that are under way, oldest first.
func (s *State) ActiveReshards() iter.Seq[*Reshard] {
	return func(yield func(*Reshard) bool) {
		for _, number := range s.active {
			if !yield(s.reshards.get(number)) {
				return
			}
		}
	}
}

// Reshard returns the reshard of that number.
func (s *State) Reshard(number uint64) (*Reshard, bool) {
	r := s.reshards.get(number)
	return r, r != nil
}

// ReshardByID returns the reshard that was begun with that id, if it is remembered.
func (s *State) ReshardByID(id string) (*Reshard, bool) {
	for r := range s.Reshards() {
		if r.ID == id {
			return r, true
		}
	}
	return nil, false
}

// ReshardOf returns the active reshard that has the shard as a parent or child, nil if there is none.
func (s *State) ReshardOf(streamID uint64, shard uint32) *Reshard {
	for r := range s.ActiveReshards() {
		if r.StreamID == streamID && (slices.Contains(r.Parents, shard) || slices.Contains(r.Children, shard)) {
			return r
		}
	}
	return nil
}

// Successors returns the shards that take over from a shard, or are meant to: none for one that no reshard is about.
func (s *State) Successors(sh *Shard) []uint32 {
	if len(sh.Children) > 0 {
		return sh.Children
	}
	if r := s.ReshardOf(sh.StreamID, sh.Number); r != nil && slices.Contains(r.Parents, sh.Number) {
		return r.Children
	}
	return nil
}

// putReshard stores a new version of a reshard and keeps the list of those under way.
func (t *txn) putReshard(r *Reshard) {
	t.next.reshards.set(t.edit, r.Number, r)
	i, listed := slices.BinarySearch(t.next.active, r.Number)
	switch {
	case r.Phase.Active() && !listed:
		t.next.active = slices.Insert(slices.Clone(t.next.active), i, r.Number)
	case !r.Phase.Active() && listed:
		t.next.active = slices.Delete(slices.Clone(t.next.active), i, i+1)
	}
	t.events.Streams = append(t.events.Streams, r.StreamID)
}

// forgetReshards lets the oldest that have ended go.
func (t *txn) forgetReshards() {
	for t.next.reshards.len() > ReshardHistoryMax {
		for number, r := range t.next.reshards.all() {
			if !r.Phase.Active() {
				t.next.reshards.remove(t.edit, number)
				break
			}
		}
	}
}

// abort gives a reshard up before its parents were touched: its children go, as if they had never been.
func (t *txn) abort(r *Reshard, why string, time int64) {
	t.dropShards(r.StreamID, r.Children)
	done := *r
	done.Phase, done.Ended, done.Failure = ReshardAborted, time, why
	t.putReshard(&done)
}

// dropShards takes shards out of a live stream. Their groups count as deleted from now on.
func (t *txn) dropShards(streamID uint64, numbers []uint32) {
	st := t.stream(streamID)
	for _, number := range numbers {
		sh := st.Shard(number)
		t.count(sh, -1)
		st.shards.remove(t.edit, uint64(number))
		st.gone = addRange(st.gone, NumberRange{First: uint64(number), Count: 1})
		t.events.Groups = append(t.events.Groups, sh.Group)
	}
	t.forgetSpans(st)
	t.events.Streams = append(t.events.Streams, streamID)
}

// forgetSpans lets the spans of a stream, which this transaction may change, go whose shards are all gone: their
// groups join those that are forgotten, so that a stream which is resharded for years does not grow.
func (t *txn) forgetSpans(st *Stream) {
	over := func(g GroupSpan) bool { return hasRange(st.gone, uint64(g.Number), g.Count) }
	if !slices.ContainsFunc(st.groups, over) {
		return
	}
	for _, g := range st.groups {
		if over(g) {
			t.next.forgotten = addRange(t.next.forgotten, NumberRange{g.First, g.Count})
		}
	}
	t.next.spans = slices.DeleteFunc(slices.Clone(t.next.spans), func(s streamSpan) bool { return s.stream == st.ID && over(s.GroupSpan) })
	st.groups = slices.DeleteFunc(slices.Clone(st.groups), over)
}

// Gone reports whether the stream had a shard of that number that is gone: its records
// expired after it was closed, or the reshard that made it was given up.
func (s *Stream) Gone(number uint32) bool {
	return inRanges(s.gone, uint64(number))
}

// ranges returns what the children own: the parents' keys, cut at each of the bounds, which are the
// first keys of all children but the first. The error names the field at fault.
func ranges(keys hashkey.Range, bounds []hashkey.Key) ([]hashkey.Range, error) {
	out := []hashkey.Range{keys}
	for _, b := range bounds {
		last := &out[len(out)-1]
		if b.Compare(last.Start) <= 0 || b.Compare(last.End) > 0 {
			return nil, limitError("bounds", 0, "a shard with keys %s cannot be split at %s: the first key of each child but the first must lie above the one before, inside of the range", keys, b)
		}
		end := last.End
		last.End = b.Prev()
		out = append(out, hashkey.Range{Start: b, End: end})
	}
	return out, nil
}
