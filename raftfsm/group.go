package raftfsm

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// memberPatience bounds how long a membership change or a barrier waits to be started.
const memberPatience = 10 * time.Second

// Server is a member of a group. Its Raft address is its node id.
type Server struct {
	ID    string // node id
	Voter bool   // else it learns only
}

// GroupOptions describes a group to start.
type GroupOptions struct {
	// ID is unique in the cluster and never reused.
	ID uint64
	// FSM is the group's state machine. Required.
	FSM StateMachine
	// Bootstrap lists the first members of a new group, the same on each of them; it has no
	// effect once the group has state. Nil waits for the leader to make contact.
	Bootstrap []Server
	// OnLeader is told, in order and never concurrently, when this node begins and ceases to
	// lead the group. It may block without harm. State of earlier terms may not be applied
	// yet when it is told true: see Group.Barrier.
	OnLeader func(isLeader bool, term uint64)
	Logger   hclog.Logger
}

// Group is one replica of a Raft group. Its methods are safe for concurrent use.
type Group struct {
	id     uint64
	host   *Host
	o      GroupOptions
	logger hclog.Logger
	stores stores // outlive an instance

	current atomic.Pointer[instance] // nil while starting or stopped
	snap    sync.Mutex               // one snapshot request at a time

	failure atomic.Pointer[error] // why the group ended by itself, if it did

	mu      sync.Mutex // held while an instance starts or stops
	stopped bool

	notify notifier

	verifyMu  sync.Mutex
	verifying bool          // a round is under way; guarded by verifyMu
	verify    *verification // the next round, nil if nobody waits; guarded by verifyMu
}

// stores is where a group keeps what must survive.
type stores struct {
	logs      raft.LogStore
	stable    raft.StableStore
	snapshots *snapshotStore
	shared    *logStore // logs, if they are in the journal
	running   *atomic.Bool
	leading   *atomic.Bool // the instance is leader
}

// instance is one run of the library for a group. A group reopens with a fresh one when the
// library's idea of its log cannot be trusted any more.
type instance struct {
	raft  *raft.Raft
	trans *groupTransport
	fsm   *adapter
	dead  chan struct{} // closed when everything of the library has ended
	paced bool          // heartbeats have a leader's pace; the library's main goroutine alone uses it
	spur  atomic.Pointer[spur]
	led   atomic.Pointer[string] // node id of the leader known last, also when none is known now
}

// ledBy returns the node id of the leader known last, "" if there was none.
func (in *instance) ledBy() string {
	if id := in.led.Load(); id != nil {
		return *id
	}
	return ""
}

// spur is what made a replica campaign without waiting for its timeout.
type spur struct {
	term   uint64 // of the election
	reason string
}

// spurred notes why the next term is about to begin.
func (in *instance) spurred(reason string) {
	in.spur.Store(&spur{in.raft.CurrentTerm() + 1, reason})
}

// Why a replica came to lead, as LeadReason says it.
const (
	ReasonSilent     = "the former leader was silent"
	ReasonRefused    = "the former leader's node refused connections"
	ReasonHandedOver = "the former leader handed over"
)

// LeadReason returns why this replica came to lead in a term, for people.
func (g *Group) LeadReason(term uint64) string {
	if in := g.current.Load(); in != nil {
		if s := in.spur.Load(); s != nil && s.term == term {
			return s.reason
		}
	}
	return ReasonSilent
}

// ID returns the group's id.
func (g *Group) ID() uint64 { return g.id }

func (g *Group) instance() (*instance, error) {
	if in := g.current.Load(); in != nil {
		return in, nil
	}
	if err := g.failure.Load(); err != nil {
		return nil, fault.New(fault.Unavailable, "group %d has stopped: %w", g.id, *err)
	}
	return nil, fault.New(fault.Unavailable, "group %d does not run", g.id)
}

// Failure says why the group ended by itself, nil if it did not.
func (g *Group) Failure() error {
	if err := g.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// IsLeader reports whether this replica leads, as far as it knows.
func (g *Group) IsLeader() bool {
	in := g.current.Load()
	return in != nil && in.raft.State() == raft.Leader
}

// Leader returns the leader's node id as far as known, "" if unknown, and the current term.
func (g *Group) Leader() (nodeID string, term uint64) {
	in := g.current.Load()
	if in == nil {
		return "", 0
	}
	_, id := in.raft.LeaderWithID()
	return string(id), in.raft.CurrentTerm()
}

// Barrier returns when everything proposed before is applied here. Only the leader can.
func (g *Group) Barrier(timeout time.Duration) error {
	return g.await(func(in *instance) raft.Future { return in.raft.Barrier(timeout) })
}

// await runs an operation of the library to its end.
func (g *Group) await(f func(*instance) raft.Future) error {
	in, err := g.instance()
	if err != nil {
		return err
	}
	future := f(in)
	bindFuture(future, in.dead)
	return g.mapError(future.Error())
}

// Servers returns the group's members, as of the latest configuration known here.
func (g *Group) Servers() ([]Server, error) {
	in, err := g.instance()
	if err != nil {
		return nil, err
	}
	f := in.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, g.mapError(err)
	}
	return servers(f.Configuration()), nil
}

// AddVoter adds a voter, or makes a learner one. Only the leader can; it returns when the change is committed.
func (g *Group) AddVoter(nodeID string) error {
	return g.await(func(in *instance) raft.Future {
		return in.raft.AddVoter(raft.ServerID(nodeID), raft.ServerAddress(nodeID), 0, memberPatience)
	})
}

// AddLearner adds a member that receives everything and does not vote. Only the leader can.
func (g *Group) AddLearner(nodeID string) error {
	return g.await(func(in *instance) raft.Future {
		return in.raft.AddNonvoter(raft.ServerID(nodeID), raft.ServerAddress(nodeID), 0, memberPatience)
	})
}

// Remove removes a member. A leader that removes itself steps down. Only the leader can.
func (g *Group) Remove(nodeID string) error {
	return g.await(func(in *instance) raft.Future {
		return in.raft.RemoveServer(raft.ServerID(nodeID), 0, memberPatience)
	})
}

// TransferLeadership hands the lead to a voter, to the most advanced one if to is "". Only the
// leader can; handing it to itself does nothing.
func (g *Group) TransferLeadership(to string) error {
	if to == g.host.o.NodeID && g.IsLeader() {
		return nil
	}
	return g.await(func(in *instance) raft.Future {
		in.trans.transfers.Add(1)
		if to == "" {
			return in.raft.LeadershipTransfer()
		}
		return in.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to))
	})
}

// LastIndex returns the index of the last entry here.
func (g *Group) LastIndex() uint64 { return g.index((*raft.Raft).LastIndex) }

// CommitIndex returns the index up to which entries are known to be committed.
func (g *Group) CommitIndex() uint64 { return g.index((*raft.Raft).CommitIndex) }

// AppliedIndex returns the index of the last entry that the state machine has taken; entries
// that are none of its business (elections) do not count.
func (g *Group) AppliedIndex() uint64 {
	in := g.current.Load()
	if in == nil {
		return 0
	}
	return in.fsm.applied.Load()
}

func (g *Group) index(f func(*raft.Raft) uint64) uint64 {
	in := g.current.Load()
	if in == nil {
		return 0
	}
	return f(in.raft)
}

// Stats returns the library's own figures, for people.
func (g *Group) Stats() map[string]string {
	in := g.current.Load()
	if in == nil {
		return map[string]string{"state": "Stopped"}
	}
	return in.raft.Stats()
}

// Snapshot takes a snapshot now and lets the log shrink. Having nothing new is no error.
func (g *Group) Snapshot() error { return g.snapshot(g.host.o.TrailingLogs) }

// snapshot takes a snapshot and keeps about the given number of entries before it.
func (g *Group) snapshot(trailing uint64) error {
	g.snap.Lock()
	defer g.snap.Unlock()
	in, err := g.instance()
	if err != nil {
		return err
	}
	f := in.raft.Snapshot()
	bindFuture(f, in.dead)
	if err := f.Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return g.mapError(err)
	}
	at, _ := g.stores.snapshots.position()
	if at <= trailing {
		return nil
	}
	first, err := g.stores.logs.FirstIndex()
	if err != nil || first == 0 || first >= at-trailing {
		return err
	}
	// The library keeps TrailingLogs before the end of the log; everything before the snapshot may go.
	if err := g.stores.logs.DeleteRange(first, at-trailing); err != nil {
		return fmt.Errorf("group %d: %w", g.id, err)
	}
	return nil
}

// serves reports whether this replica leads in a term and a node is a member.
func (in *instance) serves(node string, term uint64) bool {
	if in.raft.State() != raft.Leader || in.raft.CurrentTerm() != term {
		return false
	}
	f := in.raft.GetConfiguration()
	return f.Error() == nil && slices.ContainsFunc(f.Configuration().Servers, func(s raft.Server) bool { return string(s.ID) == node })
}

// state returns the library's state and whether this replica may vote.
func (in *instance) state(node string) (s raft.RaftState, voter bool) {
	f := in.raft.GetConfiguration()
	if f.Error() != nil {
		return in.raft.State(), false
	}
	for _, server := range f.Configuration().Servers {
		if string(server.ID) == node {
			voter = server.Suffrage == raft.Voter
		}
	}
	return in.raft.State(), voter
}
