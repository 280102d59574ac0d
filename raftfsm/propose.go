package raftfsm

import (
	"errors"
	"reflect"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// proposePatience is how long Propose waits for room before it gives up.
const proposePatience = 5 * time.Second

// Future is a proposal under way.
type Future interface {
	// Wait returns the state machine's result once the proposal is committed and applied here.
	// NotLeader and Throttled mean that nothing was done; Unavailable that the outcome is unknown.
	// It may be called once.
	Wait() (result any, err error)
}

// failedFuture is a proposal that was refused at once.
type failedFuture struct{ err error }

// Wait implements Future.
func (f failedFuture) Wait() (any, error) { return nil, f.err }

// proposal is one that the library took.
type proposal struct {
	g *Group
	f raft.ApplyFuture
}

// Wait implements Future.
func (p proposal) Wait() (any, error) {
	if err := p.f.Error(); err != nil {
		return nil, p.g.mapError(err)
	}
	r := p.f.Response()
	if e, ok := r.(*StopError); ok {
		if cause := fault.As(e.Err); cause != nil {
			return nil, fault.New(cause.Kind, "%w", e)
		}
		return nil, fault.New(fault.Internal, "%w", e)
	}
	return r, nil
}

// Propose asks the group to agree on a command. It blocks only while the group has no room.
// data must not be modified afterwards.
func (g *Group) Propose(data []byte) Future { return g.ProposeWith(nil, data) }

// ProposeWith is Propose for a command in two parts, so that a header need not be copied together with
// what it describes. The state machine gets both as they are.
func (g *Group) ProposeWith(head, data []byte) Future {
	in, err := g.instance()
	if err != nil {
		return failedFuture{err}
	}
	if in.raft.State() != raft.Leader {
		return failedFuture{g.notLeader()}
	}
	f := in.raft.ApplyLog(raft.Log{Extensions: head, Data: data}, proposePatience)
	bindFuture(f, in.dead)
	return proposal{g: g, f: f}
}

// bindFuture lets a future of the library end with its instance. What waits in the library's
// proposal queue at a shutdown is never answered; the library has a field for that, but sets it
// on other futures only and exports it only by reflection.
func bindFuture(f raft.Future, dead chan struct{}) {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return // failed already
	}
	if field := v.Elem().FieldByName("ShutdownCh"); field.IsValid() && field.CanSet() && field.IsNil() {
		field.Set(reflect.ValueOf(dead))
	}
}

// notLeader returns the error that says who leads.
func (g *Group) notLeader() *fault.Error {
	leader, _ := g.Leader()
	if leader == g.host.o.NodeID {
		leader = "" // elected this moment; the caller asked before
	}
	e := fault.New(fault.NotLeader, "this node does not lead group %d", g.id)
	e.LeaderNode = leader
	return e
}

// mapError gives an error of the library its kind.
func (g *Group) mapError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return g.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fault.New(fault.Throttled, "group %d takes no more proposals now", g.id)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore), errors.Is(err, raft.ErrRaftShutdown):
		return fault.New(fault.Unavailable, "group %d: outcome unknown: %w", g.id, err)
	}
	if f := fault.As(err); f != nil {
		return f
	}
	return fault.New(fault.Unavailable, "group %d: outcome unknown: %w", g.id, err)
}
