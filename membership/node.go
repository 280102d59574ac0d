package membership

import "time"

// NodeState is what gossip believes about a node.
type NodeState string

// The states of a node. A node that left said so; a dead one stopped answering.
const (
	NodeAlive NodeState = "alive"
	NodeDead  NodeState = "dead"
	NodeLeft  NodeState = "left"
)

// Node is a node as gossip sees it.
type Node struct {
	Meta
	Addr  string    // gossip address, host:port
	State NodeState // as this node sees it
	Since time.Time // when it came into that state, by this node's clock
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	// EventChanged: Node came, changed what it says of itself, or is gone; see its State.
	EventChanged EventKind = "changed"
	// EventNameConflict: Node and Other are both alive and have one name but different ids.
	EventNameConflict EventKind = "name_conflict"
	// EventIDConflict: Other says it is Node, from another address. A data
	// directory is in use twice, or the node moved faster than its death was noticed.
	EventIDConflict EventKind = "id_conflict"
	// EventRefused: Node has the right key and cluster name, but belongs to another cluster.
	EventRefused EventKind = "refused"
)

// Event is the latest about one node, or about one conflict.
type Event struct {
	Kind  EventKind
	Node  Node
	Other Node // for conflicts
}

// eventKey is what events are coalesced by: of two with the same key the later stays.
type eventKey struct {
	kind    EventKind
	node    string
	another string
}

func (e Event) key() eventKey {
	return eventKey{e.Kind, e.Node.NodeID, e.Other.NodeID + e.Other.Addr}
}
