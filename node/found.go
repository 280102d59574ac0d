package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/membership"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

// Founding a cluster, once in its life.
//
// When gossip shows as many nodes without a cluster as the configuration
// expects, and none with one, the node with the smallest id asks every other
// of them to agree. A node agrees with one founder only, and remembers it on
// its disk: two founders would write different first entries for the same
// Raft log. With all of them agreed the founder bootstraps the meta group.
//
// A founder that did not get that far gives way to one with a smaller id, by
// agreeing to it; from then on it cannot found, and who has agreed to it may
// agree to another. Otherwise a node that comes late, or back with another id,
// would wait for ever for a founder that waits for it.

// metaVotersMax is how many nodes vote in the meta group; the others follow it.
const metaVotersMax = 5

// founding is what the founder asks the others to agree to.
type founding struct {
	Cluster string   `json:"cluster"`
	Founder string   `json:"founder"`
	Members []string `json:"members"`
}

// foundersOf returns the ids that found the cluster, smallest first, or nil
// while it is not time yet or a cluster is there already. It is a pure function of what gossip shows.
func foundersOf(nodes []membership.Node, expect int) []string {
	var ids []string
	for _, m := range nodes {
		if m.ClusterID != "" {
			return nil
		}
		ids = append(ids, m.NodeID)
	}
	if len(ids) < expect {
		return nil
	}
	slices.Sort(ids)
	return ids[:expect]
}

// clusterSeen reports whether gossip shows a node that has a cluster.
func clusterSeen(nodes []membership.Node) bool {
	return slices.ContainsFunc(nodes, func(m membership.Node) bool { return m.ClusterID != "" })
}

// found returns once there is a cluster to join: founded by this node or by
// another, just now or long ago.
func (n *Node) found(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	said := false
	for n.metaStore.State().Version() == 0 && !n.metaRaft.HasState() && !clusterSeen(n.seen()) {
		ids := foundersOf(n.seen(), n.cfg.Cluster.ExpectNodes)
		if len(ids) > 0 && ids[0] == n.nodeID {
			err := n.foundWith(ctx, ids)
			if err == nil {
				break
			}
			n.log.Warn("cannot found the cluster yet", "error", err)
		} else if !said {
			said = true
			n.log.Info("waiting for the cluster", "expect_nodes", n.cfg.Cluster.ExpectNodes, "seen", len(n.seen()))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (n *Node) foundWith(ctx context.Context, ids []string) error {
	f := founding{Cluster: n.cfg.Cluster.Name, Founder: n.nodeID, Members: ids}
	request, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := n.agree(f, ""); err != nil {
		return err
	}
	for _, id := range ids[1:] {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := n.transport.Call(ctx, id, callFound, request)
		cancel()
		if err != nil {
			return fmt.Errorf("node %s does not agree: %w", id, err)
		}
	}
	servers := make([]raftfsm.Server, len(ids))
	for i, id := range ids {
		servers[i] = raftfsm.Server{ID: id, Voter: i < metaVotersMax}
	}
	n.log.Info("founding the cluster", "cluster", f.Cluster, "nodes", ids)
	if err := n.bootstrapMeta(servers); err != nil {
		return err
	}
	n.metaRaft.Campaign(0)
	return nil
}

// bootstrapMeta writes the first entry, unless this node has given way meanwhile.
func (n *Node) bootstrapMeta(servers []raftfsm.Server) error {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	if n.id.Founder != n.nodeID {
		return fault.New(fault.Conflict, "this node has agreed to another founder, %s (%s)", n.id.FounderName, n.id.Founder)
	}
	return n.metaRaft.Bootstrap(servers)
}

// founderState is what a node says of the founder it has agreed to.
type founderState struct {
	Founder string `json:"founder"`
	Member  bool   `json:"member"` // the node is part of a cluster
}

// serveFounder answers which founder this node has agreed to.
func (n *Node) serveFounder(context.Context, string, []byte) ([]byte, error) {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	return json.Marshal(founderState{n.id.Founder, n.id.ClusterID != "" || n.metaRaft.HasState()})
}

// gaveWay returns the founder this node has agreed to if that one has agreed
// to another since: then it cannot found any more.
func (n *Node) gaveWay(ctx context.Context, f founding) string {
	n.idMu.Lock()
	other := n.id.Founder
	n.idMu.Unlock()
	if other == "" || other == n.nodeID || other == f.Founder {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout/2)
	defer cancel()
	answer, err := n.transport.Call(ctx, other, callFounder, nil)
	var st founderState
	if err != nil || json.Unmarshal(answer, &st) != nil || st.Member || st.Founder == "" || st.Founder == other {
		return ""
	}
	return other
}

// serveFound answers a founder.
func (n *Node) serveFound(ctx context.Context, from string, request []byte) ([]byte, error) {
	var f founding
	if err := json.Unmarshal(request, &f); err != nil || f.Founder != from {
		return nil, fault.New(fault.Invalid, "malformed founding from node %s", from)
	}
	return nil, n.agree(f, n.gaveWay(ctx, f))
}

// agree remembers the founder, or refuses because of an earlier one. An earlier
// founder that lost its disk is seen in gossip under its name with a new id; it can never found.
// Nor can released, which has given way.
func (n *Node) agree(f founding, released string) error {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	switch {
	case n.id.ClusterID != "" || n.metaStore.State().Version() > 0 || n.metaRaft.HasState():
		return fault.New(fault.Conflict, "node %s is part of a cluster already", n.name)
	case f.Cluster != n.cfg.Cluster.Name:
		return fault.New(fault.Conflict, "node %s is configured for cluster %q, not %q", n.name, n.cfg.Cluster.Name, f.Cluster)
	case !slices.Contains(f.Members, n.nodeID):
		return fault.New(fault.Invalid, "node %s is not among the founders", n.name)
	case n.id.Founder == f.Founder:
		return nil
	case n.id.Founder == n.nodeID && f.Founder < n.nodeID: // gives way
	case n.id.Founder != "" && n.id.Founder != released && !n.founderGone():
		return fault.New(fault.Conflict, "node %s has agreed to another founder, %s (%s); start that node", n.name, n.id.FounderName, n.id.Founder)
	}
	id := n.id
	id.Founder = f.Founder
	for _, m := range n.seen() {
		if m.NodeID == f.Founder {
			id.FounderName = m.Name
		}
	}
	if err := writeIdentity(n.fs, n.cfg.Node.DataDir, id); err != nil {
		return err
	}
	n.id = id
	return nil
}

// founderGone reports whether the founder agreed to has come back as another node.
func (n *Node) founderGone() bool {
	gone := false
	for _, m := range n.seen() {
		if m.NodeID == n.id.Founder {
			return false // it lives
		}
		gone = gone || (m.Name == n.id.FounderName && m.Name != "")
	}
	return gone
}

// join names the cluster, if nobody has, and registers this node in the
// control state, again at every start. It keeps trying until ctx ends or the cluster refuses the node.
func (n *Node) join(ctx context.Context) error {
	for delay, said := 50*time.Millisecond, ""; ; delay = min(2*delay, time.Second) {
		err := n.register(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if k := fault.KindOf(err); fault.As(err) != nil && !k.Retryable() && k != fault.Internal {
			return fmt.Errorf("the cluster refuses this node: %w", err)
		}
		if delay == time.Second && err.Error() != said {
			said = err.Error()
			n.log.Warn("cannot register with the cluster yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

func (n *Node) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now := n.now().UnixMilli()
	if n.metaRaft.HasState() && n.metaStore.State().Cluster().ID == "" {
		if !n.metaRaft.IsLeader() {
			return fault.New(fault.Unavailable, "the meta group has no leader yet, or this node's copy is not up to date yet")
		}
		err := n.propose(ctx, &meta.InitCluster{ClusterID: uuid.NewString(), Name: n.cfg.Cluster.Name, Time: now})
		if err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	return n.propose(ctx, &meta.RegisterNode{
		ID: n.nodeID, Name: n.name, Incarnation: n.incarnation, Time: now, Addresses: n.addresses,
		Zone: n.cfg.Node.Zone, Roles: n.cfg.Node.Roles, Labels: n.cfg.Node.Labels, DiskClass: n.cfg.Node.DiskClass,
		ReplicasMax: n.cfg.Limits.ShardReplicasMax,
	})
}

// adoptCluster writes the cluster's id to disk once the control state tells it,
// and refuses a control state of another cluster.
func (n *Node) adoptCluster() error {
	id := n.metaStore.State().Cluster().ID
	n.idMu.Lock()
	defer n.idMu.Unlock()
	switch {
	case id == "" || id == n.id.ClusterID:
		return nil
	case n.id.ClusterID != "":
		return fmt.Errorf("%w: the data directory is of cluster %s, the control state says %s", errOtherNode, n.id.ClusterID, id)
	}
	next := n.id
	next.ClusterID = id
	if err := writeIdentity(n.fs, n.cfg.Node.DataDir, next); err != nil {
		return err
	}
	n.id = next
	return nil
}
