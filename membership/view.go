package membership

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Bounds of what a view remembers. Living nodes are not counted: there are as
// many as there are.
const (
	lostNodesMax = 1024 // dead and left; the longest lost goes first
	notesMax     = 256  // conflicts and refusals reported once; then forgotten all at once
)

// ErrWrongCluster refuses a node whose cluster id is another one.
var ErrWrongCluster = errors.New("the node belongs to another cluster of the same name")

// A view is what this node believes about all nodes. memberlist calls it under
// its own locks: nothing here blocks or calls back.
type view struct {
	log     hclog.Logger
	changed chan struct{} // capacity 1: one value says that pending is not empty

	mu       sync.Mutex // guards what follows
	own      Meta
	ownBytes []byte
	known    map[string]*Node
	lost     int // nodes in known that are not alive
	pending  map[eventKey]Event
	noted    map[eventKey]bool // conflicts and refusals that stand, so that each is reported once
}

var (
	_ memberlist.Delegate         = (*view)(nil)
	_ memberlist.EventDelegate    = (*view)(nil)
	_ memberlist.ConflictDelegate = (*view)(nil)
	_ memberlist.AliveDelegate    = (*view)(nil)
)

func newView(own Meta, log hclog.Logger) (*view, error) {
	v := &view{
		log: log, changed: make(chan struct{}, 1),
		known: make(map[string]*Node), pending: make(map[eventKey]Event), noted: make(map[eventKey]bool),
	}
	return v, v.setSelf(own)
}

func (v *view) setSelf(m Meta) error {
	most := m
	most.Leaving, most.Bootstrapped, most.Full = true, true, true
	if most.ClusterID == "" {
		most.ClusterID = "00000000-0000-0000-0000-000000000000"
	}
	// A node that cannot say that it leaves, or to which cluster it belongs, would only notice when it does.
	if _, err := EncodeMeta(most); err != nil {
		return err
	}
	data, err := EncodeMeta(m)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.own, v.ownBytes = m, data
	return nil
}

func (v *view) self() Meta {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.own
}

func (v *view) node(id string) (Node, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.known[id]
	if n == nil || v.foreign(n) {
		return Node{}, false
	}
	return *n, true
}

func (v *view) nodes(want func(*Node) bool) []Node {
	v.mu.Lock()
	defer v.mu.Unlock()
	var nodes []Node
	for _, n := range v.known {
		if want(n) && !v.foreign(n) {
			nodes = append(nodes, *n)
		}
	}
	slices.SortFunc(nodes, compareNodes)
	return nodes
}

// foreign reports whether n is of another cluster. Such a node is refused when
// it comes, but it may have come before this node knew its own cluster.
func (v *view) foreign(n *Node) bool {
	return n.ClusterID != "" && v.own.ClusterID != "" && n.ClusterID != v.own.ClusterID
}

func (v *view) take() []Event {
	v.mu.Lock()
	defer v.mu.Unlock()
	events := make([]Event, 0, len(v.pending))
	for _, e := range v.pending {
		events = append(events, e)
	}
	clear(v.pending)
	sortEvents(events)
	return events
}

func (v *view) emit(e Event) {
	v.pending[e.key()] = e
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// note reports an event unless it stands already.
func (v *view) note(e Event) (first bool) {
	if v.noted[e.key()] {
		return false
	}
	if len(v.noted) >= notesMax {
		clear(v.noted)
	}
	v.noted[e.key()] = true
	v.emit(e)
	return true
}

// unnote forgets what stands about a node, so that a new conflict is reported again.
func (v *view) unnote(id string) {
	for key := range v.noted {
		if key.node == id || (key.kind == EventNameConflict && key.another == id) {
			delete(v.noted, key)
		}
	}
}

func nodeOf(peer *memberlist.Node) (Node, error) {
	m, err := DecodeMeta(peer.Meta)
	if err != nil {
		return Node{}, err
	}
	if m.NodeID != peer.Name {
		return Node{}, fmt.Errorf("%w: node %s says it is %s", ErrMetaInvalid, peer.Name, m.NodeID)
	}
	return Node{Meta: m, Addr: peer.Address(), State: NodeAlive, Since: time.Now()}, nil
}

// NotifyAlive keeps out nodes of another cluster and those that talk nonsense.
func (v *view) NotifyAlive(peer *memberlist.Node) error {
	n, err := nodeOf(peer)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if n.NodeID == v.own.NodeID || !v.foreign(&n) {
		return nil
	}
	if v.note(Event{Kind: EventRefused, Node: n}) {
		v.log.Error("refused a node of another cluster", "node", n.NodeID, "name", n.Name, "address", n.Addr, "cluster", n.ClusterID)
	}
	return ErrWrongCluster
}

// NotifyJoin records a node that came or came back.
func (v *view) NotifyJoin(peer *memberlist.Node) { v.alive(peer) }

// NotifyUpdate records what a node says anew.
func (v *view) NotifyUpdate(peer *memberlist.Node) { v.alive(peer) }

func (v *view) alive(peer *memberlist.Node) {
	n, err := nodeOf(peer)
	if err != nil {
		// NotifyAlive refuses these before; the node stays as it was.
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.known[n.NodeID]
	switch {
	case old == nil:
	case old.State == NodeAlive:
		n.Since = old.Since
	default:
		v.lost--
	}
	v.known[n.NodeID] = &n
	if n.NodeID != v.own.NodeID && (old == nil || old.State != NodeAlive) {
		v.log.Info("node is alive", "node", n.NodeID, "name", n.Name, "address", n.Addr)
	}
	v.emit(Event{Kind: EventChanged, Node: n})
	v.checkName(&n)
}

// checkName reports living nodes with the name of n. One at the same gossip
// address is the predecessor of a wiped node whose death was not noticed yet.
func (v *view) checkName(n *Node) {
	for _, o := range v.known {
		if o.Name != n.Name || o.NodeID == n.NodeID || o.State != NodeAlive || o.Addr == n.Addr || n.Name == "" {
			continue
		}
		first, second := *n, *o
		if first.NodeID > second.NodeID {
			first, second = second, first
		}
		e := Event{Kind: EventNameConflict, Node: first, Other: second}
		if v.note(e) {
			v.log.Error("two nodes have the same name", "name", n.Name, "node", first.NodeID, "address", first.Addr,
				"other", second.NodeID, "other_address", second.Addr)
		}
	}
}

// NotifyLeave records a node that died or left.
func (v *view) NotifyLeave(peer *memberlist.Node) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.known[peer.Name]
	if old == nil {
		return
	}
	n := *old
	if old.State == NodeAlive {
		v.lost++
	}
	n.State, n.Since = NodeDead, time.Now()
	if m, err := DecodeMeta(peer.Meta); err == nil && m.Leaving {
		n.State = NodeLeft
	}
	v.known[peer.Name] = &n
	v.unnote(peer.Name)
	v.emit(Event{Kind: EventChanged, Node: n})
	if n.NodeID != v.own.NodeID {
		v.log.Info("node is gone", "node", n.NodeID, "name", n.Name, "state", n.State)
	}
	if v.lost > lostNodesMax {
		v.forgetOldest()
	}
}

func (v *view) forgetOldest() {
	var oldest *Node
	for _, n := range v.known {
		if n.State != NodeAlive && (oldest == nil || n.Since.Before(oldest.Since)) {
			oldest = n
		}
	}
	delete(v.known, oldest.NodeID)
	// Its event, if nobody took it yet, would be about a node that is not known.
	delete(v.pending, Event{Kind: EventChanged, Node: *oldest}.key())
	v.lost--
}

// NotifyConflict records that one id is used at two addresses.
func (v *view) NotifyConflict(existing, other *memberlist.Node) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, m := Node{Addr: existing.Address()}, Node{Addr: other.Address()}
	n.NodeID, m.NodeID = existing.Name, other.Name
	if old := v.known[existing.Name]; old != nil {
		n = *old
	}
	if meta, err := DecodeMeta(other.Meta); err == nil {
		m.Meta = meta
	}
	if v.note(Event{Kind: EventIDConflict, Node: n, Other: m}) {
		v.log.Error("one node id is used at two addresses; is a data directory in use twice?",
			"node", n.NodeID, "address", n.Addr, "other_address", m.Addr)
	}
}

// NodeMeta returns what this node says of itself.
func (v *view) NodeMeta(int) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ownBytes
}

// NotifyMsg passes over messages of nodes that have more to say than this release knows.
func (v *view) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to send besides what memberlist does.
func (v *view) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to add to an exchange of states.
func (v *view) LocalState(bool) []byte { return nil }

// MergeRemoteState passes over what another release may add.
func (v *view) MergeRemoteState([]byte, bool) {}
