package raftfsm

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/journal"
)

// EntryLog is the node's journal as this package uses it; *journal.Journal is one.
// Slices given to Append are kept and never modified; so are those that Get returns.
type EntryLog interface {
	// Append stores entries of a group, contiguous with what it has, and with them the commit
	// index. They are durable when it returns.
	Append(group uint64, entries []journal.Entry, commit uint64) error
	// AppendLater is Append that does not wait: then is told once, in the order of the calls,
	// and must not block.
	AppendLater(group uint64, entries []journal.Entry, commit uint64, then func(error))
	// TruncateSuffix durably drops the entries at and above from.
	TruncateSuffix(group, from uint64) error
	// TruncatePrefix drops the entries up to and including upTo, some time.
	TruncatePrefix(group, upTo uint64) error
	// DeleteGroup durably forgets a group.
	DeleteGroup(group uint64) error
	// Bounds returns the first and last index, 0 and 0 if there are none.
	Bounds(group uint64) (first, last uint64)
	// Commit returns the commit index stored last, at most the last index.
	Commit(group uint64) uint64
	// Get reads one entry; journal.ErrNotFound outside the bounds.
	Get(group, index uint64, e *journal.Entry) error
	// Groups lists the groups that have anything.
	Groups() []uint64
}

const (
	// restoreEntriesMax and restoreBytesMax bound what the library applies before it has started
	// (see GetCommitIndex).
	restoreEntriesMax = 2048
	restoreBytesMax   = 16 << 20
)

// logStore is one group's part of the journal: the library's raft.LogStore.
type logStore struct {
	log   EntryLog
	group uint64
	// snapshot returns index and term of the group's snapshot, 0 if there is none.
	snapshot func() (index, term uint64)
	// fatal is told of a failure after which the log must not be used; it must not block.
	fatal func(error)

	staged  atomic.Uint64
	running atomic.Bool // NewRaft is done: its goroutines use the store
	leading atomic.Bool // the instance is leader
	early   early
	sums    sums
}

var (
	_ EntryLog                    = (*journal.Journal)(nil)
	_ raft.CommitTrackingLogStore = (*logStore)(nil)
	_ raft.MonotonicLogStore      = (*logStore)(nil)
)

// IsMonotonic implements raft.MonotonicLogStore: the journal takes no gaps.
func (s *logStore) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) {
	first, _ := s.log.Bounds(s.group)
	return first, nil
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) {
	tail := s.early.last() // before the bounds: what is settled in between is in them
	_, last := s.log.Bounds(s.group)
	return max(last, tail), nil
}

// entry reads one entry, durable or not.
func (s *logStore) entry(index uint64, into *journal.Entry) error {
	if s.early.get(index, into) {
		return nil
	}
	return s.log.Get(s.group, index, into)
}

// GetLog implements raft.LogStore. The library panics on most errors, and never checks whether
// the entry at its snapshot's index is still there before it compares terms with it: a
// follower that installed a snapshot would refuse a leader whose log ends exactly there, for
// ever. So a follower sees that entry, of which only index and term are asked. A leader does
// not, since it would send it.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	var e journal.Entry
	err := s.entry(index, &e)
	if err == nil {
		*l = raft.Log{Index: e.Index, Term: e.Term, Type: raft.LogType(e.Type), Data: e.Data, Extensions: e.Extensions}
		if e.AppendedAt != 0 {
			l.AppendedAt = time.Unix(0, e.AppendedAt)
		}
		return nil
	}
	if errors.Is(err, journal.ErrNotFound) {
		if at, term := s.snapshot(); index == at && at != 0 && !s.leading.Load() {
			*l = raft.Log{Index: at, Term: term, Type: raft.LogNoop}
			return nil
		}
		return raft.ErrLogNotFound
	}
	err = fmt.Errorf("read entry %d of group %d: %w", index, s.group, err)
	if s.running.Load() {
		s.fatal(err)
		// The caller is one of the library's goroutines, most of which panic on this error.
		// Ending it is what its shutdown does too: the group stops, the process lives.
		runtime.Goexit()
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. A failure is fatal: the library has a wrong idea of its log after it.
// A leader's commands may not be durable yet when it returns: see early.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	entries := make([]journal.Entry, len(logs))
	for i, l := range logs {
		entries[i] = journal.Entry{Index: l.Index, Term: l.Term, Type: uint8(l.Type), Data: l.Data, Extensions: l.Extensions}
		if !l.AppendedAt.IsZero() {
			entries[i].AppendedAt = l.AppendedAt.UnixNano()
		}
		if len(l.Data) >= sumMin {
			entries[i].Sum, entries[i].Summed = s.sums.of(l), true
		}
	}
	if s.leading.Load() && s.running.Load() && s.storeEarly(entries) {
		return nil
	}
	if err := s.log.Append(s.group, entries, s.staged.Load()); err != nil {
		s.fatal(fmt.Errorf("append to group %d: %w", s.group, err))
		return err
	}
	return nil
}

// DeleteRange implements raft.LogStore: a prefix, a suffix or everything. When a prefix goes
// after a snapshot its last entry stays, so that its term can be compared.
func (s *logStore) DeleteRange(low, high uint64) error {
	tail := s.early.last()
	first, last := s.log.Bounds(s.group)
	last = max(last, tail) // the journal does not know of these yet; a cut comes behind them in its queue
	if last == 0 || high < first || low > last {
		return nil
	}
	var err error
	switch {
	case high >= last:
		// Also when everything goes: unlike a prefix's, this truncation is durable on return,
		// and what follows may be far away.
		err = s.log.TruncateSuffix(s.group, max(low, first))
	case low <= first:
		if high == first {
			return nil
		}
		err = s.log.TruncatePrefix(s.group, high-1)
	default:
		return fmt.Errorf("delete %d to %d from the middle of %d to %d", low, high, first, last)
	}
	if err != nil {
		s.fatal(fmt.Errorf("truncate group %d: %w", s.group, err))
	}
	return err
}

// StageCommitIndex implements raft.CommitTrackingLogStore.
func (s *logStore) StageCommitIndex(index uint64) error {
	s.staged.Store(index)
	return nil
}

// GetCommitIndex implements raft.CommitTrackingLogStore. It returns less than is known where
// the library could not bear more: it queues the entries up to here before anything takes them
// (more than 128 batches block for ever, and all are in memory at once), and it does not look
// for configurations among them, so the first one must lie above.
func (s *logStore) GetCommitIndex() (uint64, error) {
	commit := s.log.Commit(s.group)
	first, last := s.log.Bounds(s.group)
	applied, _ := s.snapshot()
	bytes := 0
	for i := max(applied+1, first); i <= min(commit, last, applied+restoreEntriesMax); i++ {
		var e journal.Entry
		if err := s.log.Get(s.group, i, &e); err != nil {
			return 0, fmt.Errorf("read entry %d of group %d: %w", i, s.group, err)
		}
		bytes += len(e.Data)
		if raft.LogType(e.Type) == raft.LogConfiguration || bytes > restoreBytesMax {
			break
		}
		applied = i
	}
	return applied, nil
}

// reconcile makes the journal fit the group's snapshot before the library sees either. A crash
// can leave a log that a newly installed snapshot has made obsolete.
func (s *logStore) reconcile() error {
	first, last := s.log.Bounds(s.group)
	at, term := s.snapshot()
	if last == 0 {
		return nil
	}
	if first > at+1 {
		return fmt.Errorf("entries %d to %d of group %d do not join its snapshot at %d", first, last, s.group, at)
	}
	obsolete := last < at
	if at >= first && at <= last {
		var e journal.Entry
		if err := s.log.Get(s.group, at, &e); err != nil {
			return fmt.Errorf("read entry %d of group %d: %w", at, s.group, err)
		}
		obsolete = e.Term != term // the log took another course and was never committed beyond it
	}
	if !obsolete {
		return nil
	}
	return s.log.TruncateSuffix(s.group, first)
}
