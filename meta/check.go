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
	for id, st := range s.streams.all() {
		if err := st.check(); err != nil {
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
	return s.checkFailovers()
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
	unled, next := 0, uint64(0)
	for _, g := range st.groups {
		if uint64(g.Number) != next {
			return errNumbers
		}
		for i := range g.Count {
			sh := st.Shard(g.Number + uint32(i))
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
	if next != uint64(st.next) || st.shards.len() != int(next) {
		return errNumbers
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
	case ShardOpen:
		if s.Closed != 0 || len(s.Children) != 0 {
			return false
		}
	case ShardClosed:
		if len(s.Children) == 0 {
			return false
		}
	default:
		return false
	}
	sorted := slices.IsSortedFunc(s.Members, compareMember)
	return len(s.Initial) > 0 && len(s.Desired) > 0 && (s.Term == 0) == (s.Leader == "") &&
		(s.Members == nil) == (s.MembersTerm == 0) && s.MembersTerm <= s.Term && sorted
}
