package node

import (
	"context"
	"net"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/membership"
)

// twinDuty ends this node if, before the cluster has taken it in, gossip shows its id alive at another
// address, and somebody answers there: this data directory is a copy of a running node's. It could take that
// node's place otherwise: voters follow a leader by its id, and the control group's own leader is not asked
// whether it is there twice when it is the one that was copied.
func (n *Node) twinDuty(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	twins := map[string]bool{} // Raft addresses
	for !n.joined.Load() {
		for _, e := range n.members.Load().Events() {
			if e.Kind == membership.EventIDConflict && e.Node.NodeID == n.nodeID && e.Other.RaftAddr != "" {
				twins[e.Other.RaftAddr] = true
			}
		}
		for addr := range twins {
			if addr != n.addresses.Raft && answers(ctx, addr) {
				n.fail(copied(n.name, n.nodeID, addr))
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answers reports whether somebody listens at a TCP address.
func answers(ctx context.Context, addr string) bool {
	dial := net.Dialer{Timeout: time.Second}
	conn, err := dial.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close() // only knocked
	return true
}

// copied is what a node is told whose id is that of a running one.
func copied(name, id, addr string) *fault.Error {
	return fault.New(fault.Conflict, "node %s (id %s) is running at %s already: its data directory was copied; start a new node with an empty one", name, id, addr)
}
