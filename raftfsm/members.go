package raftfsm

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// Bootstrap gives a running group without any state its first members. Only
// one server of a new group may do so: the others learn from it. A group that
// has state is left as it is. The library's own way of doing this to a running instance cannot
// be repeated after a crash in its middle, so the instance is started anew.
func (g *Group) Bootstrap(servers []Server) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	in := g.current.Load()
	if g.stopped || in == nil {
		return fault.New(fault.Unavailable, "group %d does not run", g.id)
	}
	g.end(in)
	g.o.Bootstrap = servers
	if err := g.start(); err != nil {
		g.failure.Store(&err)
		g.stopped = true
		return err
	}
	return nil
}

// HasState reports whether the group knows its members: it was bootstrapped or heard from a leader.
func (g *Group) HasState() bool {
	servers, err := g.Servers()
	return err == nil && len(servers) > 0
}

// CommittedServers returns the group's members if the latest change of them is
// committed; false if one is under way, or this replica cannot tell.
func (g *Group) CommittedServers() ([]Server, bool) {
	in, err := g.instance()
	if err != nil {
		return nil, false
	}
	f := in.raft.GetConfiguration()
	if f.Error() != nil || f.Index() > in.raft.CommitIndex() {
		return nil, false
	}
	return servers(f.Configuration()), true
}

func servers(c raft.Configuration) []Server {
	var all []Server
	for _, s := range c.Servers {
		all = append(all, Server{ID: string(s.ID), Voter: s.Suffrage == raft.Voter})
	}
	return all
}

// Campaign starts an election after a while if the group has no leader by then,
// instead of waiting for the election timeout. It is for the preferred leader of a new group, once
// the other members can be expected to run.
func (g *Group) Campaign(after time.Duration) {
	g.host.start(func() {
		if g.host.pause(time.Now().Add(after)) {
			g.campaign("", g.host.closed)
		}
	})
}

func configuration(servers []Server) raft.Configuration {
	var c raft.Configuration
	for _, s := range servers {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		c.Servers = append(c.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.ID)})
	}
	return c
}
