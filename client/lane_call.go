package client

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// errStalled is the cause of a call that was ended because an acknowledgement was overdue.
var errStalled = errors.New("the node stopped acknowledging")

// router chooses the node for the next call. It decides only.
//
// The leader that the map names comes first. When it was the one that failed,
// another node has a turn, which forwards, and then the leader again: neither a
// stale map nor a leader out of reach of this client can keep it out.
type router struct {
	hint     string // the node to try next, "" if none was named
	hints    int    // hints followed since something worked
	failures int    // attempts in a row that came to nothing
	chosen   string // the last choice
	avoid    string // the choice that failed last, "" after one that worked
	turn     int    // turns given to nodes that do not lead
}

// choose returns the address to call, "" if there is none, and whether it may forward.
func (r *router) choose(sh *shardInfo, seeds []string) (address string, forward bool) {
	r.chosen, forward = r.pick(sh, seeds)
	return r.chosen, forward
}

func (r *router) pick(sh *shardInfo, seeds []string) (address string, forward bool) {
	if r.hint != "" {
		address, r.hint = r.hint, ""
		return address, false
	}
	if sh.leaderAddr != "" && sh.leaderAddr != r.avoid {
		return sh.leaderAddr, false
	}
	var others []string
	for _, list := range [][]string{sh.replicas, seeds} {
		for _, a := range list {
			if a != sh.leaderAddr && a != r.avoid && !slices.Contains(others, a) {
				others = append(others, a)
			}
		}
	}
	if len(others) == 0 {
		return cmp.Or(sh.leaderAddr, r.avoid), true
	}
	r.turn++
	return others[(r.turn-1)%len(others)], true
}

// follow takes a hint and reports whether to try it at once.
func (r *router) follow(hint, from string) bool {
	if hint == "" || hint == from || r.hints >= hintsMax {
		r.hints = 0
		return false
	}
	r.hint, r.hints = hint, r.hints+1
	return true
}

func (r *router) failed() { r.failures, r.avoid = r.failures+1, r.chosen }

func (r *router) worked() { r.failures, r.hints, r.avoid = 0, 0, "" }

// appendCall is one append call and the goroutine that receives on it.
type appendCall struct {
	address string
	forward bool
	opened  time.Time
	stream  grpc.BidiStreamingClient[levadav1.AppendRequest, levadav1.AppendResponse]
	cancel  context.CancelCauseFunc
	head    *levadav1.AppendRequest // what the first message says beside its batch; nil once sent
	guard   *time.Timer             // ends the call when an acknowledgement is overdue

	// As many responses fit as batches can be on the way: the receiver waits
	// for the lane only if the service answers what was not asked.
	responses chan *levadav1.AppendResponse
	err       *Error // why the call ended; set before responses is closed
}

func (l *lane) openCall(ctx context.Context, address string, forward bool) (*appendCall, error) {
	if address == "" {
		return nil, newError(Unavailable, "shard %d of stream %s has no leader now", l.shard, l.p.stream)
	}
	api, err := l.p.c.streams(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// Until the first batch is out the guard bounds the opening itself.
	guard := time.AfterFunc(l.patience, func() { cancel(errStalled) })
	stream, err := api.Append(ctx)
	if err != nil {
		guard.Stop()
		stalled := context.Cause(ctx)
		cancel(nil)
		if errors.Is(stalled, errStalled) {
			return nil, newError(Unavailable, "node %s: %w", address, errStalled)
		}
		return nil, err
	}
	guard.Stop()
	c := &appendCall{
		address: address, forward: forward, opened: time.Now(), stream: stream, cancel: cancel, guard: guard,
		head:      &levadav1.AppendRequest{Stream: l.p.stream, StreamId: l.known.streamID, Shard: l.shard, NoForward: !forward},
		responses: make(chan *levadav1.AppendResponse, l.win.limit),
	}
	go c.receive(ctx)
	return c, nil
}

func (c *appendCall) receive(ctx context.Context) {
	defer close(c.responses)
	for {
		r, err := c.stream.Recv()
		if err != nil {
			switch {
			case errors.Is(context.Cause(ctx), errStalled):
				c.err = newError(Unavailable, "node %s: %w", c.address, errStalled)
			case errors.Is(err, io.EOF):
				c.err = newError(Unavailable, "node %s ended the call", c.address)
			default:
				c.err = asError(err)
			}
			return
		}
		select {
		case c.responses <- r:
		case <-ctx.Done():
			c.err = asError(context.Cause(ctx))
			return
		}
	}
}

// send hands a batch to the call and reports whether it took it. If not, the
// call has ended, and the receiver says why.
func (c *appendCall) send(b *batch) bool {
	m := c.head
	if m == nil {
		m = &levadav1.AppendRequest{}
	}
	c.head = nil
	m.Id, m.Batch = b.id, b.encoded
	return c.stream.Send(m) == nil
}

// expect ends the call unless it is called again, or relax is, within d.
func (c *appendCall) expect(d time.Duration) { c.guard.Reset(d) }

// relax stops expecting.
func (c *appendCall) relax() { c.guard.Stop() }

// close ends the call and returns when its goroutine has ended.
func (c *appendCall) close() {
	c.guard.Stop()
	c.cancel(nil)
	for range c.responses { // what came too late is answered again on the next call
	}
}
