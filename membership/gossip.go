package membership

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// ErrClosed reports a call after Close.
var ErrClosed = errors.New("gossip is closed")

// updateTimeout bounds how long UpdateMeta waits for the first packet to leave.
const updateTimeout = 5 * time.Second

// Gossip is this node's part in the gossip. Its methods may be called from any goroutine.
type Gossip struct {
	opts Options            // immutable
	log  hclog.Logger       // immutable
	view *view              // has its own lock
	stop context.CancelFunc // ends the join loop
	wg   sync.WaitGroup     // the join loop

	joined     chan struct{} // closed when another node was reached first
	joinedOnce sync.Once

	// mu serialises calls that memberlist does not want after or beside each
	// other. memberlist calls the view under its own locks, so the view's lock
	// comes last and the view never calls memberlist.
	mu     sync.Mutex
	list   *memberlist.Memberlist // set once by Start, before anything else uses it
	left   bool
	closed bool
}

// Start listens, and joins the seeds in the background. It fails at once for a
// bad option or a port in use; seeds that do not answer are no failure.
func Start(o Options) (*Gossip, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.Timing = o.Timing.withDefaults()
	o.Meta.NodeID, o.Meta.Name, o.Meta.Leaving = o.NodeID, o.Name, false
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	log := o.Logger.Named("gossip")
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	v, err := newView(o.Meta, log)
	if err != nil {
		return nil, err
	}
	config.Logger = newLineLogger(log)
	config.Delegate, config.Events, config.Conflict, config.Alive = v, v, v, v
	list, err := memberlist.Create(config)
	if err != nil {
		return nil, listenError(o, err)
	}
	o.BindPort = config.BindPort // memberlist fills in the port it was given for 0
	ctx, stop := context.WithCancel(context.Background())
	g := &Gossip{opts: o, log: log, view: v, stop: stop, list: list, joined: make(chan struct{})}
	g.wg.Go(func() { g.joinLoop(ctx) })
	return g, nil
}

// Addr returns the gossip address told to others, host:port.
func (g *Gossip) Addr() string { return g.list.LocalNode().Address() }

// Joined is closed once another node was reached.
func (g *Gossip) Joined() <-chan struct{} { return g.joined }

// Nodes returns the nodes believed to be alive, this one among them, ascending by id.
func (g *Gossip) Nodes() []Node {
	return g.view.nodes(func(n *Node) bool { return n.State == NodeAlive })
}

// Lost returns the nodes that died or left, as far as they are remembered, ascending by id.
func (g *Gossip) Lost() []Node {
	return g.view.nodes(func(n *Node) bool { return n.State != NodeAlive })
}

// Node returns what is known of a node, alive or lost.
func (g *Gossip) Node(id string) (Node, bool) { return g.view.node(id) }

// Changed receives a value when there are events to take. It is never closed.
func (g *Gossip) Changed() <-chan struct{} { return g.view.changed }

// Events returns what happened since the last call, the latest per node only,
// in ascending order of node ids. One reader is meant.
func (g *Gossip) Events() []Event { return g.view.take() }

// UpdateMeta tells the others something new about this node. NodeID and Name
// stay as they are. A timeout is returned as an error, but the news still spread.
func (g *Gossip) UpdateMeta(m Meta) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.left {
		return ErrClosed
	}
	m.NodeID, m.Name, m.Leaving = g.opts.NodeID, g.opts.Name, false
	return g.update(m, updateTimeout)
}

func (g *Gossip) update(m Meta, timeout time.Duration) error {
	if err := g.view.setSelf(m); err != nil {
		return err
	}
	return g.list.UpdateNode(timeout)
}

// Leave tells the others that this node goes on purpose. It waits up to about
// twice the timeout for the word to get out. The node stops joining; it still
// has to be closed. Idempotent.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if g.left {
		return nil
	}
	g.left = true
	g.stop()
	// memberlist does not say whether a node left or died; the flag does.
	m := g.view.self()
	m.Leaving = true
	return errors.Join(g.update(m, timeout), g.list.Leave(timeout))
}

// Close stops without a word; the others will find this node dead. Idempotent.
func (g *Gossip) Close() error {
	g.stop()
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.list.Shutdown()
}

func compareNodes(a, b Node) int { return strings.Compare(a.NodeID, b.NodeID) }

func sortEvents(events []Event) {
	slices.SortFunc(events, func(a, b Event) int {
		ka, kb := a.key(), b.key()
		if c := strings.Compare(ka.node, kb.node); c != 0 {
			return c
		}
		if c := strings.Compare(string(ka.kind), string(kb.kind)); c != 0 {
			return c
		}
		return strings.Compare(ka.another, kb.another)
	})
}
