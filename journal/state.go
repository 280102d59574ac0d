package journal

import (
	"fmt"
	"slices"
)

// location says where an entry's record is.
type location struct {
	segment *segment // nil only while a replay has not met the entry yet
	offset  uint32
	length  uint32
	cached  *cached // nil if the cache does not hold the entry
}

// group is what is known of one Raft group. Groups without entries are not kept.
//
// Invariants: 0 < first <= last; commit <= last; locations[i] is that of entry first+i.
type group struct {
	first, last, commit uint64
	locations           []location
}

// state is what the records of a journal add up to. Both replay and the live journal
// change it by the same methods, in the order of the records. Not safe for concurrent use.
type state struct {
	groups map[uint64]*group
	cache  cache
}

// groupEntriesMax bounds the entries of one group, so that a damaged number cannot ask for all memory.
const groupEntriesMax = 1 << 28

func newState(cacheBytes int64) *state {
	return &state{groups: make(map[uint64]*group), cache: cache{limit: cacheBytes}}
}

// find returns the location of an entry, nil if there is none.
func (s *state) find(id, index uint64) *location {
	g := s.groups[id]
	if g == nil || index < g.first || index > g.last {
		return nil
	}
	return &g.locations[index-g.first]
}

// append adds an entry that follows the last one, or any if the group is empty.
func (s *state) append(id, index uint64, at location) error {
	g := s.groups[id]
	switch {
	case index == 0:
		return fmt.Errorf("entry 0 of group %d", id)
	case g == nil:
		g = &group{first: index}
		s.groups[id] = g
	case index != g.last+1:
		return fmt.Errorf("entry %d of group %d follows entry %d", index, id, g.last)
	}
	g.last = index
	g.locations = append(g.locations, at)
	at.segment.hold(id, int64(at.length))
	return nil
}

// commit raises the commit index, to the last entry at most.
func (s *state) commit(id, commit uint64) {
	if g := s.groups[id]; g != nil {
		g.commit = max(g.commit, min(commit, g.last))
	}
}

// release forgets locations that are not live any more.
func (s *state) release(id uint64, locations []location) {
	for i := range locations {
		at := &locations[i]
		if at.segment != nil {
			at.segment.hold(id, -int64(at.length))
		}
		s.cache.drop(at.cached)
		*at = location{}
	}
}

// truncateSuffix removes the entries from an index on.
func (s *state) truncateSuffix(id, from uint64) {
	g := s.groups[id]
	switch {
	case g == nil || from > g.last:
		return
	case from <= g.first:
		s.remove(id)
		return
	}
	keep := from - g.first
	s.release(id, g.locations[keep:])
	g.locations = g.locations[:keep]
	g.last = from - 1
	g.commit = min(g.commit, g.last)
}

// truncatePrefix removes the entries before first; 0 removes all.
func (s *state) truncatePrefix(id, first uint64) {
	g := s.groups[id]
	switch {
	case g == nil || first != 0 && first <= g.first:
		return
	case first == 0 || first > g.last:
		s.remove(id)
		return
	}
	drop := first - g.first
	s.release(id, g.locations[:drop])
	g.locations = g.locations[drop:]
	if len(g.locations)*4 < cap(g.locations) { // the dropped part would stay in memory
		g.locations = slices.Clone(g.locations)
	}
	g.first = first
}

// remove forgets a group.
func (s *state) remove(id uint64) {
	if g := s.groups[id]; g != nil {
		s.release(id, g.locations)
		delete(s.groups, id)
	}
}

// move changes the place of an entry that was written again. An entry that is gone by now is ignored.
func (s *state) move(id, index uint64, to location) {
	at := s.find(id, index)
	if at == nil {
		return
	}
	if at.segment != nil {
		at.segment.hold(id, -int64(at.length))
	}
	to.cached = at.cached
	*at = to
	to.segment.hold(id, int64(to.length))
}

// table lists all groups, in the order of their ids.
func (s *state) table() []bounds {
	rows := make([]bounds, 0, len(s.groups))
	for id, g := range s.groups {
		rows = append(rows, bounds{group: id, first: g.first, last: g.last, commit: g.commit})
	}
	slices.SortFunc(rows, func(a, b bounds) int {
		if a.group < b.group {
			return -1
		}
		return 1
	})
	return rows
}

// load starts a replay from the table of the oldest segment; where the entries are is not known yet.
func (s *state) load(rows []bounds) error {
	for _, r := range rows {
		if r.first == 0 || r.last < r.first || r.commit > r.last || r.last-r.first >= groupEntriesMax {
			return fmt.Errorf("group %d has entries %d to %d, commit %d", r.group, r.first, r.last, r.commit)
		}
		if s.groups[r.group] != nil {
			return fmt.Errorf("group %d is listed twice", r.group)
		}
		s.groups[r.group] = &group{
			first: r.first, last: r.last, commit: r.commit,
			locations: make([]location, r.last-r.first+1),
		}
	}
	return nil
}

// agree compares a table with what the records before it added up to. Removals of prefixes
// may be in the table alone; anything else that differs means that records are missing.
func (s *state) agree(rows []bounds) error {
	listed := make(map[uint64]bool, len(rows))
	for _, r := range rows {
		if err := s.agreeGroup(r); err != nil {
			return err
		}
		listed[r.group] = true
	}
	for id := range s.groups {
		if !listed[id] {
			s.remove(id)
		}
	}
	return nil
}

// agreeGroup is agree for one group.
func (s *state) agreeGroup(r bounds) error {
	g := s.groups[r.group]
	if g == nil || r.first < g.first || r.last != g.last || r.first > r.last || r.commit > r.last {
		return fmt.Errorf("group %d has entries %d to %d, not what the rounds before say", r.group, r.first, r.last)
	}
	s.truncatePrefix(r.group, r.first)
	g.commit = r.commit
	return nil
}

// replay applies a record that was read from a segment.
func (s *state) replay(r record, at location) error {
	switch r.kind {
	case kindEntry:
		return s.append(r.group, r.entry.Index, at)
	case kindCommit:
		s.commit(r.group, r.a)
	case kindSuffix:
		s.truncateSuffix(r.group, r.a)
	case kindPrefix:
		s.truncatePrefix(r.group, r.a)
	case kindDelete:
		s.remove(r.group)
	case kindRelocate:
		return s.agreeGroup(bounds{group: r.group, first: r.a, last: r.b, commit: r.c})
	case kindRelocated:
		if s.find(r.group, r.entry.Index) == nil {
			return fmt.Errorf("entry %d of group %d was moved but is not there", r.entry.Index, r.group)
		}
		s.move(r.group, r.entry.Index, at)
	}
	return nil
}

// missing returns an error if a live entry was not met by the replay.
func (s *state) missing() error {
	for _, r := range s.table() {
		for i, at := range s.groups[r.group].locations {
			if at.segment == nil {
				return fmt.Errorf("entry %d of group %d is missing", r.first+uint64(i), r.group)
			}
		}
	}
	return nil
}
