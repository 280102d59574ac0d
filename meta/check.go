package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/levada-stream/levada/internal/hashkey"
)

func compareName(a, b *nameEntry) int { return strings.Compare(a.name, b.name) }

func compareSpan(a, b streamSpan) int {
	switch {
	case a.First < b.First:
		return -1
	case a.First > b.First:
		return 1
	}
	return 0
}

var (
	errNodeOrder   = errors.New("nodes are not in ascending order")
	errStreamID    = errors.New("a stream id is not below the next one, or is used twice")
	errGroupID     = errors.New("a group id is not below the next one, or is used twice")
	errNames       = errors.New("two streams have one name")
	errNumbers     = errors.New("a shard number or group does not fit the stream")
	errTiling      = errors.New("the open shards do not tile the key space")
	errStreamState = errors.New("the state of a stream does not fit its shards")
	errShardState  = errors.New("the state of a shard does not fit its leader, members or relatives")
	errTallies     = errors.New("the count of replicas per node is wrong")
	errGoal        = errors.New("a goal is out of bounds")
	errScaling     = errors.New("the scaling policies or events are not in order")
	errReshards    = errors.New("the reshards do not fit the shards they are about")
	errFailovers   = errors.New("the failover history is not in order")
)

// check returns an error if the state breaks an invariant. It is for states
// that came from outside, and for tests; commands keep the invariants.
func (s *State) check() error {
	for i, n := range s.nodes {
		if i > 0 && s.nodes[i-1].ID >= n.ID {
			return errNodeOrder
		}
	}
	if err := s.checkSpans(); err != nil {
		return err
	}
	if err := s.checkForgotten(); err != nil {
		return err
	}
	if !slices.Equal(s.tallies, s.recount()) {
		return errTallies
	}
	if len(s.names) != s.streams.len() {
		return errStreamID
	}
	for i, e := range s.names {
		st := s.streams.get(e.id)
		switch {
		case i > 0 && s.names[i-1].name >= e.name:
			return errNames
		case st == nil || st.Name != e.name:
			return errStreamID
		}
	}
	if s.documentBytes != s.sumDocuments() || s.documentBytes > DocumentBytesAllMax {
		return errDocuments
	}
	if err := s.documents.check(s.version); err != nil {
		return err
	}
	for id, st := range s.streams.all() {
		if err := st.check(); err != nil {
			return fmt.Errorf("stream %d: %w", id, err)
		}
		if err := st.documents.check(s.version); err != nil {
			return fmt.Errorf("stream %d: %w", id, err)
		}
		if st.ID != id || id >= s.nextStream || s.deleted.get(id) != nil {
			return errStreamID
		}
	}
	for id, st := range s.deleted.all() {
		if st.ID != id || id >= s.nextStream {
			return errStreamID
		}
		if st.State != StreamDeleting || st.shards.len() != 0 || len(st.open) != 0 {
			return errStreamState
		}
	}
	if err := s.checkReshards(); err != nil {
		return err
	}
	if err := s.checkScaling(); err != nil {
		return err
	}
	return s.checkFailovers()
}

// checkScaling wants the history without gaps, and the policies complete.
func (s *State) checkScaling() error {
	if s.nextScaling == 0 || uint64(s.scalings.len()) != min(s.nextScaling-1, ScalingHistoryMax) {
		return errScaling
	}
	for number, e := range s.scalings.all() {
		if e.Number != number || number == 0 || number >= s.nextScaling || !e.Kind.valid() {
			return errScaling
		}
	}
	for st := range s.Streams() {
		if st.scaling != nil && st.scaling.Validate() != nil || len(st.salted) > SaltedKeysMax {
			return errScaling
		}
		for i, k := range st.salted {
			if k.Parts < 2 || k.Parts > SaltPartsMax || i > 0 && st.salted[i-1].Key.Compare(k.Key) >= 0 {
				return errScaling
			}
		}
	}
	return nil
}

// ascendApart reports whether ranges ascend and do not touch, below a bound.
func ascendApart(ranges []NumberRange, bound uint64) bool {
	next := uint64(0)
	for i, r := range ranges {
		if r.Count == 0 || i > 0 && r.First <= next || r.First+r.Count < r.First || r.First+r.Count > bound {
			return false
		}
		next = r.First + r.Count
	}
	return true
}

// checkReshards wants those under way to fit the shards they are about, and each pending shard to belong to one.
func (s *State) checkReshards() error {
	if s.nextReshard == 0 || s.reshards.len() > ReshardHistoryMax {
		return errReshards
	}
	var active []uint64
	pending := 0
	taken := map[[2]uint64]bool{} // stream and shard
	for number, r := range s.reshards.all() {
		if r.Number != number || number == 0 || number >= s.nextReshard || r.ID == "" || len(r.Parents) == 0 || len(r.Children) == 0 {
			return errReshards
		}
		if !r.Phase.Active() {
			if r.Phase != ReshardDone && r.Phase != ReshardAborted {
				return errReshards
			}
			continue
		}
		active = append(active, number)
		st := s.streams.get(r.StreamID)
		if st == nil {
			return errReshards
		}
		for _, n := range r.Parents {
			if sh := st.Shard(n); sh == nil || sh.State != ShardOpen || taken[[2]uint64{st.ID, uint64(n)}] {
				return errReshards
			}
			taken[[2]uint64{st.ID, uint64(n)}] = true
		}
		for _, n := range r.Children {
			if sh := st.Shard(n); sh == nil || sh.State != ShardPending || !slices.Equal(sh.Parents, r.Parents) {
				return errReshards
			}
		}
		if !st.replaces(r) {
			return errReshards
		}
		pending += len(r.Children)
	}
	for st := range s.Streams() {
		for sh := range st.Shards() {
			if sh.State == ShardPending {
				pending--
			}
		}
	}
	if pending != 0 || !slices.Equal(active, s.active) {
		return errReshards
	}
	return nil
}

// replaces reports whether the parents of a reshard are neighbours, and its children have the same keys in the same order.
func (st *Stream) replaces(r *Reshard) bool {
	var keys hashkey.Range
	for i, n := range r.Parents {
		sh := st.Shard(n)
		if i > 0 && (keys.End == hashkey.Max || keys.End.Next() != sh.Range.Start) {
			return false
		} else if i == 0 {
			keys.Start = sh.Range.Start
		}
		keys.End = sh.Range.End
	}
	next := keys.Start
	for i, n := range r.Children {
		sh := st.Shard(n)
		if sh.Range.Start != next || sh.Range.End.Compare(next) < 0 || (sh.Range.End == keys.End) != (i == len(r.Children)-1) {
			return false
		}
		next = sh.Range.End.Next()
	}
	return len(r.Parents) <= ReshardParentsMax && len(r.Children) <= ReshardChildMax
}

func (s *State) checkSpans() error {
	next, spans := uint64(1), 0
	for _, span := range s.spans {
		if span.First < next || span.Count == 0 || span.First+span.Count < span.First {
			return errGroupID
		}
		next = span.First + span.Count
		st, ok := s.StreamByID(span.stream)
		if !ok || uint64(span.Number)+span.Count > uint64(st.next) {
			return errNumbers
		}
	}
	if next > s.nextGroup {
		return errGroupID
	}
	for _, all := range []*trie[Stream]{&s.streams, &s.deleted} {
		for _, st := range all.all() {
			spans += len(st.groups)
		}
	}
	if spans != len(s.spans) {
		return errNumbers
	}
	return nil
}

func (s *State) checkFailovers() error {
	if s.nextFailover == 0 || s.failovers.len() > FailoverHistoryMax {
		return errFailovers
	}
	for number, f := range s.failovers.all() {
		if f.Number != number || number == 0 || number >= s.nextFailover || number+FailoverHistoryMax < s.nextFailover {
			return errFailovers
		}
	}
	return nil
}

// check returns an error if a live stream breaks an invariant.
func (st *Stream) check() error {
	unled, next, gone := 0, uint64(0), 0
	// Between spans, and after the last, are shards that are gone with their spans.
	skip := func(to uint64) bool {
		if to < next || to > next && !hasRange(st.gone, next, to-next) {
			return false
		}
		gone, next = gone+int(to-next), to
		return true
	}
	for _, g := range st.groups {
		if !skip(uint64(g.Number)) {
			return errNumbers
		}
		for i := range g.Count {
			sh := st.Shard(g.Number + uint32(i))
			if st.Gone(g.Number + uint32(i)) {
				if sh != nil {
					return errNumbers
				}
				gone++
				next++
				continue
			}
			if sh == nil || sh.Group != g.First+i || sh.StreamID != st.ID || uint64(sh.Number) != next {
				return errNumbers
			}
			if !sh.consistent() {
				return errShardState
			}
			if sh.State == ShardOpen && sh.Term == 0 {
				unled++
			}
			next++
		}
	}
	if !skip(uint64(st.next)) || st.shards.len() != int(next)-gone || !ascendApart(st.gone, next) {
		return errNumbers
	}
	if g := st.goal; g != nil && (g.ID == "" || g.Shards < 1 || g.Shards > ShardsMax) || len(st.reachedGoals) > GoalsKept {
		return errGoal
	}
	if unled != st.unled || st.Deleted != 0 || (st.State != StreamActive && (st.State != StreamCreating || unled == 0)) {
		return errStreamState
	}
	return st.checkTiling()
}

// checkTiling wants the open shards to cover the key space without gap or overlap.
func (st *Stream) checkTiling() error {
	var want hashkey.Key
	for i, o := range st.open {
		sh := st.Shard(o.number)
		if sh == nil || sh.State != ShardOpen || sh.Range.Start != o.start || o.start != want || sh.Range.End.Compare(o.start) < 0 {
			return errTiling
		}
		last := i == len(st.open)-1
		if last != (sh.Range.End == hashkey.Max) {
			return errTiling
		}
		want = sh.Range.End
		if want.Lo++; want.Lo == 0 {
			want.Hi++
		}
	}
	open := 0
	for sh := range st.Shards() {
		if sh.State == ShardOpen {
			open++
		}
	}
	if open == 0 || open != len(st.open) {
		return errTiling
	}
	return nil
}

// consistent reports whether the fields of a shard fit each other.
func (s *Shard) consistent() bool {
	switch s.State {
	case ShardPending:
		if s.Closed != 0 || s.Opened != 0 || len(s.Children) != 0 || len(s.Parents) == 0 || s.End != (ShardEnd{}) {
			return false
		}
	case ShardOpen:
		if s.Closed != 0 || len(s.Children) != 0 || s.End != (ShardEnd{}) {
			return false
		}
	case ShardClosed:
		if len(s.Children) == 0 || s.Closed < s.Opened {
			return false
		}
	default:
		return false
	}
	sorted := slices.IsSortedFunc(s.Members, compareMember)
	return len(s.Initial) > 0 && len(s.Desired) > 0 && (s.Term == 0) == (s.Leader == "") &&
		(s.Members == nil) == (s.MembersTerm == 0) && s.MembersTerm <= s.Term && sorted
}
