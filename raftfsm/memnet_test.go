package raftfsm

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memNet is a network in memory: connections with buffers, nodes that can be down, and
// directions that can stall. As with TCP nothing is lost on a stalled direction, it comes late.
type memNet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	conns     map[*memConn]struct{}
	stalled   map[[2]string]bool
	killed    map[string]bool // until the node listens again
	changed   chan struct{}   // closed and replaced whenever a stall begins or ends
}

func newMemNet() *memNet {
	return &memNet{
		listeners: map[string]*memListener{}, conns: map[*memConn]struct{}{},
		stalled: map[[2]string]bool{}, killed: map[string]bool{}, changed: make(chan struct{}),
	}
}

func (n *memNet) listen(addr string) *memListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memListener{net: n, addr: addr, queue: make(chan *memConn, 64), closed: make(chan struct{})}
	n.listeners[addr] = l
	delete(n.killed, addr)
	return l
}

// dialer returns a dial function of a node.
func (n *memNet) dialer(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		for {
			n.mu.Lock()
			blocked, changed, l := n.stalled[[2]string{from, to}] || n.stalled[[2]string{to, from}], n.changed, n.listeners[to]
			dead := n.killed[from]
			n.mu.Unlock()
			if dead {
				return nil, &net.OpError{Op: "dial", Net: "mem", Err: os.NewSyscallError("connect", syscall.ENETDOWN)}
			}
			if blocked {
				select {
				case <-changed:
					continue
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			if l == nil {
				return nil, &net.OpError{Op: "dial", Net: "mem", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			return n.connect(from, to, l)
		}
	}
}

func (n *memNet) connect(from, to string, l *memListener) (net.Conn, error) {
	there, back := newMemPipe(n, from, to), newMemPipe(n, to, from)
	a := &memConn{net: n, local: from, remote: to, in: back, out: there}
	b := &memConn{net: n, local: to, remote: from, in: there, out: back}
	n.mu.Lock()
	n.conns[a], n.conns[b] = struct{}{}, struct{}{}
	n.mu.Unlock()
	select {
	case l.queue <- b:
		return a, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	}
}

// stall begins or ends the stall of one direction.
func (n *memNet) stall(from, to string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalled[[2]string{from, to}] = on
	close(n.changed)
	n.changed = make(chan struct{})
}

// isolate stalls all directions to and from a node.
func (n *memNet) isolate(node string, others []string, on bool) {
	for _, o := range others {
		if o != node {
			n.stall(node, o, on)
			n.stall(o, node, on)
		}
	}
}

// drop loses what a node that was killed had sent and what has not arrived, as when its machine died.
func (n *memNet) drop(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.local == to && c.remote == from {
			c.in.mu.Lock()
			c.in.data = nil
			c.in.mu.Unlock()
		}
	}
}

// kill ends a node's listener and connections, as the kernel does for a killed process.
func (n *memNet) kill(node string) {
	n.closeListener(node)
	n.dropConns(node, 0)
}

// killListenerLast ends a node's connections first, so far apart, and then its listener: the kernel may do so too.
func (n *memNet) killListenerLast(node string, gap time.Duration) {
	n.dropConns(node, gap)
	n.closeListener(node)
}

func (n *memNet) closeListener(node string) {
	n.mu.Lock()
	l := n.listeners[node]
	delete(n.listeners, node)
	n.killed[node] = true
	n.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
}

// dropConns closes a node's ends of its connections, one after the other.
func (n *memNet) dropConns(node string, gap time.Duration) {
	n.mu.Lock()
	var conns []*memConn
	for c := range n.conns {
		if c.local == node {
			conns = append(conns, c)
		}
	}
	n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		time.Sleep(gap)
	}
}

type memListener struct {
	net    *memNet
	addr   string
	queue  chan *memConn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		if l.net.listeners[l.addr] == l {
			delete(l.net.listeners, l.addr)
		}
		l.net.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return memAddr(l.addr) }

type memAddr string

func (a memAddr) Network() string { return "mem" }
func (a memAddr) String() string  { return string(a) }

const memPipeMax = 4 << 20

// memPipe is one direction of a connection.
type memPipe struct {
	net      *memNet
	from, to string

	mu      sync.Mutex
	data    []byte
	ended   bool          // by the writer: the reader gets EOF after the data
	broken  bool          // by the reader: the writer gets an error
	changed chan struct{} // closed and replaced on every change
}

func newMemPipe(n *memNet, from, to string) *memPipe {
	return &memPipe{net: n, from: from, to: to, changed: make(chan struct{})}
}

func (p *memPipe) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *memPipe) isStalled() (bool, chan struct{}) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return p.net.stalled[[2]string{p.from, p.to}], p.net.changed
}

type memConn struct {
	net           *memNet
	local, remote string
	in, out       *memPipe

	mu          sync.Mutex
	closed      bool
	readBefore  time.Time
	writeBefore time.Time
	deadlines   chan struct{} // closed and replaced when a deadline changes; nil until one is set
}

// wait blocks until one of the channels or the deadline.
func (c *memConn) wait(deadline time.Time, moved, a, b chan struct{}) error {
	var timer <-chan time.Time
	if !deadline.IsZero() {
		d := time.Until(deadline)
		if d <= 0 {
			return os.ErrDeadlineExceeded
		}
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-a:
	case <-b:
	case <-moved:
	case <-timer:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *memConn) state(read bool) (closed bool, deadline time.Time, moved chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadlines == nil {
		c.deadlines = make(chan struct{})
	}
	if read {
		return c.closed, c.readBefore, c.deadlines
	}
	return c.closed, c.writeBefore, c.deadlines
}

func (c *memConn) Read(b []byte) (int, error) {
	for {
		closed, deadline, moved := c.state(true)
		if closed {
			return 0, net.ErrClosed
		}
		stalled, netChanged := c.in.isStalled()
		c.in.mu.Lock()
		if !stalled && len(c.in.data) > 0 {
			n := copy(b, c.in.data)
			c.in.data = c.in.data[n:]
			c.in.notify()
			c.in.mu.Unlock()
			return n, nil
		}
		if !stalled && c.in.ended {
			c.in.mu.Unlock()
			return 0, io.EOF
		}
		changed := c.in.changed
		c.in.mu.Unlock()
		if err := c.wait(deadline, moved, changed, netChanged); err != nil {
			return 0, err
		}
	}
}

func (c *memConn) Write(b []byte) (int, error) {
	written := 0
	for {
		closed, deadline, moved := c.state(false)
		if closed {
			return written, net.ErrClosed
		}
		c.out.mu.Lock()
		if c.out.broken {
			c.out.mu.Unlock()
			return written, fmt.Errorf("write: %w", syscall.ECONNRESET)
		}
		n := min(len(b)-written, memPipeMax-len(c.out.data))
		c.out.data = append(c.out.data, b[written:written+n]...)
		written += n
		c.out.notify()
		changed := c.out.changed
		c.out.mu.Unlock()
		if written == len(b) {
			return written, nil
		}
		if err := c.wait(deadline, moved, changed, nil); err != nil {
			return written, err
		}
	}
}

func (c *memConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.bump()
	c.mu.Unlock()
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	c.out.mu.Lock()
	c.out.ended = true
	c.out.notify()
	c.out.mu.Unlock()
	c.in.mu.Lock()
	c.in.broken = true
	c.in.notify()
	c.in.mu.Unlock()
	return nil
}

// bump wakes whoever waits under old deadlines. Called with mu held.
func (c *memConn) bump() {
	if c.deadlines != nil {
		close(c.deadlines)
	}
	c.deadlines = make(chan struct{})
}

func (c *memConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBefore, c.writeBefore = t, t
	c.bump()
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBefore = t
	c.bump()
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBefore = t
	c.bump()
	return nil
}

func (c *memConn) LocalAddr() net.Addr  { return memAddr(c.local) }
func (c *memConn) RemoteAddr() net.Addr { return memAddr(c.remote) }
