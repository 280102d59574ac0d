package kinesis

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// balancer stands in for a load balancer before the nodes: it gives connections to them in turn, and passes over nodes that take none.
type balancer struct {
	listener net.Listener
	backends []string

	mu      sync.Mutex
	next    int
	closed  bool
	open    map[net.Conn]struct{}
	serving sync.WaitGroup
}

// balance starts a balancer before nodes. It ends with the test.
func balance(t *testing.T, nodes []*cluster.Node) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: listener, open: map[net.Conn]struct{}{}}
	for _, n := range nodes {
		b.backends = append(b.backends, n.Kinesis)
	}
	b.serving.Go(b.serve)
	t.Cleanup(b.close)
	return b
}

func (b *balancer) address() string { return b.listener.Addr().String() }

func (b *balancer) serve() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.serving.Go(func() { b.pass(conn) })
	}
}

// keep notes a connection that is to be closed with the balancer.
func (b *balancer) keep(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.open[conn] = struct{}{}
	return true
}

func (b *balancer) drop(conn net.Conn) {
	conn.Close() // it may be closed already
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, conn)
}

// pass connects a client to the next node that takes connections. The end of either connection is that of both.
func (b *balancer) pass(from net.Conn) {
	defer b.drop(from)
	if !b.keep(from) {
		return
	}
	b.mu.Lock()
	first := b.next
	b.next++
	b.mu.Unlock()
	for i := range b.backends {
		to, err := net.DialTimeout("tcp", b.backends[(first+i)%len(b.backends)], time.Second)
		if err != nil {
			continue
		}
		defer b.drop(to)
		if !b.keep(to) {
			return
		}
		var copying sync.WaitGroup
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			copying.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // why it ended is seen by both ends
				from.Close()
				to.Close()
			})
		}
		copying.Wait()
		return
	}
}

func (b *balancer) close() {
	b.listener.Close() // nothing is lost
	b.mu.Lock()
	b.closed = true
	for conn := range b.open {
		conn.Close()
	}
	b.mu.Unlock()
	b.serving.Wait()
}
