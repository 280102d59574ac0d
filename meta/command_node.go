package meta

import (
	"errors"
	"maps"
	"slices"

	"github.com/levada-stream/levada/internal/fault"
)

// Errors inside the Conflict faults of RegisterNode. They are found with
// errors.Is where the command was applied; across the wire only the kind and
// the message travel.
var (
	// ErrNodeRetired refuses the id of a node that was removed or replaced.
	ErrNodeRetired = errors.New("this node id was retired; start with an empty data directory to join as a new node")
	// ErrStaleIncarnation refuses a registration older than the one known.
	ErrStaleIncarnation = errors.New("a later incarnation of this node registered already; is its data directory used twice?")
	// ErrNameTaken refuses to rename a known node to a name that another one has.
	ErrNameTaken = errors.New("another node has this name")
)

// RegisterNode makes a node known, or brings what is known of it up to date.
//
// A new id with the name of a joined node replaces that one: the disk was wiped
// or the machine exchanged. The older id is retired for good. Idempotent. A
// node registers at every start with its next incarnation.
type RegisterNode struct {
	ID          NodeID            `json:"id"`
	Name        string            `json:"name"`
	Incarnation uint64            `json:"incarnation"`
	Addresses   Addresses         `json:"addresses"` // Raft is required
	Zone        string            `json:"zone,omitempty"`
	Roles       []string          `json:"roles,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	DiskClass   string            `json:"disk_class,omitempty"`
	ReplicasMax int               `json:"replicas_max,omitempty"` // shard replicas that it takes, 0 for no limit; version 2
	Time        int64             `json:"time"`
}

// NodeResult answers RegisterNode and RemoveNode.
type NodeResult struct {
	Version  uint64 `json:"version"`
	Node     Node   `json:"node"`
	Replaced NodeID `json:"replaced,omitempty"` // the id that this registration retired
}

// Type returns "register_node".
func (RegisterNode) Type() string { return "register_node" }

func (c RegisterNode) version() int { return versionIf(c.ReplicasMax != 0) }

func (c RegisterNode) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	roles := slices.Clone(c.Roles)
	slices.Sort(roles)
	n := &Node{
		ID: c.ID, Name: c.Name, Incarnation: c.Incarnation, Addresses: c.Addresses, Zone: c.Zone,
		Roles: slices.Compact(roles), Labels: c.Labels, DiskClass: c.DiskClass, ReplicasMax: c.ReplicasMax,
		State: NodeJoined, Registered: c.Time, Changed: c.Time,
	}
	old, known := t.next.Node(c.ID)
	if known {
		switch {
		case old.State != NodeJoined:
			return nil, fault.New(fault.Conflict, "node %s: %w", c.ID, ErrNodeRetired)
		case c.Incarnation < old.Incarnation:
			return nil, fault.New(fault.Conflict, "node %s: %w", c.ID, ErrStaleIncarnation)
		}
		n.Registered = old.Registered
	}
	var replaced NodeID
	if namesake := t.next.joinedByName(c.Name); namesake != nil && namesake.ID != c.ID {
		if known {
			return nil, fault.New(fault.Conflict, "node %s: %w", c.ID, ErrNameTaken)
		}
		retired := *namesake
		retired.State, retired.ReplacedBy, retired.Changed = NodeReplaced, c.ID, c.Time
		t.putNode(&retired)
		replaced = retired.ID
	}
	if !known || !old.equal(n) {
		t.putNode(n)
	} else {
		n = old
	}
	return NodeResult{t.next.version, *n, replaced}, nil
}

func (s *State) joinedByName(name string) *Node {
	for _, n := range s.nodes {
		if n.Name == name && n.State == NodeJoined {
			return n
		}
	}
	return nil
}

func (c RegisterNode) validate() error {
	if err := checkName("id", c.ID); err != nil {
		return err
	}
	if err := checkName("name", c.Name); err != nil {
		return err
	}
	if c.Addresses.Raft == "" {
		return fault.InvalidField("addresses.raft", "a node needs an address for Raft")
	}
	if err := checkRange("replicas_max", int64(c.ReplicasMax), 0, NodeReplicasMax); err != nil {
		return err
	}
	if len(c.Roles) > RolesMax {
		return limitError("roles", RolesMax, "a node may have %d roles, not %d", RolesMax, len(c.Roles))
	}
	if len(c.Labels) > LabelsMax {
		return limitError("labels", LabelsMax, "a node may have %d labels, not %d", LabelsMax, len(c.Labels))
	}
	texts := []struct{ field, text string }{
		{"addresses.raft", c.Addresses.Raft},
		{"addresses.grpc", c.Addresses.GRPC},
		{"addresses.http", c.Addresses.HTTP},
		{"addresses.gossip", c.Addresses.Gossip},
		{"zone", c.Zone},
		{"disk_class", c.DiskClass},
	}
	for _, role := range c.Roles {
		texts = append(texts, struct{ field, text string }{"roles", role})
	}
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		texts = append(texts, struct{ field, text string }{"labels", key}, struct{ field, text string }{"labels", c.Labels[key]})
	}
	for _, f := range texts {
		if err := checkText(f.field, f.text); err != nil {
			return err
		}
	}
	return nil
}

// RemoveNode retires a node for good. Its replicas are then placed elsewhere.
// Idempotent.
type RemoveNode struct {
	ID   NodeID `json:"id"`
	Time int64  `json:"time"`
}

// Type returns "remove_node".
func (RemoveNode) Type() string { return "remove_node" }

func (c RemoveNode) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	n, ok := t.next.Node(c.ID)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no node %q", c.ID)
	}
	if n.State == NodeJoined {
		removed := *n
		removed.State, removed.Changed = NodeRemoved, c.Time
		t.putNode(&removed)
		n = &removed
	}
	return NodeResult{Version: t.next.version, Node: *n}, nil
}
