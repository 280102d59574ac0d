package raftfsm

import (
	"errors"
	"sync"
	"time"

	"github.com/levada-stream/levada/internal/fault"
)

// Fail stops every group for good: what they stand on has failed. Only the first call counts. It
// returns at once.
func (h *Host) Fail(err error) {
	if !h.failed.CompareAndSwap(nil, &err) {
		return
	}
	h.o.Logger.Error("storage failed: all groups of this node stop, nothing is retried; replace the disk or restart the node", "error", err)
	for _, g := range h.Groups() {
		g.fail(err)
	}
	if h.o.OnFailure != nil {
		h.o.OnFailure(err)
	}
}

func (h *Host) failure() error {
	if err := h.failed.Load(); err != nil {
		return fault.New(fault.Unavailable, "this node's storage has failed: %w", *err)
	}
	return nil
}

// Close stops all groups and waits for everything. It may be called again.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		h.wg.Wait()
		return nil
	}
	h.ended = true
	close(h.closed)
	h.mu.Unlock()
	h.o.Transport.onPeerDeath(nil)
	var stopping sync.WaitGroup
	for _, g := range h.Groups() {
		stopping.Go(g.stop)
	}
	stopping.Wait()
	h.wg.Wait()
	err := h.stable.Close()
	return errors.Join(err, h.closeMeta())
}

// RequestSnapshot asks a group for a snapshot so that the journal can let its entries go. It
// returns at once; the journal asks again or moves the entries if nothing comes of it.
func (h *Host) RequestSnapshot(group uint64) {
	if g := h.Group(group); g != nil {
		h.snapshotDue(g, true)
	}
}

// snapshotDue takes a snapshot of a group soon, unless one is under way. requested shortens the
// log further than usual.
func (h *Host) snapshotDue(g *Group, requested bool) {
	h.mu.Lock()
	_, under := h.due[g.id]
	if !under {
		h.due[g.id] = struct{}{}
	}
	h.mu.Unlock()
	if under {
		return
	}
	ok := h.start(func() {
		defer func() {
			h.mu.Lock()
			delete(h.due, g.id)
			h.mu.Unlock()
		}()
		trailing := h.o.TrailingLogs
		if requested {
			trailing = min(trailing, trailingRequested)
		}
		err := g.snapshot(trailing)
		if err == nil {
			return
		}
		g.logger.Warn("snapshot failed", "error", err)
		select { // not at the next entry again
		case <-time.After(snapshotRetry):
		case <-h.closed:
		}
	})
	if !ok {
		h.mu.Lock()
		delete(h.due, g.id)
		h.mu.Unlock()
	}
}

// enterSnapshot waits for one of the slots for writing a snapshot. They are taken only while one is
// written: a group that is busy may take for ever to begin, and holds up nobody.
func (h *Host) enterSnapshot(end <-chan struct{}) bool {
	select {
	case h.slots <- struct{}{}:
		return true
	case <-end:
	case <-h.closed:
	}
	return false
}
