package raftfsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/levada-stream/levada/internal/fault"
)

// callFixedSize is the length of the time left, in ms, before a call's request.
const callFixedSize = 8

// callPatience is how long a call without a deadline may take.
const callPatience = time.Minute

// Handle sets who serves a service's calls. It replaces an earlier handler; nil removes it.
func (t *Transport) Handle(service uint8, f CallHandler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f == nil {
		delete(t.handlers, service)
		return
	}
	t.handlers[service] = f
}

// Call asks a node's service and returns its answer, which belongs to the caller. Errors of the
// handler keep their fault kind; when the node cannot be asked the error is Unavailable. A
// failed call may have been served. Calling this node itself works without the network.
func (t *Transport) Call(ctx context.Context, nodeID string, service uint8, request []byte) ([]byte, error) {
	if nodeID == t.o.NodeID {
		return t.serveCall(ctx, nodeID, service, request)
	}
	if len(request)+callFixedSize > t.o.MaxFrame {
		return nil, fault.TooLargeField("request", uint64(t.o.MaxFrame), "call of %d bytes", len(request))
	}
	k, err := t.peer(nodeID).lane(laneCalls, ctx.Done())
	if err != nil {
		return nil, fault.New(fault.Unavailable, "node %s: %w", nodeID, errors.Join(ctx.Err(), err))
	}
	patience := callPatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	var head [callFixedSize]byte
	binary.LittleEndian.PutUint64(head[:], uint64(max(patience.Milliseconds(), 1)))
	c := &callReply{done: make(chan struct{})}
	id, err := k.request(header{kind: kindCall, service: service}, head[:], [][]byte{request}, atOnce, patience+sweepInterval, c)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "node %s: %w", nodeID, err)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		k.forget(id)
		_ = k.send(header{kind: kindCallCancel, request: id}, nil, nil, atOnce) // a courtesy
		return nil, fault.New(fault.Unavailable, "node %s: %w", nodeID, ctx.Err())
	}
	if c.err != nil && fault.As(c.err) == nil {
		return nil, fault.New(fault.Unavailable, "node %s: %w", nodeID, c.err)
	}
	return c.body, c.err
}

// callReply receives the answer of one call.
type callReply struct {
	done chan struct{}
	body []byte
	err  error
}

func (c *callReply) resolve(h header, body []byte, err error) {
	switch {
	case err != nil:
		c.err = err
	case h.kind == kindCallReply:
		c.body = body
	case h.kind == kindErrorReply:
		f, err := decodeFault(body)
		if err != nil {
			c.err = err
		} else {
			c.err = f
		}
	default:
		c.err = fmt.Errorf("%w: response %d to a call", ErrFrame, h.kind)
	}
	close(c.done)
}

// handleCall starts to serve a call. More than callsPerLinkMax at once are refused.
func (s *session) handleCall(h header, body []byte) error {
	select {
	case s.calls <- struct{}{}:
	default:
		return s.refuse(h, fault.New(fault.Throttled, "too many calls at once"))
	}
	patience := time.Duration(min(binary.LittleEndian.Uint64(body), uint64(time.Hour.Milliseconds()))) * time.Millisecond
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	s.mu.Lock()
	s.serving[h.request] = cancel
	s.mu.Unlock()
	ok := s.t.start(func() {
		defer func() {
			s.mu.Lock()
			delete(s.serving, h.request)
			s.mu.Unlock()
			cancel()
			<-s.calls
		}()
		answer, err := s.t.serveCall(ctx, s.k.peer, h.service, body[callFixedSize:])
		if err == nil && len(answer) > s.t.o.MaxFrame {
			err = fault.TooLargeField("response", uint64(s.t.o.MaxFrame), "answer of %d bytes", len(answer))
		}
		if err != nil {
			h.kind = kindErrorReply
			_ = s.k.send(h, encodeFault(nil, err), nil, atOnce) // a lost connection ends the call at the other side too
			return
		}
		h.kind = kindCallReply
		_ = s.k.send(h, nil, [][]byte{answer}, atOnce) // as above
	})
	if !ok {
		cancel()
		return errShutdown
	}
	return nil
}

func (t *Transport) serveCall(ctx context.Context, from string, service uint8, request []byte) ([]byte, error) {
	t.mu.RLock()
	f := t.handlers[service]
	t.mu.RUnlock()
	if f == nil {
		return nil, fault.New(fault.Unavailable, "service %d is not offered by this node, or not yet", service)
	}
	answer, err := f(ctx, from, request)
	if err != nil && ctx.Err() != nil && fault.As(err) == nil {
		err = fault.New(fault.Unavailable, "call ended: %w", err)
	}
	return answer, err
}
