package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Network stands between the nodes' Raft ports, so that tests can cut links. Each node
// tells the others the address of its own proxy, which learns from the
// greeting of a connection which node called. What is sent over a cut link is held
// back, as by a network that drops packets, and arrives when the link is mended.
// Gossip and the native API do not pass through it.
type Network struct {
	nodes     []*Node
	listeners []net.Listener
	running   sync.WaitGroup

	mu     sync.Mutex
	cut    map[link]bool
	mended chan struct{} // closed and replaced whenever links are mended
	open   map[net.Conn]struct{}
	closed bool
}

// link is one direction between two nodes, by name.
type link struct{ from, to string }

// newNetwork opens a proxy for each node and returns the addresses to advertise.
func newNetwork(nodes []*Node) (*Network, []string, error) {
	w := &Network{nodes: nodes, cut: map[link]bool{}, mended: make(chan struct{}), open: map[net.Conn]struct{}{}}
	var addrs []string
	for _, n := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, errors.Join(err, w.Close())
		}
		w.listeners = append(w.listeners, l)
		addrs = append(addrs, l.Addr().String())
		w.running.Go(func() { w.accept(l, n) })
	}
	return w, addrs, nil
}

// Cut stops everything that from sends to to; the other direction is another link.
func (w *Network) Cut(from, to *Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[link{from.Name, to.Name}] = true
}

// Isolate cuts a node off from all others, both ways.
func (w *Network) Isolate(n *Node) {
	for _, other := range w.nodes {
		if other != n {
			w.Cut(n, other)
			w.Cut(other, n)
		}
	}
}

// Mend restores every link.
func (w *Network) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
	close(w.mended)
	w.mended = make(chan struct{})
}

// Close ends the proxies and every connection through them.
func (w *Network) Close() error {
	w.mu.Lock()
	w.closed = true
	for conn := range w.open {
		conn.Close() // whoever copies from it sees the end
	}
	w.mu.Unlock()
	w.Mend()
	var errs []error
	for _, l := range w.listeners {
		errs = append(errs, l.Close())
	}
	w.running.Wait()
	return errors.Join(errs...)
}

// own keeps a connection to be closed with the network; false if that has happened.
func (w *Network) own(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.open[conn] = struct{}{}
	}
	return !w.closed
}

func (w *Network) drop(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, conn)
	conn.Close() // it is of no more use, whatever Close says
}

func (w *Network) accept(l net.Listener, to *Node) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		w.running.Go(func() { w.carry(conn, to) })
	}
}

// greetingMax is more than a greeting between nodes takes.
const greetingMax = 2048

// carry connects an incoming connection with its node.
func (w *Network) carry(in net.Conn, to *Node) {
	defer w.drop(in)
	if !w.own(in) {
		return
	}
	greeting := make([]byte, greetingMax)
	n, err := in.Read(greeting)
	if err != nil {
		return
	}
	from := w.caller(string(greeting[:n]), to)
	w.pass(link{from, to.Name})
	out, err := net.Dial("tcp", to.Raft)
	if err != nil {
		return
	}
	defer w.drop(out)
	if !w.own(out) {
		return
	}
	if _, err := out.Write(greeting[:n]); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { w.copy(out, in, link{from, to.Name}); out.Close(); in.Close() })
	both.Go(func() { w.copy(in, out, link{to.Name, from}); out.Close(); in.Close() })
	both.Wait()
}

// caller returns the name of the node whose identity the greeting holds, "" if none.
func (w *Network) caller(greeting string, to *Node) string {
	for _, n := range w.nodes {
		if n == to {
			continue
		}
		b, err := os.ReadFile(filepath.Join(n.Data, "identity.json"))
		if err != nil {
			continue // wiped at this moment
		}
		var identity struct {
			ID string `json:"node_id"`
		}
		if json.Unmarshal(b, &identity) == nil && identity.ID != "" && strings.Contains(greeting, identity.ID) {
			return n.Name
		}
	}
	return ""
}

// copy moves bytes over a link, holding them back while it is cut.
func (w *Network) copy(to io.Writer, from io.Reader, l link) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		w.pass(l)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass returns when the link is whole.
func (w *Network) pass(l link) {
	for {
		w.mu.Lock()
		cut, mended := w.cut[l] && !w.closed, w.mended
		w.mu.Unlock()
		if !cut {
			return
		}
		<-mended
	}
}
