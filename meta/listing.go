package meta

import "iter"

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
