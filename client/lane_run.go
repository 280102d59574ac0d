package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
)

const (
	patienceMax = time.Minute
	// mapWait bounds the wait for a newer map; the one at hand must do then.
	mapWait = time.Second
	// missingFor is how long the cluster must deny that a stream exists before
	// its records fail: a node that lags may not have heard of a new one.
	missingFor = 2 * time.Second
	// idleFor is how long an append call without anything to do is kept open.
	idleFor = time.Minute
	// forwardFor is how long a node that only forwards is used before the
	// leader itself is tried again.
	forwardFor = 10 * time.Second
	// throttledPauses bounds the pause after a refusal that told when to come back, in such times.
	throttledPauses = 3
	// refusalsMax is how often a whole call must be refused for the records on it to fail.
	refusalsMax = 3
)

// run is the lane's goroutine: it returns when ctx ends or the shard does.
func (l *lane) run(ctx context.Context) {
	end := closedError("producer")
	waited := false
	for ctx.Err() == nil {
		if l.gated.Load() { // nothing here fails before what comes first
			waited = true
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
			continue
		}
		if waited {
			waited = false
			l.renew(time.Now())
		}
		if err := l.expire(time.Now()); err != nil {
			end = newError(Internal, "a batch could not be numbered anew: %w", err)
			break
		}
		if l.win.empty() && !l.hasWork() && !l.doomed.Load() {
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
			continue
		}
		if !l.pause(ctx) {
			continue
		}
		if err := l.attempt(ctx); err != nil {
			end = err
			break
		}
	}
	if IsShardClosed(end) && l.p.opts.Shard == nil {
		if end = l.handDown(ctx); end == nil {
			return
		}
	}
	l.abandon(end)
}

// expire fails what has been tried for too long.
func (l *lane) expire(now time.Time) error {
	if !l.win.empty() {
		failed, err := l.win.expire(now, l.timeoutError())
		l.failAll(failed)
		if err != nil {
			return err
		}
	}
	if l.win.empty() { // else a result would overtake those in the window
		for _, b := range l.overdueQueue(now) {
			l.fail(b, l.timeoutError())
		}
	}
	return nil
}

func (l *lane) timeoutError() *Error {
	e := &Error{Kind: Unavailable, Message: fmt.Sprintf("shard %d of stream %s gave no acknowledgement within %s", l.shard, l.p.stream, l.p.opts.RetryFor)}
	if t := l.trouble; t != nil {
		e.Message += ": " + t.Message
		e.cause = t
		if t.Kind == Throttled {
			e.Kind, e.RetryAfter = Throttled, t.RetryAfter
		}
	}
	return e
}

// pause waits until the next attempt is due. It returns false if something
// else is to be looked at first.
func (l *lane) pause(ctx context.Context) bool {
	until := l.resume
	if !l.win.empty() && l.win.deadline().Before(until) {
		until = l.win.deadline()
	}
	if d := time.Until(until); d > 0 && !sleep(ctx, d) {
		return false
	}
	return !time.Now().Before(l.resume)
}

// attempt opens one append call and uses it until it ends. An error ends the lane.
func (l *lane) attempt(ctx context.Context) *Error {
	sh, end := l.locate(ctx)
	if sh == nil {
		return end
	}
	if l.doomed.Load() && l.win.empty() && !l.hasWork() {
		// There is nothing to ask its shard, which is closed though the map at hand does not say so: another one will.
		l.failedAt = time.Now()
		l.resume = l.failedAt.Add(l.pauses.next())
		return nil
	}
	address, forward := l.route.choose(sh, l.p.c.conns.seeds)
	if l.route.failures > 0 {
		l.p.stats.reconnects.Add(1)
	}
	c, err := l.openCall(ctx, address, forward)
	if err != nil {
		l.failed(asError(err), address)
		return nil
	}
	callErr, inBand, fatal := l.pump(c)
	c.close()
	switch {
	case fatal != nil:
		l.win.broken()
		return newError(Internal, "a batch could not be encoded: %w", fatal)
	case callErr == nil || ctx.Err() != nil:
		l.win.broken()
		return nil
	}
	return l.conclude(callErr, inBand, c.address)
}

// locate returns the shard as the newest map within reach has it; nil with an
// error if the shard is gone for good, nil without one if it is not known now.
func (l *lane) locate(ctx context.Context) (*shardInfo, *Error) {
	wait, cancel := context.WithTimeout(ctx, mapWait)
	defer cancel()
	var m *partitionMap
	var err error
	if l.failedAt.IsZero() {
		m, err = l.p.c.maps.get(wait, l.p.stream)
	} else {
		m, err = l.p.c.maps.newer(wait, l.p.stream, l.failedAt)
	}
	switch {
	case err == nil:
		m = l.p.routed(m)
		l.known, l.missing, l.win.dedup = m, time.Time{}, m.dedupWindow
		l.adopt(m.streamID)
	case IsNotFound(err):
		if l.missing.IsZero() {
			l.missing = time.Now()
		}
		if time.Since(l.missing) >= missingFor {
			return nil, asError(err)
		}
	}
	if l.known == nil || !l.missing.IsZero() {
		if ctx.Err() == nil {
			l.failed(asError(err), "")
		}
		return nil, nil
	}
	sh := l.known.byNumber[l.shard]
	switch {
	case (sh == nil || sh.closed) && !l.win.uncertain():
		// What is on the way is certain not to be stored. Otherwise the shard, closed as it is, still tells what it has.
		closed := &Error{Kind: ShardClosed, Message: fmt.Sprintf("shard %d of stream %s is closed", l.shard, l.p.stream)}
		if sh != nil {
			closed.Successors = sh.children
		}
		return nil, closed
	case sh == nil:
		return nil, newError(NotFound, "stream %s has no shard %d any more", l.p.stream, l.shard)
	}
	return sh, nil
}

// adopt makes the lane one of that stream. If it was another's, that was deleted and created again: then nobody takes over
// from anybody.
func (l *lane) adopt(streamID uint64) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.streamID != streamID {
		l.streamID, l.ancestors = streamID, nil
		l.freeHeirsLocked()
	}
}

// pump sends and settles until the call ends. inBand says that the error is
// the service's answer about the first batch in the window. Without an error
// the call was given up in good order. fatal is a defect of this program.
func (l *lane) pump(c *appendCall) (err *Error, inBand bool, fatal error) {
	timer := time.NewTimer(idleFor)
	defer timer.Stop()
	for {
		if l.doomed.Load() && l.win.empty() && !l.hasWork() {
			return nil, false, nil
		}
		linger, more, fatal := l.fill(c)
		switch {
		case fatal != nil:
			return nil, false, fatal
		case !more:
			return nil, false, nil
		case linger > 0:
			timer.Reset(linger)
		case l.win.empty():
			timer.Reset(idleFor)
		default:
			timer.Stop() // the call's watchdog bounds the wait
		}
		select {
		case r, ok := <-c.responses:
			if !ok {
				return c.err, false, nil
			}
			if e := r.GetError(); e != nil {
				if l.win.sent == 0 || l.win.batches[0].id != r.GetId() {
					return newError(Internal, "node %s answered a request that is not the next one", c.address), false, nil
				}
				return asError(faultpb.FromProto(e)), true, nil
			}
			b, ok := l.win.accept(r, time.Now())
			if !ok {
				return newError(Internal, "node %s acknowledged something else than was sent", c.address), false, nil
			}
			l.progress(c)
			l.succeed(b, r)
		case <-l.wake:
		case <-timer.C:
			if l.win.empty() && !l.hasWork() {
				return nil, false, nil // idle
			}
		}
	}
}

// fill sends what there is room for. It returns how long the open batch is to
// linger, 0 if there is none; more is false if the call should be given up.
func (l *lane) fill(c *appendCall) (linger time.Duration, more bool, fatal error) {
	for {
		now := time.Now()
		b := l.win.unsent()
		if b == nil {
			if !l.win.room() {
				return 0, true, nil
			}
			if l.win.empty() && c.forward && now.Sub(c.opened) > forwardFor && l.hasWork() {
				return 0, false, nil
			}
			if b, linger = l.take(now, len(l.win.batches)); b == nil {
				return linger, true, nil
			}
			if err := l.win.admit(b, now); err != nil {
				l.fail(b, newError(Internal, "a batch could not be encoded: %w", err))
				return 0, false, err
			}
		} else if !b.firstSent.IsZero() {
			l.p.stats.resent.Add(1)
		}
		l.win.sending(now)
		if l.win.sent == 1 {
			c.expect(l.allowance(now))
		}
		if !c.send(b) {
			return 0, true, nil
		}
	}
}

// allowance is how long the first batch in the window may still take.
func (l *lane) allowance(now time.Time) time.Duration {
	return max(time.Millisecond, min(l.patience, l.win.deadline().Sub(now)))
}

// progress notes an acknowledgement: the route is good.
func (l *lane) progress(c *appendCall) {
	l.route.worked()
	l.pauses.reset()
	l.patience, l.failedAt, l.trouble, l.refusals = l.p.opts.AckTimeout, time.Time{}, nil, 0
	if l.win.sent > 0 {
		c.expect(l.allowance(time.Now()))
	} else {
		c.relax()
	}
}

// conclude decides what follows from the error that a call ended with. An
// error returned ends the lane.
func (l *lane) conclude(err *Error, inBand bool, address string) *Error {
	if !inBand {
		l.win.broken()
		if errors.Is(err, errStalled) {
			l.patience = min(2*l.patience, patienceMax)
		}
		if refusal(err.Kind) && err.Kind != NotFound {
			if l.refusals++; l.refusals >= refusalsMax {
				l.refusals = 0
				return l.settleLost(l.win.giveUp(len(l.win.batches), err))
			}
		}
		l.failed(err, address)
		return nil
	}
	switch {
	case err.Kind == Throttled:
		l.win.answered()
		l.trouble = err
		pause := max(l.pauses.next(), err.RetryAfter)
		if err.RetryAfter > 0 { // the service knows better: a shard that has not adopted yet is worth another try soon
			pause = min(pause, throttledPauses*err.RetryAfter)
		}
		l.resume = time.Now().Add(pause)
		return nil
	case err.Kind == StaleProducer:
		l.win.answered()
		l.log.Warn("producer session is no longer known; starting another", "error", err.Message)
		l.resume = time.Now().Add(l.pauses.next())
		l.trouble = err
		return l.settleLost(l.win.stale(err))
	case err.Kind == ShardClosed:
		// The first batch is not stored and will not be, and so are those after it in the session: handDown takes them on.
		l.win.answered()
		l.p.seal(l.known.streamID, l.shard, err.Successors)
		if l.p.opts.Shard != nil { // nobody looks for those that take over: what is put from now on is refused at once
			l.p.c.maps.outdate(l.p.stream, time.Now())
		}
		return err
	case err.Kind == NotFound:
		// The map decides whether the stream is gone: this node may lag.
		l.win.answered()
		l.failed(err, address)
		return nil
	case refusal(err.Kind):
		l.win.answered()
		return l.settleLost(l.win.refused(err))
	}
	// NotLeader too counts as unknown: a leader may be deposed with the batch in hand.
	l.win.broken()
	l.failed(err, address)
	return nil
}

func (l *lane) settleLost(failed []failure, err error) *Error {
	l.failAll(failed)
	if err != nil {
		return newError(Internal, "a batch could not be numbered anew: %w", err)
	}
	return nil
}

// failed notes that an attempt at a node came to nothing.
func (l *lane) failed(err *Error, address string) {
	now := time.Now()
	l.trouble, l.failedAt = err, now
	if err.Kind == NotLeader && l.route.follow(err.LeaderAddr, address) {
		return // at once
	}
	l.route.failed()
	l.resume = now.Add(max(l.pauses.next(), err.RetryAfter))
	l.log.Debug("append call ended", "node", address, "error", err.Message, "failures", l.route.failures)
}
