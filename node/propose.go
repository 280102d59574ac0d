package node

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// propose applies a control command, wherever the meta group's leader is, and
// returns once this node's own copy of the control state holds it. It retries
// until ctx ends while there is no leader; a command that was refused is not retried.
func (n *Node) propose(ctx context.Context, command meta.Command) error {
	data, err := meta.Encode(command)
	if err != nil {
		return err
	}
	delay := 20 * time.Millisecond
	for {
		version, err := n.proposeOnce(ctx, data)
		if err == nil {
			return n.awaitVersion(ctx, version)
		}
		if !fault.KindOf(err).Retryable() {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "the control state has no leader that answers; a majority of the meta group's nodes must be up: %w", err)
		case <-time.After(delay):
		}
		delay = min(2*delay, 500*time.Millisecond)
	}
}

// proposeOnce tries the leader this node knows of, then every node gossip knows.
func (n *Node) proposeOnce(ctx context.Context, command []byte) (uint64, error) {
	if n.metaRaft.IsLeader() {
		b, err := n.servePropose(ctx, n.nodeID, command)
		if err != nil {
			return 0, err
		}
		return binary.LittleEndian.Uint64(b), nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	leader, _ := n.metaRaft.Leader()
	peers := []string{leader}
	for _, m := range n.seen() {
		if m.NodeID != leader {
			peers = append(peers, m.NodeID)
		}
	}
	var last error = fault.New(fault.Unavailable, "no other node is known yet")
	for _, peer := range peers {
		if peer == "" || peer == n.nodeID {
			continue
		}
		b, err := n.transport.Call(ctx, peer, callPropose, command)
		if err == nil && len(b) == 8 {
			return binary.LittleEndian.Uint64(b), nil
		}
		if err != nil && !fault.KindOf(err).Retryable() && fault.As(err) != nil {
			return 0, err
		}
		if err != nil {
			last = fault.New(fault.Unavailable, "propose at node %s: %w", peer, err)
		}
	}
	return 0, last
}

// callTimeout bounds one round of calls to other nodes.
const callTimeout = 5 * time.Second

// refuseNamesake keeps a node that was given the name of a living one, by a
// copied configuration, from taking its place. A namesake at the same address
// is the same machine with an emptied data directory: that one may.
func (n *Node) refuseNamesake(command meta.Command) error {
	r, ok := command.(*meta.RegisterNode)
	if !ok {
		return nil
	}
	for _, m := range n.seen() {
		if m.Name == r.Name && m.NodeID != r.ID && m.RaftAddr != r.Addresses.Raft {
			return fault.New(fault.Conflict, "another living node is called %q (id %s at %s); give this one another node.name", r.Name, m.NodeID, m.RaftAddr)
		}
	}
	return nil
}

// refuseImpostor keeps a copy of a living node's data directory from taking
// that node's place: two of them would vote with one vote. Gossip may be late
// to see that a node has died that comes back at another address, so its old one is tried.
func (n *Node) refuseImpostor(ctx context.Context, command meta.Command) error {
	r, ok := command.(*meta.RegisterNode)
	if !ok {
		return nil
	}
	for _, m := range n.seen() {
		if m.NodeID != r.ID || m.RaftAddr == r.Addresses.Raft {
			continue
		}
		if !n.runsAt(ctx, m.NodeID, m.RaftAddr) {
			return fault.New(fault.Unavailable, "node %s was seen at %s a moment ago; waiting until it is certain that it has moved to %s", r.Name, m.RaftAddr, r.Addresses.Raft)
		}
		return copied(r.Name, r.ID, m.RaftAddr)
	}
	return nil
}

func (n *Node) proposeHere(command []byte) (uint64, error) {
	result, err := n.metaRaft.Propose(command).Wait()
	if err != nil {
		return 0, err
	}
	if refused, ok := result.(error); ok {
		return 0, refused
	}
	select {
	case n.spread <- struct{}{}:
	default: // it will be told along with the one before
	}
	return n.metaStore.State().Version(), nil
}

// spreadCommits lets the others learn at once what the meta group has committed. A follower is told how far the log is committed with the
// next entry, or after the commit timeout if there is none: until then it starts no replica of a new shard, and
// answers with an old partition map. A barrier is that next entry; it changes no state.
func (n *Node) spreadCommits(ctx context.Context) {
	for {
		select {
		case <-n.spread:
		case <-ctx.Done():
			return
		}
		if err := n.metaRaft.Barrier(callTimeout); err != nil {
			n.log.Debug("others learn of a change late", "error", err)
		}
	}
}

// servePropose takes a command of another node. It answers NotLeader if this
// node does not lead the meta group: the caller asks on.
func (n *Node) servePropose(ctx context.Context, _ string, request []byte) ([]byte, error) {
	if !n.metaRaft.IsLeader() {
		leader, _ := n.metaRaft.Leader()
		e := fault.New(fault.NotLeader, "node %s does not lead the meta group", n.name)
		e.LeaderNode = leader
		return nil, e
	}
	// Bytes that do not decode would stop every replica of the meta group.
	command, err := meta.Decode(request)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if err := n.refuseNamesake(command); err != nil {
		return nil, err
	}
	if err := n.refuseImpostor(ctx, command); err != nil {
		return nil, err
	}
	version, err := n.proposeHere(request)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint64(nil, version), nil
}

// awaitVersion returns once this node's control state is at version or later.
func (n *Node) awaitVersion(ctx context.Context, version uint64) error {
	return n.awaitState(ctx, func() bool { return n.metaStore.State().Version() >= version })
}

// awaitState returns once ok says yes of this node's control state, asked anew after each change.
func (n *Node) awaitState(ctx context.Context, ok func() bool) error {
	for {
		version := n.metaStore.State().Version()
		if ok() {
			return nil
		}
		select {
		case <-n.metaStore.Watch(version):
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "this node's copy of the control state did not catch up in time: %w", ctx.Err())
		}
	}
}
