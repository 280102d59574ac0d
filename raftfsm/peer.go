package raftfsm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	dialTimeout      = 3 * time.Second
	handshakeTimeout = 5 * time.Second
	backoffMin       = 50 * time.Millisecond
	backoffMax       = time.Second
	// probeAttempts and probePause bound the wait for a dead peer's other connections to be noticed. The pause is
	// how far apart its peers notice the death, and must be well below rankPause less rankJitter: two that
	// campaign at the same time split the votes, and then both wait for their election timeouts.
	probeAttempts = 80
	probePause    = 5 * time.Millisecond
	// probeAnswers is how many dials a peer without any connection may answer until it counts as alive.
	probeAnswers = 20
)

var (
	errTimeout  = errors.New("timed out")
	errBackoff  = errors.New("peer not reachable")
	errShutdown = errors.New("transport closed")
	errUnknown  = errors.New("no address known for node")
	// ErrHandshake is wrapped by the failure of a handshake: wrong cluster, wrong node, other version.
	ErrHandshake = errors.New("handshake refused")
)

// peer is everything this node has open towards another one.
type peer struct {
	t  *Transport
	id string
	// streams bounds the snapshots that are sent to this peer at once.
	streams chan struct{}

	mu      sync.Mutex
	lanes   [lanesShared]laneState
	inbound int  // links that the peer opened
	up      bool // some handshake worked since the last refusal
	probing bool
	back    chan struct{} // closed and replaced when a connection to the peer has been opened
}

// laneState is the outbound connection of one lane, and the attempt to open it.
type laneState struct {
	link    *link
	dialing chan struct{} // closed when the running attempt ends; nil if there is none
	err     error         // of the last attempt
	next    time.Time     // no attempt before this
	pause   time.Duration
}

// lane returns the open link of a lane, opening it if need be. While the peer is known to be
// unreachable it fails at once with the last reason. stop ends the wait.
func (p *peer) lane(l lane, stop <-chan struct{}) (*link, error) {
	for {
		p.mu.Lock()
		s := &p.lanes[l]
		if s.link != nil && s.link.alive() {
			k := s.link
			p.mu.Unlock()
			return k, nil
		}
		if s.dialing == nil {
			if time.Now().Before(s.next) {
				err := s.err
				p.mu.Unlock()
				return nil, fmt.Errorf("%w: %w", errBackoff, err)
			}
			if !p.t.start(func() { p.dialLane(l) }) {
				p.mu.Unlock()
				return nil, errShutdown
			}
			s.dialing = make(chan struct{})
		}
		wait := s.dialing
		p.mu.Unlock()
		select {
		case <-wait:
		case <-stop:
			return nil, errShutdown
		case <-p.t.closed:
			return nil, errShutdown
		}
	}
}

// awaitLane waits until a lane is open, for as long as patience lasts, or one attempt if that is longer. Its error is that of the last attempt.
func (p *peer) awaitLane(l lane, patience time.Duration, stop <-chan struct{}) error {
	over, again := time.NewTimer(patience), time.NewTimer(patience)
	defer over.Stop()
	defer again.Stop()
	for {
		p.mu.Lock()
		back := p.back // taken before the attempt, so that none is missed that works just after it
		p.mu.Unlock()
		_, err := p.lane(l, stop)
		if err == nil || errors.Is(err, errShutdown) {
			return err
		}
		p.mu.Lock()
		again.Reset(max(time.Until(p.lanes[l].next), backoffMin))
		p.mu.Unlock()
		select {
		case <-back: // heartbeats try as well, on a lane of their own
		case <-again.C: // that one may be open all the time
		case <-over.C:
			return err
		case <-stop:
			return errShutdown
		case <-p.t.closed:
			return errShutdown
		}
	}
}

// dialLane makes one attempt to open a lane and records its outcome.
func (p *peer) dialLane(l lane) {
	k, r, err := p.dial(l)
	p.mu.Lock()
	s := &p.lanes[l]
	s.link, s.err = k, err
	if err != nil {
		s.pause = min(max(2*s.pause, backoffMin), backoffMax)
		s.next = time.Now().Add(s.pause/2 + rand.N(s.pause/2+1))
	} else {
		s.pause, s.next = 0, time.Time{}
		close(p.back)
		p.back = make(chan struct{})
	}
	close(s.dialing)
	s.dialing = nil
	p.mu.Unlock()
	if err == nil {
		p.t.serve(p, k, r)
	} else if refused(err) {
		p.probe()
	}
}

// dial opens and greets one connection. Its writer runs already; the caller must run its reader.
func (p *peer) dial(l lane) (*link, *bufio.Reader, error) {
	addr, ok := p.t.o.Resolve(p.id)
	if !ok {
		return nil, nil, fmt.Errorf("%w %s", errUnknown, p.id)
	}
	ctx, cancel := context.WithTimeout(p.t.ctx(), dialTimeout)
	defer cancel()
	conn, err := p.t.o.Dial(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	if !p.t.track(conn) {
		return nil, nil, errors.Join(errShutdown, conn.Close())
	}
	r, err := p.greet(conn, l)
	if err != nil {
		p.t.untrack(conn)
		p.t.logOnce(addr, "peer refused the connection", err)
		return nil, nil, errors.Join(err, conn.Close())
	}
	p.mu.Lock()
	p.up = true
	p.mu.Unlock()
	k := newLink(conn, p.id, l, true, p.t.o.LaneBytes, p.t.o.Coalesce)
	if !p.t.start(k.writeLoop) {
		k.fail(errShutdown)
		p.t.untrack(conn)
		return nil, nil, errShutdown
	}
	return k, r, nil
}

// greet exchanges hellos on a connection that this side opened.
func (p *peer) greet(conn net.Conn, l lane) (*bufio.Reader, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	own := hello{version: wireVersion, lane: l, cluster: p.t.o.ClusterID(), node: p.t.o.NodeID, target: p.id}
	if _, err := conn.Write(encodeHello(own)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, readBufferBytes)
	h, err := readHello(r)
	if err != nil {
		return nil, err
	}
	why := h.refusal
	if why == welcome {
		why = p.t.judge(h, p.id)
	}
	if why != welcome {
		return nil, fmt.Errorf("%w: %s (node %s, cluster %q)", ErrHandshake, why, h.node, h.cluster)
	}
	return r, conn.SetDeadline(time.Time{})
}

// lost is called when a link ended. The peer may have died: find out at once, since the groups
// it led can then elect without waiting for their timeouts.
func (p *peer) lost(k *link) {
	p.mu.Lock()
	if !k.outbound {
		p.inbound--
	} else if k.lane < lanesShared && p.lanes[k.lane].link == k {
		p.lanes[k.lane].link = nil
	}
	p.mu.Unlock()
	if k.lane != laneSnapshot { // those end when their snapshot does
		p.probe()
	}
}

// probe redials a peer that was up. Only if the dial is actively refused, and no connection of
// the peer is left, does it count as dead; a peer that merely dropped a connection answers. The kernel closes a
// killed process's connections and its listener in any order: without any connection an answer proves little.
func (p *peer) probe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.probing || !p.up {
		return
	}
	p.probing = p.t.start(func() {
		answers := 0
		for attempt := range probeAttempts {
			refused := p.redialRefused()
			if !refused {
				answers++
			}
			again, died := p.probed(refused, attempt == probeAttempts-1 || answers == probeAnswers)
			if died {
				p.t.peerDied(p.id)
			}
			if !again {
				return
			}
			select {
			case <-time.After(probePause):
			case <-p.t.closed:
				return
			}
		}
	})
}

// probed judges the outcome of a probe's dial. A probe that ends has done so before the next link can be lost,
// which then begins another: no loss goes unseen.
func (p *peer) probed(refused, last bool) (again, died bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	died = refused && p.inbound == 0 && p.up
	if died {
		p.up = false
	}
	p.probing = !died && !last && (refused || !p.connected())
	return p.probing, died
}

// connected reports whether a link to or from the peer is open. The caller holds the lock.
func (p *peer) connected() bool {
	return p.inbound > 0 || slices.ContainsFunc(p.lanes[:], func(s laneState) bool { return s.link != nil && s.link.alive() })
}

// redialRefused opens a connection only to see whether it is refused.
func (p *peer) redialRefused() bool {
	addr, ok := p.t.o.Resolve(p.id)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(p.t.ctx(), dialTimeout)
	defer cancel()
	conn, err := p.t.o.Dial(ctx, addr)
	if err != nil {
		return refused(err)
	}
	_ = conn.Close() // it answered, which is all we wanted to know
	return false
}

// refused reports whether an error says that nobody listens at an address of a running host.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
