package raftfsm

import (
	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
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
