package raftfsm

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// groupTransport is one group's view of the Transport: what the library calls a transport.
// It implements raft.Transport and raft.WithPreVote.
type groupTransport struct {
	t        *Transport
	id       uint64
	local    raft.ServerAddress
	consumer chan raft.RPC // unbuffered: the inbox is the queue
	inbox    inbox
	closed   chan struct{}
	once     sync.Once
	urgent   atomic.Int32 // leadership checks under way: their heartbeats do not wait for company

	// gate returns whether a heartbeat of a term may be handled in place; set before the group runs.
	gate      atomic.Pointer[func(term uint64) bool]
	heartbeat atomic.Pointer[func(raft.RPC)]
	// stale decides about snapshots before the library sees them; set before the group runs.
	stale atomic.Pointer[func(*raft.InstallSnapshotRequest) bool]
	// known takes from appends what the group has already; set before the group runs.
	known atomic.Pointer[func(*raft.AppendEntriesRequest) *raft.AppendEntriesRequest]
	// installed is told of each snapshot that the library took over.
	installed atomic.Pointer[func(index uint64)]
	// early are entries of this replica that are not durable yet; nil where there never are any.
	early atomic.Pointer[early]
	// sums are checksums of this replica's entries; nil for the meta group.
	sums atomic.Pointer[sums]
	// handed is told when the leader asks this replica to take over.
	handed atomic.Pointer[func()]
	// serves tells whether this replica leads in a term and a node is a member; appends do not wait for others. Nil before the group runs.
	serves atomic.Pointer[func(node string, term uint64) bool]
	// transfers counts how often this replica began to hand over the lead.
	transfers atomic.Uint64
}

var (
	_ raft.Transport   = (*groupTransport)(nil)
	_ raft.WithPreVote = (*groupTransport)(nil)
)

// join registers a group. A group id runs at most once.
func (t *Transport) join(id uint64) (*groupTransport, error) {
	g := &groupTransport{t: t, id: id, local: raft.ServerAddress(t.o.NodeID), consumer: make(chan raft.RPC), closed: make(chan struct{})}
	g.inbox = inbox{g: g, max: t.o.GroupBytes}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return nil, errShutdown
	}
	if t.groups[id] != nil {
		return nil, fmt.Errorf("group %d runs already", id)
	}
	t.groups[id] = g
	return g, nil
}

// leave ends the group's traffic: every wait of it returns.
func (g *groupTransport) leave() {
	g.once.Do(func() {
		close(g.closed)
		g.t.mu.Lock()
		if g.t.groups[g.id] == g {
			delete(g.t.groups, g.id)
		}
		g.t.mu.Unlock()
	})
}

func (g *groupTransport) ended() bool {
	select {
	case <-g.closed:
		return true
	default:
		return false
	}
}

// fastBeat returns the library's heartbeat handler if it may be called in place.
func (g *groupTransport) fastBeat(term uint64) func(raft.RPC) {
	gate, handler := g.gate.Load(), g.heartbeat.Load()
	if gate == nil || handler == nil || !(*gate)(term) {
		return nil
	}
	return *handler
}

// deliver hands one request to the library and waits for its answer.
func (g *groupTransport) deliver(in inbound) raft.RPCResponse {
	if r, ok := in.command.(*raft.InstallSnapshotRequest); ok {
		if stale := g.stale.Load(); stale != nil && (*stale)(r) {
			_, err := io.Copy(io.Discard, in.reader) // what it holds is committed, also where this disk does not have it yet
			return raft.RPCResponse{Response: &raft.InstallSnapshotResponse{Term: r.Term, Success: true}, Error: err}
		}
	}
	if _, ok := in.command.(*raft.TimeoutNowRequest); ok {
		if f := g.handed.Load(); f != nil {
			(*f)()
		}
	}
	if r, ok := in.command.(*raft.AppendEntriesRequest); ok {
		if known := g.known.Load(); known != nil {
			in.command = (*known)(r)
		}
	}
	answers := make(chan raft.RPCResponse, 1)
	select {
	case g.consumer <- raft.RPC{Command: in.command, Reader: in.reader, RespChan: answers}:
	case <-g.closed:
		return raft.RPCResponse{Error: g.endError()}
	case <-g.t.closed:
		return raft.RPCResponse{Error: errShutdown}
	}
	select {
	case a := <-answers:
		// What is stored early after the library has answered is not what it has confirmed; a leader under load always has some.
		if e := g.early.Load(); e != nil {
			if err := e.wait(e.last()); err != nil {
				return raft.RPCResponse{Error: err}
			}
		}
		if r, ok := in.command.(*raft.InstallSnapshotRequest); ok && a.Error == nil {
			if f := g.installed.Load(); f != nil {
				(*f)(r.LastLogIndex)
			}
		}
		return a
	case <-g.closed:
		return raft.RPCResponse{Error: g.endError()}
	case <-g.t.closed:
		return raft.RPCResponse{Error: errShutdown}
	}
}

func (g *groupTransport) endError() error {
	return fault.New(fault.Unavailable, "group %d is stopping", g.id)
}

// syncReply waits for one response and decodes it.
type syncReply struct {
	from []byte
	into any
	done chan error
}

func (s *syncReply) resolve(h header, body []byte, err error) {
	if err == nil {
		err = decodeReply(h, body, s.from, s.into)
	}
	s.done <- err
}

// decodeReply decodes a response into what the library wants to have filled.
func decodeReply(h header, body, from []byte, into any) error {
	if h.kind == kindErrorReply {
		return remoteError(body)
	}
	switch r := into.(type) {
	case *raft.AppendEntriesResponse:
		if h.kind == kindAppendReply {
			return decodeAppendReply(body, from, r)
		}
	case *raft.RequestVoteResponse:
		if h.kind == kindVoteReply {
			r.RPCHeader = rpcHeader(from)
			return decodeInto(body, &r.Term, &r.Granted)
		}
	case *raft.RequestPreVoteResponse:
		if h.kind == kindPreVoteReply {
			r.RPCHeader = rpcHeader(from)
			return decodeInto(body, &r.Term, &r.Granted)
		}
	case *raft.InstallSnapshotResponse:
		if h.kind == kindInstallReply {
			r.RPCHeader = rpcHeader(from)
			return decodeInto(body, &r.Term, &r.Success)
		}
	case *raft.TimeoutNowResponse:
		if h.kind == kindTimeoutReply {
			r.RPCHeader = rpcHeader(from)
			return nil
		}
	}
	return fmt.Errorf("%w: response %d for a %T", ErrFrame, h.kind, into)
}

func decodeInto(body []byte, term *uint64, yes *bool) (err error) {
	*term, *yes, err = decodeTermReply(body)
	return err
}

// ask sends one request to a node and waits for its response.
func (g *groupTransport) ask(to string, l lane, kind frameKind, body []byte, data [][]byte, u urgency, timeout time.Duration, into any) error {
	return g.askWith(to, l, header{kind: kind, group: g.id}, body, data, u, timeout, into)
}

func (g *groupTransport) askWith(to string, l lane, h header, body []byte, data [][]byte, u urgency, timeout time.Duration, into any) error {
	k, err := g.t.peer(to).lane(l, g.closed)
	if err != nil {
		return err
	}
	s := &syncReply{from: k.peerBytes, into: into, done: make(chan error, 1)}
	id, err := k.request(h, body, data, u, timeout, s)
	if err != nil {
		return err
	}
	select {
	case err := <-s.done:
		return err
	case <-g.closed:
		k.forget(id)
		return g.endError()
	}
}

// Consumer implements raft.Transport.
func (g *groupTransport) Consumer() <-chan raft.RPC { return g.consumer }

// LocalAddr implements raft.Transport: a server's address is its node id.
func (g *groupTransport) LocalAddr() raft.ServerAddress { return g.local }

// EncodePeer implements raft.Transport.
func (g *groupTransport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// DecodePeer implements raft.Transport.
func (g *groupTransport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport.
func (g *groupTransport) SetHeartbeatHandler(f func(raft.RPC)) { g.heartbeat.Store(&f) }

// AppendEntries implements raft.Transport. Heartbeats take the control lane.
func (g *groupTransport) AppendEntries(id raft.ServerID, _ raft.ServerAddress, r *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	if isHeartbeat(r) {
		u := coalesced
		if g.urgent.Load() > 0 {
			u = atOnce
		}
		var body [heartbeatBodySize]byte
		return g.ask(string(id), laneControl, kindHeartbeat, appendUint64(body[:0], r.Term), nil, u, g.t.o.ControlTimeout, a)
	}
	if err := g.reach(string(id), r); err != nil {
		return err
	}
	for part := range splitAppend(g.committed(r), appendPartBytes) {
		if err := g.fits(part); err != nil {
			return err
		}
		h, body, data := g.appendFrame(part)
		if err := g.askWith(string(id), laneBulk, h, body, data, appendUrgency(part), g.t.o.BulkTimeout, a); err != nil || !a.Success {
			return err
		}
	}
	return nil
}

const (
	// unreachedMax is how long an append waits for a node that cannot be reached. Meanwhile its goroutine is all that it takes.
	unreachedMax = 10 * time.Minute
	// unreachedLook is how often such an append looks whether it is still wanted.
	unreachedLook = time.Second
)

// reach returns an error if a node cannot be reached, once it can be again.
//
// The library doubles its pause after each append that failed, up to 10 s, and learns of nothing that would end one. A node that was away
// for some seconds would get nothing for as long again after its return; should another of three nodes go in that time, the group could not commit although two are there. So
// one absence is one failure, however long it lasts. The entries are given up first: the library makes the request anew.
//
// The library's goroutine that waits here is also the one that ends the heartbeats to the node, and that takes what is asked of it for a hand-over, from a queue
// with room for one. So the wait ends soon when the node is no member any more, when this replica has ceased to lead, and when a hand-over begins: with
// a full queue that would not end, and the library takes no entries as long as one is under way.
func (g *groupTransport) reach(id string, r *raft.AppendEntriesRequest) error {
	p, transfers := g.t.peer(id), g.transfers.Load()
	_, err := p.lane(laneBulk, g.closed)
	if err == nil || errors.Is(err, errShutdown) {
		return err
	}
	r.Entries = nil
	for end := time.Now().Add(unreachedMax); time.Now().Before(end) && g.transfers.Load() == transfers && g.wanted(id, r.Term); {
		late := p.awaitLane(laneBulk, unreachedLook, g.closed)
		if errors.Is(late, errShutdown) {
			return late
		}
		if late == nil {
			break
		}
	}
	return err
}

// wanted reports whether a node is to have what this replica has, as its leader in a term.
func (g *groupTransport) wanted(node string, term uint64) bool {
	serves := g.serves.Load()
	return serves == nil || (*serves)(node, term)
}

// committed returns an append with a commit index that is true: see early.
func (g *groupTransport) committed(r *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	e := g.early.Load()
	if e == nil {
		return r
	}
	limit := e.limit()
	if r.LeaderCommitIndex <= limit {
		return r
	}
	send := *r
	send.LeaderCommitIndex = limit
	return &send
}

// appendFrame encodes an append, with its checksum where those of its entries are known.
func (g *groupTransport) appendFrame(r *raft.AppendEntriesRequest) (h header, body []byte, data [][]byte) {
	h = header{kind: kindAppend, group: g.id}
	body, data = encodeAppend(make([]byte, 0, appendFixedSize+len(r.Entries)*appendEntrySize), r)
	if s := g.sums.Load(); s != nil {
		h.bodyCRC, h.summed = appendChecksum(body, r.Entries, s), true
	}
	return h, body, data
}

// fits refuses an append that no peer would take.
func (g *groupTransport) fits(r *raft.AppendEntriesRequest) error {
	if n := appendSize(r); n > g.t.o.MaxFrame {
		return fmt.Errorf("append of %d bytes is larger than a frame may be (%d)", n, g.t.o.MaxFrame)
	}
	return nil
}

// appendUrgency lets appends without entries wait for company: they only carry the commit index.
func appendUrgency(r *raft.AppendEntriesRequest) urgency {
	if len(r.Entries) == 0 {
		return coalesced
	}
	return atOnce
}

// RequestVote implements raft.Transport.
func (g *groupTransport) RequestVote(id raft.ServerID, _ raft.ServerAddress, r *raft.RequestVoteRequest, a *raft.RequestVoteResponse) error {
	var body [voteBodySize]byte
	b := encodeVote(body[:0], r.Term, r.LastLogIndex, r.LastLogTerm, r.LeadershipTransfer)
	return g.ask(string(id), laneControl, kindVote, b, nil, atOnce, g.t.o.ControlTimeout, a)
}

// RequestPreVote implements raft.WithPreVote.
func (g *groupTransport) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, r *raft.RequestPreVoteRequest, a *raft.RequestPreVoteResponse) error {
	var body [voteBodySize]byte
	b := encodeVote(body[:0], r.Term, r.LastLogIndex, r.LastLogTerm, false)
	return g.ask(string(id), laneControl, kindPreVote, b, nil, atOnce, g.t.o.ControlTimeout, a)
}

// TimeoutNow implements raft.Transport.
func (g *groupTransport) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, _ *raft.TimeoutNowRequest, a *raft.TimeoutNowResponse) error {
	return g.ask(string(id), laneControl, kindTimeoutNow, nil, nil, atOnce, g.t.o.ControlTimeout, a)
}
