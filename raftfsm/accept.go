package raftfsm

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept takes connections until the listener closes. Each gets a goroutine; how many may be
// silent before their hello is bounded, so that a flood of connections cannot take memory.
func (t *Transport) accept() {
	pause := acceptPauseMin
	for {
		conn, err := t.o.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of descriptors, most likely
			case <-t.closed:
				return
			case <-time.After(pause):
				pause = min(2*pause, acceptPauseMax)
			}
			continue
		}
		pause = acceptPauseMin
		if !t.track(conn) {
			_ = conn.Close() // the transport is closing
			return
		}
		t.mu.Lock()
		crowded := t.greeting >= inboundGreetingMax
		if !crowded {
			t.greeting++
		}
		t.mu.Unlock()
		if crowded || !t.start(func() { t.receive(conn) }) {
			t.untrack(conn)
			_ = conn.Close() // one too many, or closing
		}
	}
}

// receive greets an inbound connection and serves it until it ends.
func (t *Transport) receive(conn net.Conn) {
	h, r, err := t.welcome(conn)
	t.mu.Lock()
	t.greeting--
	t.mu.Unlock()
	if err != nil {
		t.untrack(conn)
		_ = conn.Close() // the reason is logged below
		t.logOnce(conn.RemoteAddr().String(), "dropped a connection", err)
		return
	}
	p := t.peer(h.node)
	k := newLink(conn, h.node, h.lane, false, t.o.LaneBytes, t.o.Coalesce)
	if !t.start(k.writeLoop) {
		k.fail(errShutdown)
		t.untrack(conn)
		return
	}
	t.serve(p, k, r)
}

// welcome reads the hello of an inbound connection and answers it. It counts the connection for its peer.
func (t *Transport) welcome(conn net.Conn) (hello, *bufio.Reader, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return hello{}, nil, err
	}
	r := bufio.NewReaderSize(conn, readBufferBytes)
	h, err := readHello(r)
	if err != nil {
		return hello{}, nil, err
	}
	own := hello{version: wireVersion, lane: h.lane, cluster: t.o.ClusterID(), node: t.o.NodeID, target: h.node}
	own.refusal = t.judge(h, "")
	counted := false
	if own.refusal == welcome && !t.knows(h.node) {
		own.refusal = refusedCrowded
	}
	if own.refusal == welcome {
		p := t.peer(h.node)
		p.mu.Lock()
		if p.inbound < inboundPerPeerMax {
			p.inbound++
			counted, p.up = true, true
		} else {
			own.refusal = refusedCrowded
		}
		p.mu.Unlock()
	}
	_, err = conn.Write(encodeHello(own))
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if own.refusal != welcome {
		return hello{}, nil, fmt.Errorf("%w: %s (node %s, cluster %q)", ErrHandshake, own.refusal, h.node, h.cluster)
	}
	if err != nil && counted {
		p := t.peer(h.node)
		p.mu.Lock()
		p.inbound--
		p.mu.Unlock()
	}
	return h, r, err
}
