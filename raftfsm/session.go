package raftfsm

import (
	"bufio"
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// session serves the frames that arrive on one link.
type session struct {
	t      *Transport
	k      *link
	r      *bufio.Reader
	beats  chan raft.RPCResponse // answers of heartbeats, handled inline one at a time
	calls  chan struct{}         // slots for calls being served
	ctx    context.Context       // ends with the link: parent of the calls being served on it
	cancel context.CancelFunc

	mu      sync.Mutex
	serving map[uint64]context.CancelFunc // calls being served, by request
}

func newSession(t *Transport, k *link) *session {
	s := &session{
		t: t, k: k, beats: make(chan raft.RPCResponse, 1),
		calls: make(chan struct{}, callsPerLinkMax), serving: map[uint64]context.CancelFunc{},
	}
	s.ctx, s.cancel = context.WithCancel(t.ctx())
	return s
}

// run reads until the link ends.
func (s *session) run(r *bufio.Reader) error {
	defer s.cancel()
	s.r = r
	if s.k.lane == laneSnapshot {
		return s.receiveSnapshot(r)
	}
	return s.k.readLoop(r, s.t.o.MaxFrame, s.handle)
}

// handle takes one frame. It never blocks; an error ends the link.
func (s *session) handle(h header, body []byte) error {
	if h.kind >= firstResponseKind {
		if !s.k.outbound {
			return fmt.Errorf("%w: response %d on the peer's own connection", ErrFrame, h.kind)
		}
		s.k.answer(h, body)
		return nil
	}
	if s.k.outbound {
		return fmt.Errorf("%w: request %d in answer to ours", ErrFrame, h.kind)
	}
	switch h.kind {
	case kindCall:
		return s.handleCall(h, body)
	case kindCallCancel:
		s.mu.Lock()
		cancel := s.serving[h.request]
		s.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		return nil
	case kindInstallSnapshot, kindSnapshotChunk:
		return fmt.Errorf("%w: snapshot on a shared connection", ErrFrame)
	}
	g := s.t.group(h.group)
	command, err := s.decode(g, h, body)
	if err != nil {
		return err
	}
	if g == nil {
		return s.refuse(h, fault.New(fault.NotFound, "group %d does not run here", h.group))
	}
	if h.kind == kindHeartbeat && s.beat(g, h, command.(*raft.AppendEntriesRequest)) {
		return nil
	}
	in := inbound{link: s.k, header: h, command: command, bytes: headerSize + len(body)}
	if !g.inbox.push(in) {
		return s.refuse(h, fault.New(fault.Throttled, "group %d has too much unhandled", h.group))
	}
	return nil
}

// decode decodes the body of a Raft request for g, nil if that does not run here; it checks that of an append, which is unchecked so far.
func (s *session) decode(g *groupTransport, h header, body []byte) (any, error) {
	if h.kind != kindAppend {
		return decodeRequest(h, body, s.k.peerBytes)
	}
	var learnt [entriesLearnt]uint32
	if err := checkAppend(h, body, func(i int, sum uint32) {
		if i < len(learnt) {
			learnt[i] = sum
		}
	}); err != nil {
		return nil, err
	}
	r, err := decodeAppend(body, s.k.peerBytes)
	if err != nil || g == nil || g.sums.Load() == nil {
		return r, err
	}
	for i, e := range r.Entries[:min(len(r.Entries), len(learnt))] {
		if len(e.Data) >= sumMin {
			g.sums.Load().put(e, learnt[i])
		}
	}
	return r, nil
}

// entriesLearnt is up to which place in a frame the checksums of large entries are remembered: a frame holds few of them.
const entriesLearnt = 64

// decodeRequest decodes the body of a Raft request.
func decodeRequest(h header, body, from []byte) (any, error) {
	switch h.kind {
	case kindHeartbeat:
		return decodeHeartbeat(body, from), nil
	case kindAppend:
		return decodeAppend(body, from)
	case kindVote:
		return decodeVote(body, from)
	case kindPreVote:
		v, err := decodeVote(body, from)
		if err != nil {
			return nil, err
		}
		return &raft.RequestPreVoteRequest{RPCHeader: v.RPCHeader, Term: v.Term, LastLogIndex: v.LastLogIndex, LastLogTerm: v.LastLogTerm}, nil
	case kindTimeoutNow:
		return &raft.TimeoutNowRequest{RPCHeader: rpcHeader(from)}, nil
	}
	return nil, fmt.Errorf("%w: kind %d is no Raft request", ErrFrame, h.kind)
}

// beat handles a heartbeat in place if the group allows it, and queues the answer for the
// next write. Heartbeats that would change the group's term or state go the ordinary way,
// since that writes to disk.
func (s *session) beat(g *groupTransport, h header, r *raft.AppendEntriesRequest) bool {
	handler := g.fastBeat(r.Term)
	if handler == nil {
		return false
	}
	handler(raft.RPC{Command: r, RespChan: s.beats})
	select {
	case a := <-s.beats:
		var scratch [appendReplySize]byte
		kind, body := encodeReply(scratch[:0], a)
		h.kind = kind
		return s.k.send(h, body, nil, corked) == nil
	default: // the group is shutting down and does not answer
		return s.refuse(h, errShutdown) == nil
	}
}

// refuse answers a request with an error.
func (s *session) refuse(h header, err error) error {
	h.kind = kindErrorReply
	return s.k.send(h, encodeFault(nil, err), nil, corked)
}

// encodeReply encodes what the library answered.
func encodeReply(dst []byte, a raft.RPCResponse) (frameKind, []byte) {
	if a.Error != nil {
		return kindErrorReply, encodeFault(dst, a.Error)
	}
	switch r := a.Response.(type) {
	case *raft.AppendEntriesResponse:
		return kindAppendReply, encodeAppendReply(dst, r)
	case *raft.RequestVoteResponse:
		return kindVoteReply, encodeTermReply(dst, r.Term, r.Granted)
	case *raft.RequestPreVoteResponse:
		return kindPreVoteReply, encodeTermReply(dst, r.Term, r.Granted)
	case *raft.InstallSnapshotResponse:
		return kindInstallReply, encodeTermReply(dst, r.Term, r.Success)
	case *raft.TimeoutNowResponse:
		return kindTimeoutReply, dst
	}
	return kindErrorReply, encodeFault(dst, fmt.Errorf("unexpected response %T", a.Response))
}
