package raftfsm

import (
	"fmt"
	"math"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/journal"
)

// early are the entries that a leader has handed to the journal and that are not durable yet.
//
// The library stores a leader's entries before it sends them to the followers, so that a write
// costs two syncs in a row. Raft does not ask for that: a leader may send while it writes, as
// long as it counts itself only once it has written (Ongaro, Consensus: Bridging Theory and
// Practice, 10.2.1). The library counts the leader as soon as StoreLogs returns, hence its
// commit index may run ahead of the truth: what it calls committed is on a majority only if the
// leader's own disk has it. So nothing leaves the leader before that:
//
//   - its state machine applies an entry, and so answers its proposer, only when it is durable here;
//   - the commit index that followers are sent ends before the first entry that is not;
//   - as a follower it confirms no append while such entries are left;
//   - a cut of the log counts them as part of it, and a group does not end, nor begin, before they are settled;
//   - only commands are stored this way: configurations take effect, and a new leader's first entry
//     counts, as the library believes.
//
// The commit index that the journal stores with an entry is true as soon as that entry is durable.
// A crash of the leader loses what nobody was told of.
type early struct {
	mu      sync.Mutex
	changed *sync.Cond // on mu; nil until there was an entry
	entries []journal.Entry
	bytes   int
	failed  error
}

// Beyond these a leader waits for its disk: what is sent ahead must stay in memory.
const (
	earlyEntriesMax = 256
	earlyBytesMax   = 16 << 20
)

// storeEarly hands entries to the journal and does not wait. It reports false, and has done nothing,
// if they have to be stored the ordinary way.
func (s *logStore) storeEarly(entries []journal.Entry) bool {
	bytes := 0
	for i := range entries {
		if raft.LogType(entries[i].Type) != raft.LogCommand {
			return false
		}
		bytes += len(entries[i].Data)
	}
	if !s.early.add(entries, bytes) {
		return false
	}
	s.log.AppendLater(s.group, entries, s.staged.Load(), func(err error) {
		s.early.settle(len(entries), bytes, err)
		if err != nil {
			s.fatal(fmt.Errorf("append to group %d: %w", s.group, err))
		}
	})
	return true
}

func (e *early) add(entries []journal.Entry, bytes int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil || len(e.entries)+len(entries) > earlyEntriesMax || e.bytes+bytes > earlyBytesMax {
		return false
	}
	if e.changed == nil {
		e.changed = sync.NewCond(&e.mu)
	}
	e.entries = append(e.entries, entries...)
	e.bytes += bytes
	return true
}

// settle takes the first n entries off: they are durable, or the journal has failed.
func (e *early) settle(n, bytes int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && e.failed == nil {
		e.failed = err
	}
	if e.failed == nil {
		clear(e.entries[:n])
		if e.entries = e.entries[n:]; len(e.entries) == 0 {
			e.entries = nil
		}
		e.bytes -= bytes
	}
	e.changed.Broadcast()
}

// get returns an entry that is not durable yet.
func (e *early) get(index uint64, into *journal.Entry) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.entries) == 0 || index < e.entries[0].Index || index-e.entries[0].Index >= uint64(len(e.entries)) {
		return false
	}
	*into = e.entries[index-e.entries[0].Index]
	return true
}

// wait returns when no entry up to index is left, or with the error that leaves some for ever.
func (e *early) wait(index uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.failed == nil && len(e.entries) > 0 && e.entries[0].Index <= index {
		e.changed.Wait()
	}
	if e.failed != nil && len(e.entries) > 0 && e.entries[0].Index <= index {
		return e.failed
	}
	return nil
}

// limit returns the last index of which nothing before is left.
func (e *early) limit() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.entries) == 0 {
		return math.MaxUint64
	}
	return e.entries[0].Index - 1
}

// last returns the last index of those that are left, 0 if none is.
func (e *early) last() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.entries) == 0 {
		return 0
	}
	return e.entries[len(e.entries)-1].Index
}
