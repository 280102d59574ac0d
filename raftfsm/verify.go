package raftfsm

import (
	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/journal"
)

// verification is one question to the voters whether this replica leads still, shared by all that
// ask before it starts.
type verification struct {
	done chan struct{}
	err  error
}

// VerifyLeader confirms with a majority that this replica led after the call began. The library's own
// way counts answers to heartbeats that were sent before, which may have been under way while the
// others elected a new leader.
func (g *Group) VerifyLeader() error {
	g.verifyMu.Lock()
	if g.verify == nil {
		g.verify = &verification{done: make(chan struct{})}
	}
	v := g.verify
	if !g.verifying {
		g.verifying = g.host.start(g.runVerifications)
	}
	running := g.verifying
	g.verifyMu.Unlock()
	if !running {
		return fault.New(fault.Unavailable, "group %d is stopping", g.id)
	}
	<-v.done
	return v.err
}

// ReadIndex confirms with a majority that this replica led after the call began, and returns how far AppliedIndex has
// to be so that this replica's state is no older than that of any other was when the call began. A leader that was just elected
// has to have had a Barrier before.
//
// A leader knows first what is committed, but not always applies it first: what a follower has shown to its
// readers may still be on its way to the leader's own state machine.
func (g *Group) ReadIndex() (uint64, error) {
	if err := g.VerifyLeader(); err != nil {
		return 0, err
	}
	in, err := g.instance()
	if err != nil {
		return 0, err
	}
	committed, applied := in.raft.CommitIndex(), in.fsm.applied.Load()
	if e := in.trans.early.Load(); e != nil {
		committed = min(committed, e.limit()) // nobody was told more
	}
	for ; committed > applied; committed-- {
		kind, err := g.kindOf(committed)
		if err != nil {
			return 0, fault.New(fault.Unavailable, "group %d: what is entry %d: %w", g.id, committed, err)
		}
		if kind == raft.LogCommand || kind == raft.LogConfiguration { // others never reach the state machine
			return committed, nil
		}
	}
	return applied, nil
}

// kindOf returns the type of an entry. Unlike the library's own reads it does not end the group if that cannot be read.
func (g *Group) kindOf(index uint64) (raft.LogType, error) {
	if g.stores.shared == nil {
		var l raft.Log
		err := g.stores.logs.GetLog(index, &l)
		return l.Type, err
	}
	var e journal.Entry
	err := g.stores.shared.entry(index, &e)
	return raft.LogType(e.Type), err
}

// runVerifications asks while anybody waits, one round after the other.
func (g *Group) runVerifications() {
	for {
		g.verifyMu.Lock()
		v := g.verify
		g.verify = nil
		if v == nil {
			g.verifying = false
			g.verifyMu.Unlock()
			return
		}
		g.verifyMu.Unlock()
		v.err = g.askVoters()
		close(v.done)
	}
}

// askVoters sends a heartbeat to every other voter and waits for a majority.
func (g *Group) askVoters() error {
	in, err := g.instance()
	if err != nil {
		return err
	}
	term := in.raft.CurrentTerm()
	leads := func() bool { return in.raft.State() == raft.Leader && in.raft.CurrentTerm() == term }
	f := in.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return g.mapError(err)
	}
	if !leads() {
		return g.notLeader()
	}
	in.trans.urgent.Add(1)
	defer in.trans.urgent.Add(-1)
	voters, yes, asked := 0, 0, 0
	servers := f.Configuration().Servers
	answers := make(chan bool, len(servers))
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if string(s.ID) == g.host.o.NodeID {
			yes++
			continue
		}
		ask := func() {
			r := &raft.AppendEntriesRequest{RPCHeader: rpcHeader([]byte(g.host.o.NodeID)), Term: term}
			var a raft.AppendEntriesResponse
			err := in.trans.AppendEntries(s.ID, s.Address, r, &a)
			answers <- err == nil && a.Success && a.Term == term
		}
		if g.host.start(ask) {
			asked++
		}
	}
	for ; asked > 0 && yes <= voters/2; asked-- {
		if <-answers {
			yes++
		}
	}
	if yes <= voters/2 {
		return fault.New(fault.Unavailable, "group %d: no majority confirms that this node leads", g.id)
	}
	if !leads() {
		return g.notLeader()
	}
	return nil
}
