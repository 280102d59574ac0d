package meta

import (
	"slices"
	"sort"
)

// A NumberRange is a run of numbers, First to First+Count-1.
type NumberRange struct {
	First uint64 `json:"first"`
	Count uint64 `json:"count"`
}

// forgetTombstones lets the tombstones of the streams that were deleted first go, until
// no more than most are left. That their groups were deleted stays known, as
// ranges of groups that join where nothing lives between them: there are never more of these
// than live streams and tombstones have runs of groups, and one.
func (t *txn) forgetTombstones(most int) {
	for t.next.deleted.len() > most {
		var oldest *Stream
		for _, st := range t.next.deleted.all() {
			if oldest == nil || st.Deleted < oldest.Deleted {
				oldest = st
			}
		}
		for _, g := range oldest.groups {
			t.next.forgotten = addRange(t.next.forgotten, NumberRange{g.First, g.Count})
		}
		t.next.spans = slices.DeleteFunc(slices.Clone(t.next.spans), func(s streamSpan) bool { return s.stream == oldest.ID })
		t.next.deleted.remove(t.edit, oldest.ID)
	}
}

// addRange returns a new list with r in its place, joined with its neighbours.
func addRange(ranges []NumberRange, r NumberRange) []NumberRange {
	at := sort.Search(len(ranges), func(i int) bool { return ranges[i].First > r.First })
	next := slices.Insert(slices.Clone(ranges), at, r)
	if at+1 < len(next) && r.First+r.Count == next[at+1].First {
		next[at].Count += next[at+1].Count
		next = slices.Delete(next, at+1, at+2)
	}
	if at > 0 && next[at-1].First+next[at-1].Count == next[at].First {
		next[at-1].Count += next[at].Count
		next = slices.Delete(next, at, at+1)
	}
	return next
}

// groupForgotten reports whether the group belonged to a deleted stream whose tombstone is gone.
func (s *State) groupForgotten(group uint64) bool {
	return inRanges(s.forgotten, group)
}

// inRanges reports whether one of the ranges, which ascend, has the number.
func inRanges(ranges []NumberRange, number uint64) bool { return hasRange(ranges, number, 1) }

// hasRange reports whether one of the ranges, which ascend, has all of count numbers from first on.
func hasRange(ranges []NumberRange, first, count uint64) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].First > first })
	return i > 0 && first+count <= ranges[i-1].First+ranges[i-1].Count
}

// streamForgotten reports whether a stream of that id was deleted and its tombstone is gone.
func (s *State) streamForgotten(id uint64) bool {
	_, known := s.StreamByID(id)
	return id > 0 && id < s.nextStream && !known
}

// checkForgotten wants the forgotten groups in order, apart from each other and from all that is known.
func (s *State) checkForgotten() error {
	next := uint64(0)
	spans := s.spans
	for _, r := range s.forgotten {
		if r.First <= next || r.Count == 0 || r.First+r.Count < r.First || r.First+r.Count > s.nextGroup {
			return errGroupID // also where two ranges touch: they are one
		}
		next = r.First + r.Count
		for len(spans) > 0 && spans[0].First+spans[0].Count <= r.First {
			spans = spans[1:]
		}
		if len(spans) > 0 && spans[0].First < next {
			return errGroupID
		}
	}
	return nil
}
