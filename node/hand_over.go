package node

import (
	"context"
	"fmt"
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
// node stops, so that writers need not wait until the others notice. It takes
// limits.shutdown_timeout at most; what is not handed over by then gets a new
// leader as if the node had died.
func (n *Node) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Limits.ShutdownTimeout.Std())
	defer cancel()
	done := make(chan struct{})
	// Not waited for beyond the timeout: a group that stands still, for its disk perhaps, answers only
	// when the host closes.
	go func() {
		defer close(done)
		n.handOverAll(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		n.log.Warn("limits.shutdown_timeout is over; the others elect leaders for what this node still leads")
	}
}

func (n *Node) handOverAll(ctx context.Context) {
	hints := n.hints()
	var handed sync.WaitGroup
	defer handed.Wait()
	places := make(chan struct{}, handOversMax)
	for _, g := range n.host.Groups() {
		if !g.IsLeader() {
			continue
		}
		to := heir(n.nodeID, g.ID(), membersIn(g), hints)
		if to == "" {
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		handed.Go(func() {
			defer func() { <-places }()
			err := n.handOverGroup(g, to)
			// The one that was asked may be behind, or its replica may have failed: the library knows who is best.
			if err != nil && ctx.Err() == nil && g.IsLeader() {
				err = n.handOverGroup(g, "")
			}
			if err != nil && g.IsLeader() {
				n.log.Warn("cannot hand over a group", "group", g.ID(), "error", err)
			}
		})
	}
}

// handOverGroup gives one group to a node, to the most advanced one for "". It
// takes up to twice raft.election, for which the group takes no proposals.
func (n *Node) handOverGroup(g *raftfsm.Group, to string) error {
	if err := g.TransferLeadership(to); err != nil && g.IsLeader() {
		return fmt.Errorf("to %q: %w", to, err)
	}
	return nil
}
