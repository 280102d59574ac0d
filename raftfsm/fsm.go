package raftfsm

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// Entry is one command of the log.
type Entry struct {
	Index, Term uint64
	Head, Data  []byte // as ProposeWith got them; they belong to the log: keep them, do not modify them
}

// StateMachine is what a group replicates. Its methods are never called concurrently, except
// that Apply may run while a Snapshot persists.
type StateMachine interface {
	// Apply applies commands in order and returns one result for each: what Future.Wait returns
	// to its proposer. A result of type *StopError stops the replica.
	Apply(entries []Entry) []any
	// Snapshot captures the state as of the last Apply, quickly.
	Snapshot() (Snapshot, error)
	// Restore replaces the state. It may take long; the group follows no leader meanwhile.
	Restore(r io.Reader) error
}

// Checker is a StateMachine that can say whether it would take a snapshot. One that it would not
// never replaces a good one on disk.
type Checker interface {
	// Check reads a snapshot and changes nothing. It may run beside Apply.
	Check(r io.Reader) error
}

// Snapshot is a captured state.
type Snapshot interface {
	// Persist writes the state. It succeeds only if nothing before the snapshot's index is
	// needed from the log any more.
	Persist(w io.Writer) error
	// Release is called once, after Persist or instead of it.
	Release()
}

// StopError as a result of Apply stops the replica: it met a command that it cannot apply.
type StopError struct{ Err error }

// Error implements error.
func (e *StopError) Error() string { return "replica stopped: " + e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e *StopError) Unwrap() error { return e.Err }

// adapter makes a StateMachine the library's FSM. It counts what a snapshot would save.
type adapter struct {
	machine StateMachine
	stop    func(error) // told of a StopError; must not block
	due     func()      // told when a snapshot is due; must not block
	// enter waits for the right to write a snapshot; false if the group ends first. leave gives it back.
	enter func() bool
	leave func()

	position func() uint64 // index of the newest snapshot
	// durable waits until this replica's log is durable up to an index; nil where it always is.
	durable    func(index uint64) error
	entriesMax int64
	bytesMax   int64

	applied atomic.Uint64
	entries atomic.Int64 // since the last snapshot
	bytes   atomic.Int64
	stopped *StopError // used by the library's FSM goroutine only
}

var _ raft.BatchingFSM = (*adapter)(nil)

// Apply implements raft.FSM. The library calls ApplyBatch instead.
func (a *adapter) Apply(l *raft.Log) any { return a.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (a *adapter) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	commands := make([]Entry, 0, len(logs))
	bytes := 0
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			commands = append(commands, Entry{Index: l.Index, Term: l.Term, Head: l.Extensions, Data: l.Data})
			bytes += len(l.Data)
		}
	}
	if a.stopped == nil && a.durable != nil {
		if err := a.durable(logs[len(logs)-1].Index); err != nil {
			a.halt(&StopError{Err: fault.New(fault.Unavailable, "entry %d is not durable: %w", logs[len(logs)-1].Index, err)})
		}
	}
	if a.stopped == nil && len(commands) > 0 {
		a.apply(logs, commands, results)
	}
	if a.stopped != nil {
		for i := range results {
			results[i] = a.stopped
		}
		return results
	}
	a.applied.Store(logs[len(logs)-1].Index)
	entries, size := a.entries.Add(int64(len(logs))), a.bytes.Add(int64(bytes))
	if entries >= a.entriesMax || size >= a.bytesMax {
		a.due()
	}
	return results
}

// apply runs the commands and puts their results where their entries are in logs.
func (a *adapter) apply(logs []*raft.Log, commands []Entry, results []any) {
	answers := a.machine.Apply(commands)
	if len(answers) != len(commands) {
		a.halt(&StopError{Err: fmt.Errorf("state machine gave %d results for %d commands", len(answers), len(commands))})
		return
	}
	next := 0
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		if e, ok := answers[next].(*StopError); ok {
			a.halt(e)
			return
		}
		results[i] = answers[next]
		next++
	}
}

func (a *adapter) halt(e *StopError) {
	a.stopped = e
	a.stop(e)
}

// Snapshot implements raft.FSM.
func (a *adapter) Snapshot() (raft.FSMSnapshot, error) {
	if a.stopped != nil {
		return nil, a.stopped
	}
	s, err := a.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &persister{snapshot: s, adapter: a, entries: a.entries.Load(), bytes: a.bytes.Load()}, nil
}

// Restore implements raft.FSM.
func (a *adapter) Restore(r io.ReadCloser) error {
	if err := a.machine.Restore(r); err != nil {
		return err
	}
	a.applied.Store(a.position())
	a.entries.Store(0)
	a.bytes.Store(0)
	return nil
}

// persister makes a Snapshot the library's.
type persister struct {
	snapshot Snapshot
	adapter  *adapter
	entries  int64 // counted when the state was captured
	bytes    int64
}

// Persist implements raft.FSMSnapshot. The library closes the sink.
func (p *persister) Persist(sink raft.SnapshotSink) error {
	if !p.adapter.enter() {
		return errShutdown
	}
	defer p.adapter.leave()
	if err := p.snapshot.Persist(sink); err != nil {
		return err
	}
	p.adapter.entries.Add(-p.entries)
	p.adapter.bytes.Add(-p.bytes)
	return nil
}

// Release implements raft.FSMSnapshot.
func (p *persister) Release() { p.snapshot.Release() }
