package raftfsm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Defaults of TransportOptions.
const (
	DefaultMaxFrame       = 17 << 20
	DefaultLaneBytes      = 32 << 20
	DefaultGroupBytes     = 64 << 20
	DefaultInboundBytes   = 512 << 20
	DefaultCoalesce       = 50 * time.Millisecond
	DefaultControlTimeout = 2 * time.Second
	DefaultBulkTimeout    = 15 * time.Second

	snapshotStreamsMax  = 8    // sent to one peer at once
	inboundPerPeerMax   = 32   // connections that one peer may open
	inboundGreetingMax  = 128  // connections that have not said who they are
	peersMax            = 4096 // nodes with which anything was ever exchanged
	loggedAddressesMax  = 1024 // peer addresses whose misbehaviour was logged
	sweepInterval       = 250 * time.Millisecond
	callsPerLinkMax     = 64
	appendPartBytes     = 4 << 20 // entries of one append are split into frames of about this
	pipelineRequestsMax = 64
	pipelineBytesMax    = 16 << 20
)

// TransportOptions configures a Transport. Zero values of sizes and times take the defaults.
type TransportOptions struct {
	// NodeID is this node's id, at most 255 bytes. Required.
	NodeID string
	// ClusterID returns the cluster's id, "" while it is not known. Nodes whose known ids differ refuse each other.
	ClusterID func() string
	// Listener accepts peers' connections; TLS is its business. The Transport closes it. Required.
	Listener net.Listener
	// Dial opens a connection to an address that Resolve returned. A dial that is actively
	// refused must give an error that is syscall.ECONNREFUSED. Required.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Resolve returns a node's present address. Required.
	Resolve func(nodeID string) (addr string, ok bool)
	Logger  hclog.Logger

	MaxFrame       int           // bytes of one frame's body; a larger single entry is refused
	LaneBytes      int           // bytes queued for one connection before senders wait
	GroupBytes     int           // bytes received for one group and not yet taken by it; more is refused
	InboundBytes   int64         // the same for all groups together
	Coalesce       time.Duration // how long heartbeats and empty appends wait for company
	ControlTimeout time.Duration // of heartbeats and votes
	BulkTimeout    time.Duration // of appends
}

func (o *TransportOptions) validate() error {
	if o.NodeID == "" || len(o.NodeID) > helloTextMax {
		return fmt.Errorf("transport: node id of %d bytes", len(o.NodeID))
	}
	if o.Listener == nil || o.Dial == nil || o.Resolve == nil {
		return errors.New("transport: Listener, Dial and Resolve are required")
	}
	if o.ClusterID == nil {
		o.ClusterID = func() string { return "" }
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	defaultTo(&o.MaxFrame, DefaultMaxFrame)
	defaultTo(&o.LaneBytes, DefaultLaneBytes)
	defaultTo(&o.GroupBytes, DefaultGroupBytes)
	defaultTo(&o.InboundBytes, DefaultInboundBytes)
	defaultTo(&o.Coalesce, DefaultCoalesce)
	defaultTo(&o.ControlTimeout, DefaultControlTimeout)
	defaultTo(&o.BulkTimeout, DefaultBulkTimeout)
	return nil
}

func defaultTo[T int | int64 | uint64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// CallHandler serves one internal call. The request may be kept; errors cross the wire with their fault kind.
type CallHandler func(ctx context.Context, from string, request []byte) ([]byte, error)

// Transport carries the Raft traffic of all groups of a node, and its internal calls.
// It is safe for concurrent use. Close ends all its goroutines.
type Transport struct {
	o      TransportOptions
	closed chan struct{}
	base   context.Context // ends with closed; it is the parent of dials and of served calls
	cancel context.CancelFunc
	wg     sync.WaitGroup

	inboundBytes atomic.Int64 // received and not yet taken by groups

	mu       sync.RWMutex
	stopped  bool
	groups   map[uint64]*groupTransport
	peers    map[string]*peer
	conns    map[net.Conn]struct{} // every open connection, so that Close can end them
	greeting int                   // inbound connections before their hello
	links    map[*link]struct{}    // served links, for the sweeper
	handlers map[uint8]CallHandler
	logged   map[string]struct{}
	onDeath  func(nodeID string)
}

// NewTransport starts to accept connections. The caller must Close it.
func NewTransport(o TransportOptions) (*Transport, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	t := &Transport{
		o: o, closed: make(chan struct{}), groups: map[uint64]*groupTransport{}, peers: map[string]*peer{},
		conns: map[net.Conn]struct{}{}, links: map[*link]struct{}{}, handlers: map[uint8]CallHandler{}, logged: map[string]struct{}{},
	}
	t.base, t.cancel = context.WithCancel(context.Background())
	t.start(t.accept)
	t.start(t.sweep)
	return t, nil
}

func (t *Transport) ctx() context.Context { return t.base }

// start runs f in a goroutine that Close waits for. It reports false after Close.
func (t *Transport) start(f func()) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.stopped {
		return false
	}
	t.wg.Go(f)
	return true
}

// Close refuses new work, ends every connection and waits for all goroutines. It may be called again.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.stopped {
		t.mu.Unlock()
		t.wg.Wait()
		return nil
	}
	t.stopped = true
	close(t.closed)
	t.cancel()
	err := t.o.Listener.Close()
	for c := range t.conns {
		_ = c.Close() // their readers see the end
	}
	links := t.links
	t.links = map[*link]struct{}{}
	t.mu.Unlock()
	for k := range links {
		k.fail(errShutdown)
	}
	t.wg.Wait()
	return err
}

// track remembers a connection for Close. It reports false after Close.
func (t *Transport) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Transport) untrack(c net.Conn) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
}

// peer returns the state kept for a node.
func (t *Transport) peer(id string) *peer {
	t.mu.RLock()
	p := t.peers[id]
	t.mu.RUnlock()
	if p != nil {
		return p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers[id] == nil {
		t.peers[id] = &peer{t: t, id: id, streams: make(chan struct{}, snapshotStreamsMax), back: make(chan struct{})}
	}
	return t.peers[id]
}

// knows reports whether a node has a place among the peers, or there is room for one more.
func (t *Transport) knows(id string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.peers[id] != nil || len(t.peers) < peersMax
}

func (t *Transport) group(id uint64) *groupTransport {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.groups[id]
}

// judge says whether the sender of a hello is welcome. want is the node it must be, "" for any.
func (t *Transport) judge(h hello, want string) refusal {
	own := t.o.ClusterID()
	switch {
	case h.version != wireVersion:
		return refusedVersion
	case own != "" && h.cluster != "" && own != h.cluster:
		return refusedCluster
	case h.target != t.o.NodeID || (want != "" && h.node != want):
		return refusedNode
	}
	return welcome
}

// sweep ends requests whose time is over, on all links.
func (t *Transport) sweep() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.mu.RLock()
			links := make([]*link, 0, len(t.links))
			for k := range t.links {
				links = append(links, k)
			}
			t.mu.RUnlock()
			for _, k := range links {
				k.expire(now)
			}
		case <-t.closed:
			return
		}
	}
}

// serve runs a link's reader until it ends, then tells its peer.
func (t *Transport) serve(p *peer, k *link, r *bufio.Reader) {
	t.mu.Lock()
	stopped := t.stopped
	if !stopped {
		t.links[k] = struct{}{}
	}
	t.mu.Unlock()
	err := errShutdown
	if !stopped {
		err = newSession(t, k).run(r)
	}
	k.fail(err)
	t.mu.Lock()
	delete(t.links, k)
	delete(t.conns, k.conn)
	t.mu.Unlock()
	if errors.Is(err, ErrFrame) {
		t.logOnce(k.conn.RemoteAddr().String(), "peer sent garbage", err)
	}
	p.lost(k)
}

// logOnce logs a peer address's misbehaviour the first time.
func (t *Transport) logOnce(addr, message string, err error) {
	if host, _, splitErr := net.SplitHostPort(addr); splitErr == nil && message != "peer refused the connection" {
		addr = host // the port of an inbound connection differs each time
	}
	t.mu.Lock()
	_, known := t.logged[addr+message]
	if !known && len(t.logged) < loggedAddressesMax {
		t.logged[addr+message] = struct{}{}
	}
	t.mu.Unlock()
	if !known {
		t.o.Logger.Warn(message, "address", addr, "error", err)
	}
}

// peerDied tells the host that a node's process is gone.
func (t *Transport) peerDied(id string) {
	t.o.Logger.Info("peer process is gone", "peer", id)
	t.mu.RLock()
	f := t.onDeath
	t.mu.RUnlock()
	if f != nil {
		f(id)
	}
}

// onPeerDeath sets who is told when a node's process is gone. f must not block.
func (t *Transport) onPeerDeath(f func(nodeID string)) {
	t.mu.Lock()
	t.onDeath = f
	t.mu.Unlock()
}
