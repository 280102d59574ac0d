package node

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/membership"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
	"github.com/levada-stream/levada/raftfsm"
)

// openConsensus starts the Raft transport, the host of the groups and the meta group.
func (n *Node) openConsensus(p *ports, opened *closers) error {
	transport, err := raftfsm.NewTransport(raftfsm.TransportOptions{
		NodeID: n.nodeID, ClusterID: n.clusterID, Listener: p.raft, Dial: p.dialRaft, Resolve: n.raftAddress,
		Logger: n.log.Named("transport"),
	})
	if err != nil {
		return err
	}
	n.transport = transport
	opened.add(transport.Close)
	r := n.cfg.Raft
	n.host, err = raftfsm.NewHost(raftfsm.HostOptions{
		NodeID: n.nodeID, Journal: n.journal, FS: n.fs, Dir: n.cfg.Node.DataDir, Transport: transport, Logger: n.log.Named("raft"),
		Timing:          raftfsm.Timing{Heartbeat: r.Heartbeat.Std(), Election: r.Election.Std(), Commit: r.Commit.Std(), LeaderLease: r.LeaderLease.Std()},
		SnapshotEntries: uint64(r.SnapshotEntries),
		OnFailure:       n.fail,
	})
	if err != nil {
		return err
	}
	opened.add(n.host.Close)
	n.shards = newShardSet(n)
	opened.add(n.shards.close)
	n.metaRaft, err = n.host.StartMeta(raftfsm.GroupOptions{
		ID: meta.MetaGroup, FSM: &metaFSM{store: n.metaStore, stop: n.fail}, Logger: n.log.Named("meta"),
	})
	if err != nil {
		return fmt.Errorf("start the meta group: %w", err)
	}
	opened.add(func() error { n.keepState(); return nil })
	n.peers = newPeerConns(p.credentials())
	opened.add(n.peers.close)
	return nil
}

func (n *Node) clusterID() string {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	return n.id.ClusterID
}

// raftAddress finds a node: by gossip, which is fresher, or by the control state.
func (n *Node) raftAddress(id string) (string, bool) {
	if members := n.members.Load(); members != nil {
		if m, ok := members.Node(id); ok && m.RaftAddr != "" {
			return m.RaftAddr, true
		}
	}
	if node, ok := n.metaStore.State().Node(id); ok {
		return node.Addresses.Raft, true
	}
	return "", false
}

// openMembership starts gossip.
func (n *Node) openMembership(opened *closers) error {
	key, err := n.cfg.Cluster.GossipKey()
	if err != nil {
		return err
	}
	host, port, err := splitAddress("listen.gossip", n.cfg.Listen.Gossip)
	if err != nil {
		return err
	}
	o := membership.Options{
		NodeID: n.nodeID, Name: n.name, ClusterName: n.cfg.Cluster.Name, BindAddr: host, BindPort: port,
		Seeds: n.cfg.Seeds, SecretKey: key, Meta: n.gossipMeta(), Logger: n.log,
	}
	if told := n.cfg.Advertise.Gossip; told != "" {
		if o.AdvertiseAddr, o.AdvertisePort, err = splitAddress("advertise.gossip", told); err != nil {
			return err
		}
	}
	gossip, err := membership.Start(o)
	if err != nil {
		return fmt.Errorf("listen.gossip: %w", err)
	}
	n.members.Store(gossip)
	n.addresses.Gossip = gossip.Addr()
	opened.add(func() error {
		// The word that this node leaves on purpose is a courtesy: not getting it out is no failure.
		// One that the cluster did not take in may be a copy of a living node: it has no say in that.
		if !n.joined.Load() {
			return gossip.Close()
		}
		if err := gossip.Leave(leaveTimeout); err != nil {
			n.log.Debug("cannot tell the others that this node leaves", "error", err)
		}
		return gossip.Close()
	})
	n.registerCalls()
	return nil
}

func splitAddress(key, address string) (string, int, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", key, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", 0, fmt.Errorf("%s: port %q: %w", key, text, err)
	}
	return host, port, nil
}

func (n *Node) gossipMeta() membership.Meta {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	return membership.Meta{
		ClusterID: n.id.ClusterID, Incarnation: n.id.Incarnation, RaftAddr: n.addresses.Raft, GRPCAddr: n.addresses.GRPC, HTTPAddr: n.addresses.HTTP,
		Zone: n.cfg.Node.Zone, Roles: n.cfg.Node.Roles, DiskClass: n.cfg.Node.DiskClass,
		Bootstrapped: n.metaStore.State().Version() > 0, Full: n.disk.full.Load(), Format: formatVersion,
	}
}

// gossipState tells the others what has changed of what gossip says of this node.
func (n *Node) gossipState() {
	m := n.gossipMeta()
	if n.told.ClusterID == m.ClusterID && n.told.Bootstrapped == m.Bootstrapped && n.told.Full == m.Full {
		return
	}
	n.told = m
	if err := n.members.Load().UpdateMeta(m); err != nil {
		n.log.Debug("gossip update is late", "error", err)
	}
}

// leaveTimeout bounds how long the farewell may take.
const leaveTimeout = 500 * time.Millisecond

// aliveNodes returns the ids of the nodes that gossip believes alive.
func (n *Node) aliveNodes() map[string]bool {
	alive := map[string]bool{}
	for _, m := range n.seen() {
		alive[m.NodeID] = true
	}
	return alive
}

// seen returns the nodes that gossip believes alive, this one among them.
func (n *Node) seen() []membership.Node { return n.members.Load().Nodes() }

// hints is what gossip says about every node, for placement.
func (n *Node) hints() meta.Hints {
	return hintsOf(n.seen(), n.members.Load().Lost(), n.metaStore.State().Nodes(), n.started.UnixMilli())
}

// hintsOf says of every node that is registered whether it lives. Gossip
// forgets the dead, and a process that started after a node died has never
// heard of it: such a node has been away at least since the start.
func hintsOf(seen, lost []membership.Node, registered []*meta.Node, started int64) meta.Hints {
	hints := meta.Hints{}
	for _, node := range registered {
		hints[node.ID] = meta.Hint{DeadSince: max(started, node.Changed)}
	}
	for _, m := range lost {
		hints[m.NodeID] = meta.Hint{DeadSince: m.Since.UnixMilli()}
	}
	for _, m := range seen {
		hints[m.NodeID] = meta.Hint{Alive: true, Full: m.Full}
	}
	return hints
}

// shardFSM lets Raft run a partition replica.
type shardFSM struct{ *partition.Replica }

// Apply applies entries; a replica that has failed stops its group.
func (f shardFSM) Apply(entries []raftfsm.Entry) []any {
	own := make([]partition.Entry, len(entries))
	for i, e := range entries {
		own[i] = partition.Entry(e)
	}
	results := f.Replica.Apply(own)
	if err := f.Replica.Failed(); err != nil {
		for i := range results {
			results[i] = &raftfsm.StopError{Err: err}
		}
	}
	return results
}

// Snapshot captures the replica's state.
func (f shardFSM) Snapshot() (raftfsm.Snapshot, error) { return f.Replica.Snapshot() }

// shardConsensus lets a partition replica propose to its Raft group.
type shardConsensus struct{ *raftfsm.Group }

// Propose proposes a command.
func (c shardConsensus) Propose(head, data []byte) partition.Future {
	return c.Group.ProposeWith(head, data)
}

// withAddress adds to an error that names a leader where to reach it.
func (n *Node) withAddress(e *fault.Error) *fault.Error {
	if e.LeaderNode == "" || e.LeaderAddr != "" {
		return e
	}
	if node, ok := n.metaStore.State().Node(e.LeaderNode); ok {
		named := *e
		named.LeaderAddr = node.Addresses.GRPC
		return &named
	}
	return e
}
