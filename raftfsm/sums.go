package raftfsm

import (
	"hash/crc32"
	"sync"
	"unsafe"

	"github.com/hashicorp/raft"
)

const (
	// sumMin is the size from which an entry's checksum is worth being remembered.
	sumMin = 16 << 10
	// sumSlots is how many are: more than are under way in a group.
	sumSlots = 64
)

// sums remembers the checksums of a group's newest large entries, so that a node reads their bytes once: a
// leader for its journal and for each follower, a follower for the frame and for its journal. Each was
// computed here, from the bytes in this node's memory that it is asked for again: index and term name an entry's
// content in Raft, but a peer that is not what it seems could send another under the same.
// The zero value is ready for use.
type sums struct {
	mu    sync.Mutex
	slots []sumSlot // by index; nil until there was a large entry
}

type sumSlot struct {
	index, term uint64
	at          uintptr // address of the data; it does not keep them in memory
	size        int
	sum         uint32
}

func slotOf(l *raft.Log, sum uint32) sumSlot {
	return sumSlot{l.Index, l.Term, uintptr(unsafe.Pointer(unsafe.SliceData(l.Data))), len(l.Data), sum}
}

// put remembers the CRC32C of an entry's data.
func (s *sums) put(l *raft.Log, sum uint32) {
	if len(l.Data) < sumMin {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]sumSlot, sumSlots)
	}
	s.slots[l.Index%sumSlots] = slotOf(l, sum)
}

// get returns the CRC32C of an entry's data, if it is known.
func (s *sums) get(l *raft.Log) (uint32, bool) {
	if len(l.Data) < sumMin {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		return 0, false
	}
	at := s.slots[l.Index%sumSlots]
	return at.sum, at == slotOf(l, at.sum)
}

// of returns the CRC32C of an entry's data, which it remembers.
func (s *sums) of(l *raft.Log) uint32 {
	sum, known := s.get(l)
	if !known {
		sum = crc32.Checksum(l.Data, castagnoli)
		s.put(l, sum)
	}
	return sum
}
