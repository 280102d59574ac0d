package raftfsm

import "github.com/hashicorp/raft"

// Bootstrap gives a running group without any state its first members. Only
// one server of a new group may do so: the others learn from it. It fails if the group has state.
func (g *Group) Bootstrap(servers []Server) error {
	return g.await(func(in *instance) raft.Future {
		return in.raft.BootstrapCluster(configuration(servers))
	})
}

// HasState reports whether the group knows its members: it was bootstrapped or heard from a leader.
func (g *Group) HasState() bool {
	servers, err := g.Servers()
	return err == nil && len(servers) > 0
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
