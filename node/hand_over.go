package node

import (
	"context"
	"sync"

	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

// handOversMax bounds how many groups change leaders at a time.
const handOversMax = 16

// heir returns the voter to hand a group to, "" if there is none: alive, with
// room on its disk. Which of several differs from group to group, so that the
// leaders spread.
func heir(self string, group uint64, members []meta.Member, hints meta.Hints) string {
	var heirs []string
	for _, m := range members {
		if h := hints[m.Node]; m.Voter && m.Node != self && h.Alive && !h.Full {
			heirs = append(heirs, m.Node)
		}
	}
	if len(heirs) == 0 {
		return ""
	}
	return heirs[group%uint64(len(heirs))]
}

// handOver gives every group that this node leads to another node before the
// node stops, so that writers need not wait until the others notice. It begins
// none after limits.shutdown_timeout, and each takes raft.election at most;
// what is not handed over gets a new leader as if the node had died.
func (n *Node) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Limits.ShutdownTimeout.Std())
	defer cancel()
	hints := n.hints()
	var handed sync.WaitGroup
	places := make(chan struct{}, handOversMax)
	for _, g := range n.host.Groups() {
		if !g.IsLeader() {
			continue
		}
		if ctx.Err() != nil {
			n.log.Warn("limits.shutdown_timeout is over; the others elect leaders for what this node still leads")
			break
		}
		to := heir(n.nodeID, g.ID(), membersIn(g), hints)
		if to == "" {
			continue
		}
		places <- struct{}{} // one is given back within raft.election
		handed.Go(func() {
			defer func() { <-places }()
			n.handOverGroup(g, to)
		})
	}
	handed.Wait()
}

func (n *Node) handOverGroup(g *raftfsm.Group, to string) {
	if err := g.TransferLeadership(to); err != nil && g.IsLeader() {
		n.log.Warn("cannot hand over a group", "group", g.ID(), "to", to, "error", err)
	}
}
