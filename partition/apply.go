package partition

import (
	"fmt"
	"io"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal"
)

// Apply applies committed entries, in order. The i-th result is what the
// proposer of the i-th entry receives: []AppendResult for an append, the trim
// point (uint64) for a trim, an Inheritance for a seal, nil for a tick or an adoption, an error
// if the replica has failed. Raft calls it.
//
// When it returns, readers see what was applied: a caller that was answered
// finds its records.
func (r *Replica) Apply(entries []Entry) []any {
	results := make([]any, len(entries))
	if !r.prepared {
		if err := r.prepareEmpty(); err != nil {
			r.fail(err)
		}
	}
	for i := range entries {
		if f := r.failure.Load(); f != nil {
			results[i] = f
			continue
		}
		result, err := r.applyEntry(&entries[i])
		if err != nil {
			// The state may be ahead of the log now; nothing may be built on either.
			r.fail(fmt.Errorf("apply entry %d: %w", entries[i].Index, err))
			result = r.failure.Load()
		}
		results[i] = result
	}
	if r.failure.Load() == nil {
		r.publish()
	}
	return results
}

// prepareEmpty empties a log before the first entry of a group that has no
// snapshot: Raft is about to apply everything again.
func (r *Replica) prepareEmpty() error {
	if r.log.Position() != (wal.Position{}) {
		if err := r.log.Reset(wal.Position{}); err != nil {
			return err
		}
	}
	r.prepared = true
	return nil
}

func (r *Replica) applyEntry(e *Entry) (any, error) {
	cmd, err := DecodeCommand(e.Head, e.Data)
	if err != nil {
		return nil, err
	}
	o := r.state.Apply(cmd)
	if o.Count > 0 {
		b := wal.Block{First: o.First, Count: o.Count, Time: o.Time, Index: e.Index, Payload: o.Payload}
		if _, err := r.log.Append(b); err != nil {
			return nil, err
		}
		r.measure(cmd.Batches, &o, r.count(&o))
	}
	r.counters.duplicates.Add(o.Duplicates)
	r.counters.rejected.Add(o.Rejected)
	switch cmd.Kind {
	case CommandAppend:
		return o.Results, nil
	case CommandTrim:
		return r.state.Trim(), nil
	case CommandSeal:
		return r.state.inheritance(r.opts.Shard, r.opts.Range), nil
	}
	return nil, nil
}

// count adds what was stored to the counters and returns its bytes.
func (r *Replica) count(o *Outcome) (bytes int) {
	for _, b := range o.Payload {
		bytes += len(b)
	}
	r.counters.batches.Add(uint64(o.stored))
	r.counters.records.Add(uint64(o.Count))
	r.counters.bytes.Add(uint64(bytes))
	return bytes
}

// Snapshot captures the state and the log's position. Raft calls it between
// calls of Apply; Persist runs beside later ones.
func (r *Replica) Snapshot() (Snapshot, error) {
	if f := r.failure.Load(); f != nil {
		return nil, f
	}
	if !r.prepared {
		if err := r.prepareEmpty(); err != nil {
			r.fail(err)
			return nil, err
		}
	}
	p := r.log.Position()
	if p.Next != r.state.Next() {
		err := fault.New(fault.Internal, "log ends at %d, state at %d", p.Next, r.state.Next())
		r.fail(err)
		return nil, err
	}
	return &snapshot{r: r, upTo: p.Next, trim: r.state.Trim(), data: EncodeSnapshot(r.identity(), fromLog(p), r.state)}, nil
}

func (r *Replica) identity() Identity {
	return Identity{Group: r.opts.Group, StreamID: r.opts.StreamID, Shard: r.opts.Shard}
}

// snapshot is a captured state, already encoded.
type snapshot struct {
	r         *Replica
	upTo      uint64
	trim      uint64
	data      []byte
	persisted bool
}

// Persist writes the snapshot. The log is made durable first: once the snapshot
// exists Raft forgets the entries that could bring the log back.
func (s *snapshot) Persist(w io.Writer) error {
	if err := s.r.log.Flush(s.r.life, s.upTo); err != nil {
		return fault.New(fault.KindOf(err), "shard log is not durable up to %d: %w", s.upTo, err)
	}
	if _, err := w.Write(s.data); err != nil {
		return err
	}
	s.persisted = true
	return nil
}

// Release drops the encoded state. Raft calls it once the snapshot is in place:
// from then on a restart begins with its trim point, so what is below may go.
func (s *snapshot) Release() {
	s.data = nil
	if s.persisted {
		s.r.startSweep(s.trim)
	}
}

func fromLog(p wal.Position) Position {
	return Position{Next: p.Next, Index: p.Index, Time: p.Time, Chain: [16]byte(p.Chain)}
}

func toLog(p Position) wal.Position {
	return wal.Position{Next: p.Next, Index: p.Index, Time: p.Time, Chain: wal.Chain(p.Chain)}
}
