package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal"
)

const (
	fetchPauseMin = 100 * time.Millisecond
	fetchPauseMax = 5 * time.Second
	// distrustAfter is how many parts in a row must fail to join the log before
	// the log, and not the peers, is taken to be wrong.
	distrustAfter = 5
)

// Restore takes over a snapshot: it brings the log to exactly the snapshot's
// position, fetching from peers what is missing, and then serves from there.
// Raft calls it at a start and when the leader installs its snapshot. It
// retries until it succeeds, the disk fails, or Shutdown.
func (r *Replica) Restore(src io.Reader) error {
	p, state, err := r.decode(src)
	if err != nil {
		return err
	}
	if f := r.failure.Load(); f != nil {
		return f
	}
	if err := r.ensurePosition(r.life, toLog(p), state.Trim()); err != nil {
		if errors.Is(err, wal.ErrFailed) {
			r.fail(err)
		}
		return fmt.Errorf("bring the log of shard %d to %d: %w", r.opts.Shard, p.Next, err)
	}
	r.state, r.prepared = state, true
	r.publish()
	r.startSweep(state.Trim())
	return nil
}

// Check reports whether Restore would take a snapshot.
func (r *Replica) Check(src io.Reader) error {
	_, _, err := r.decode(src)
	return err
}

func (r *Replica) decode(src io.Reader) (Position, *State, error) {
	data, err := io.ReadAll(io.LimitReader(src, SnapshotBytesMax+1))
	if err != nil {
		return Position{}, nil, fmt.Errorf("read snapshot: %w", err)
	}
	if len(data) > SnapshotBytesMax {
		return Position{}, nil, fault.New(fault.Corrupt, "snapshot is larger than %d bytes", SnapshotBytesMax)
	}
	id, p, state, err := DecodeSnapshot(data)
	if err != nil {
		return Position{}, nil, fault.New(fault.Corrupt, "restore shard %d: %w", r.opts.Shard, err)
	}
	if id != r.identity() {
		return Position{}, nil, fault.New(fault.Corrupt, "restore shard %d: %w: %+v", r.opts.Shard, ErrSnapshotForeign, id)
	}
	return p, state, nil
}

// ensurePosition makes the log end exactly at p, durably: Raft forgets the
// entries up to the snapshot. Records below trim are not needed.
func (r *Replica) ensurePosition(ctx context.Context, p wal.Position, trim uint64) error {
	if r.log.First() > p.Next || (trim >= p.Next && r.log.Position().Next < p.Next) {
		// Nothing below p is needed. In the first case because only segments
		// below a committed trim point are ever deleted, and Raft brings that
		// trim again with what follows p.
		return r.log.Reset(p)
	}
	if err := r.fetchUpTo(ctx, p); err != nil {
		return err
	}
	return r.log.Flush(ctx, p.Next)
}

// contradicts tells a log with other contents than a position says from one that cannot be used.
func contradicts(err error) bool {
	return errors.Is(err, wal.ErrDiverged) || errors.Is(err, wal.ErrCorrupt) || errors.Is(err, wal.ErrShort)
}

// startOver empties a log that contradicts what the group agreed on.
func (r *Replica) startOver(p wal.Position, cause error) error {
	r.counters.diverged.Add(1)
	r.opts.Logger.Error("shard log contradicts the group's snapshot; rebuilding it from peers", "position", p.Next, "error", cause)
	return r.log.Reset(wal.Position{})
}

// fetchUpTo cuts the log to p, verified by p's hash of everything before it; if
// the log is shorter or another one, it fetches from peers first.
func (r *Replica) fetchUpTo(ctx context.Context, p wal.Position) error {
	pause, refused := fetchPauseMin, 0
	for {
		if r.log.Position().Next >= p.Next {
			err := r.log.TruncateTo(p)
			if !contradicts(err) {
				return err
			}
			if err := r.startOver(p, err); err != nil {
				return err
			}
			continue
		}
		if r.opts.Fetch == nil {
			return fault.New(fault.Corrupt, "log ends at %d and there is no peer to fetch up to %d from", r.log.Position().Next, p.Next)
		}
		joined, err := r.fetchOnce(ctx, p)
		if err == nil {
			pause, refused = fetchPauseMin, 0
			continue
		}
		if errors.Is(err, wal.ErrFailed) || errors.Is(err, wal.ErrClosed) {
			return err
		}
		r.counters.fetchFailures.Add(1)
		r.opts.Logger.Debug("fetch from a peer failed", "from", r.log.Position().Next, "to", p.Next, "error", err)
		if !joined {
			if refused++; refused >= distrustAfter {
				refused = 0
				if err := r.startOver(p, err); err != nil {
					return err
				}
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return fault.New(fault.Unavailable, "log ends at %d, %d is needed: %w", r.log.Position().Next, p.Next, err)
		}
		pause = min(pause*2, fetchPauseMax)
	}
}

// fetchOnce takes in one part. An error with joined unset says that a peer
// answered with good blocks that do not continue the log.
func (r *Replica) fetchOnce(ctx context.Context, p wal.Position) (joined bool, err error) {
	at := r.log.Position()
	answer, err := r.opts.Fetch(ctx, r.opts.Group, at.Next, r.opts.Limits.FetchBytes)
	if err != nil {
		return true, err
	}
	r.counters.fetches.Add(1)
	r.counters.fetchedBytes.Add(uint64(len(answer)))
	part, err := decodePart(answer)
	if err != nil {
		return true, err
	}
	if base := part.base; part.trimmed && base.Next > at.Next {
		// What lies between is trimmed at the peer, hence everywhere.
		if base.Next >= p.Next {
			return true, r.log.Reset(p)
		}
		if err := r.log.Reset(toLog(base)); err != nil {
			return true, err
		}
		at = toLog(base)
		if len(part.blocks) == 0 {
			return true, nil
		}
	}
	if len(part.blocks) == 0 {
		return true, fault.New(fault.Unavailable, "peer has nothing from %d on", at.Next)
	}
	now, err := r.log.AppendRaw(part.blocks)
	if err != nil {
		// Bytes that fail their own checksums say nothing about this log.
		return errors.Is(err, wal.ErrCorrupt), err
	}
	if now.Next <= at.Next {
		return false, fault.New(fault.Corrupt, "peer sent nothing new from %d on", at.Next)
	}
	return true, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
