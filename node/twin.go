package node

import (
	"context"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/membership"
)

// twinDuty ends this node if, before the cluster has taken it in, gossip shows its id alive at another
// address, and the node there says so: this data directory is a copy of a running node's. It could take that
// node's place otherwise: voters follow a leader by its id, and the control group's own leader is not asked
// whether it is there twice when it is the one that was copied.
func (n *Node) twinDuty(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	asked := map[string]time.Time{} // by Raft address of a twin, the zero time if it was not asked yet
	for !n.joined.Load() {
		for _, e := range n.members.Load().Events() {
			if e.Kind == membership.EventIDConflict && e.Node.NodeID == n.nodeID && e.Other.RaftAddr != "" {
				asked[e.Other.RaftAddr] = time.Time{}
			}
		}
		for addr, last := range asked {
			if addr == n.addresses.Raft || time.Since(last) < twinAskEvery {
				continue
			}
			if n.runsAt(ctx, n.nodeID, addr) {
				n.fail(copied(n.name, n.nodeID, addr))
				return
			}
			asked[addr] = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// twinAskEvery is how often an address is asked again at which no twin answered.
const twinAskEvery = time.Second

// runsAt reports whether a node answers at a Raft address under this id.
func (n *Node) runsAt(ctx context.Context, id, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	who, err := n.transport.WhoIs(ctx, addr)
	return err == nil && who == id
}

// copied is what a node is told whose id is that of a running one.
func copied(name, id, addr string) *fault.Error {
	return fault.New(fault.Conflict, "node %s (id %s) is running at %s already: its data directory was copied; start a new node with an empty one", name, id, addr)
}
