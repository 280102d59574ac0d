package client

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc"
)

// pauses are the waits between attempts: doubled from first to max, each cut
// by a random half so that many clients do not come back in step.
type pauses struct {
	first, max time.Duration
	attempts   int
}

func (p *pauses) next() time.Duration {
	d := p.max
	if shift := p.attempts; shift < 16 && p.first<<shift < p.max {
		d = p.first << shift
	}
	p.attempts++
	return d/2 + rand.N(d/2+1)
}

func (p *pauses) reset() { p.attempts = 0 }

// sleep waits for d and reports false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hintsMax bounds the leader hints followed in a row: two nodes that each
// believe in the other must not be asked for ever without pause.
const hintsMax = 3

// unary runs one request-response call: at any node, elsewhere when that one
// fails, at the hinted leader when there is a hint, until it succeeds, is
// refused, or time is up. tryTimeout 0 leaves an attempt the whole time.
// uncertain tells the caller that an earlier attempt may have done the work.
func (c *Client) unary(ctx context.Context, tryTimeout time.Duration, do func(ctx context.Context, cc *grpc.ClientConn) error) (uncertain bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.callTimeout)
	defer cancel()
	wait := pauses{first: 20 * time.Millisecond, max: time.Second}
	hint, hints := "", 0
	for try := 0; ; try++ {
		nodes := c.conns.candidates()
		address := nodes[0]
		if hint != "" {
			address = hint
		}
		err := c.try(ctx, address, tryTimeout, do)
		if err == nil {
			return uncertain, nil
		}
		if !retryable(err.Kind) || ctx.Err() != nil {
			return uncertain, withContext(ctx, err)
		}
		uncertain = uncertain || (err.Kind != NotLeader && err.Kind != Throttled)
		hint = ""
		if err.Kind == NotLeader && err.LeaderAddr != "" && err.LeaderAddr != address && hints < hintsMax {
			hint, hints = err.LeaderAddr, hints+1
			continue
		}
		hints = 0
		c.conns.rotate(address)
		if try < len(nodes)-1 && err.Kind == Unavailable {
			continue // another node may well answer at once
		}
		if !sleep(ctx, max(wait.next(), err.RetryAfter)) {
			return uncertain, withContext(ctx, err)
		}
	}
}

func (c *Client) try(ctx context.Context, address string, timeout time.Duration, do func(context.Context, *grpc.ClientConn) error) *Error {
	cc, err := c.conns.get(address)
	if err != nil {
		return asError(err)
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return explainClosed(asError(do(ctx, cc)))
}

// closedTexts are what gRPC reports of a connection that a node accepts and closes before
// it has said anything: which of them depends on how far the client's own first bytes got.
var closedTexts = [...]string{"error reading server preface", "broken pipe", "connection reset by peer"}

// explainClosed adds to such an error what it may mean; a node that closes a
// connection too many can say nothing itself.
func explainClosed(e *Error) *Error {
	if e == nil || e.Kind != Unavailable {
		return e
	}
	for _, text := range closedTexts {
		if strings.Contains(e.Message, text) {
			explained := *e
			explained.Message += " (a node that runs does this when it has all the connections it takes, limits.connections_max, or when it wants TLS)"
			return &explained
		}
	}
	return e
}

// retryable reports whether a request without side effects may be tried again.
// Internal is not: the next node would most likely fail in the same way.
func retryable(k Kind) bool { return k.Retryable() }

// withContext makes an error of a call whose time ran out say so to errors.Is,
// and keeps what the last attempt met in the text.
func withContext(ctx context.Context, err *Error) error {
	if ctx.Err() == nil || !retryable(err.Kind) {
		return err
	}
	e := *err
	e.cause = ctx.Err()
	return &e
}
