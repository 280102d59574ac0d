package meta

import "iter"

// RecentReshards yields the reshards remembered with numbers below before, the latest first; 0 stands for all.
func (s *State) RecentReshards(before uint64) iter.Seq[*Reshard] {
	return func(yield func(*Reshard) bool) {
		if before == 0 || before > s.nextReshard {
			before = s.nextReshard
		}
		// Those that are under way may be older than the rest, with gaps between.
		for number, left := before-1, s.reshards.len(); number > 0 && left > 0; number-- {
			if r := s.reshards.get(number); r != nil {
				if left--; !yield(r) {
					return
				}
			}
		}
	}
}

// ReshardsBegun returns how many reshards were ever begun.
func (s *State) ReshardsBegun() uint64 { return s.nextReshard - 1 }

// ScalingEvents returns how many scaling events there ever were.
func (s *State) ScalingEvents() uint64 { return s.nextScaling - 1 }

// RecentFailovers yields up to n failovers, the latest first.
func (s *State) RecentFailovers(n int) iter.Seq[*Failover] {
	return func(yield func(*Failover) bool) {
		for number := s.nextFailover - 1; number > 0 && n > 0; number, n = number-1, n-1 {
			f := s.failovers.get(number)
			if f == nil || !yield(f) {
				return
			}
		}
	}
}
