package partition

import (
	"context"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

// pending is one batch that waits for its outcome.
type pending struct {
	batch record.Batch
	cost  int64
	done  func(AppendResult, error)
}

// Append writes batches and waits for their results, one per batch in order.
// An error means that the call was refused as a whole, nothing written, unless
// it is Unavailable: then ctx ended first and the outcome is unknown. A result
// with Err speaks for its batch alone; see Enqueue.
func (r *Replica) Append(ctx context.Context, batches []record.Batch) ([]AppendResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Throttled, "nothing was written: %w", err)
	}
	if err := r.admit(batches); err != nil {
		return nil, err
	}
	answer := make(chan []AppendResult, 1)
	if err := r.enqueue(batches, collect(len(batches), func(a []AppendResult, _ error) { answer <- a })); err != nil {
		r.countThrottled(err, len(batches))
		return nil, err
	}
	select {
	case results := <-answer:
		return results, nil
	case <-ctx.Done():
		return nil, unknownOutcome(ctx.Err())
	}
}

// EnqueueWait is Enqueue for a caller that would rather wait than be
// throttled: it returns when the batches are queued, or with an error if they
// are not, in which case nothing is written and done is not called. done is
// called once, with one result per batch and no error: errors are in the
// results. A caller that waits does not hold up others, nor is it promised room
// before them. It waits for at most patience, and until ctx ends.
func (r *Replica) EnqueueWait(ctx context.Context, patience time.Duration, batches []record.Batch, done func([]AppendResult, error)) error {
	if err := r.admit(batches); err != nil {
		return err
	}
	each := collect(len(batches), done)
	err := r.enqueue(batches, each)
	if err == nil || fault.KindOf(err) != fault.Throttled {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for err != nil && fault.KindOf(err) == fault.Throttled {
		replicaRoom, nodeRoom := r.awaitRoom()
		if err = r.enqueue(batches, each); err == nil || fault.KindOf(err) != fault.Throttled {
			return err
		}
		select {
		case <-replicaRoom:
		case <-nodeRoom:
		case <-ctx.Done():
			r.counters.throttled.Add(uint64(len(batches)))
			return fault.New(fault.Throttled, "no room came free, nothing was written: %w", ctx.Err())
		}
	}
	return err
}

// awaitRoom returns channels that are closed when the replica's or the node's
// bytes are given back next; taken before the attempt, so no change is missed.
func (r *Replica) awaitRoom() (replica, node <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.room == nil {
		r.room = make(chan struct{})
	}
	if r.opts.Budget != nil {
		node = r.opts.Budget.Room()
	}
	return r.room, node
}

// collect gathers n single answers into one. They come in order and one at a time.
func collect(n int, done func([]AppendResult, error)) func(AppendResult, error) {
	results := make([]AppendResult, 0, n)
	return func(a AppendResult, err error) {
		if err != nil {
			a.Err = fault.As(err)
		}
		if results = append(results, a); len(results) == n {
			done(results, nil)
		}
	}
}

// Enqueue starts writing batches and calls done once for each, in order. It
// does not wait for the log; batches of one caller are written in the order of
// its calls.
//
// The call is taken or refused as a whole. If it is refused (Invalid, TooLarge,
// Throttled, NotLeader: nothing was written) done is called before Enqueue
// returns. Later errors are NotLeader (the batch was never proposed; not
// written) and Unavailable (proposed, outcome unknown: it may be or become
// written). Without an error the result says what was decided about the batch,
// which may be a refusal in its Err.
//
// Batches are retained beyond their answer and must never be modified. done must
// not block: it holds up all answers of the shard.
func (r *Replica) Enqueue(batches []record.Batch, done func(AppendResult, error)) {
	err := r.admit(batches)
	if err == nil {
		err = r.enqueue(batches, done)
		r.countThrottled(err, len(batches))
	}
	if err != nil {
		for range batches {
			done(AppendResult{}, err)
		}
	}
}

// admit checks what needs no lock. It returns a *fault.Error or nil.
func (r *Replica) admit(batches []record.Batch) error {
	if len(batches) == 0 {
		return fault.InvalidField("batches", "an append needs at least one batch")
	}
	if r.failure.Load() != nil || !r.IsLeader() {
		r.counters.notLeader.Add(uint64(len(batches)))
		return r.notLeader()
	}
	if r.Pending() {
		r.counters.throttled.Add(uint64(len(batches)))
		return pendingFault()
	}
	for _, b := range batches {
		if err := r.validate(b); err != nil {
			r.counters.invalid.Add(1)
			return err
		}
		if runs := r.opts.RepeatableRuns; runs != nil && b.Producer().Repeatable() && runs.Used() >= runs.Limit() {
			r.counters.throttled.Add(uint64(len(batches)))
			return nodeRepeatablesFault(runs.Limit())
		}
	}
	return nil
}

func (r *Replica) validate(b record.Batch) error {
	if len(b) < record.HeaderSize {
		return fault.InvalidField("batch", "batch of %d bytes has no header", len(b))
	}
	if len(b) > record.MaxBatchBytes {
		return fault.TooLargeField("batch", record.MaxBatchBytes, "batch has %d bytes, at most %d are allowed", len(b), record.MaxBatchBytes)
	}
	n, limit := 0, int(r.recordMax.Load())
	routed := !b.Pinned() && !r.whole
	for i, rec := range b.Records() {
		n++
		if size := len(rec.Key) + len(rec.Data); size > limit {
			return fault.TooLargeField("data", uint64(limit),
				"record %d has %d bytes of key and data, the stream allows %d", i, size, limit)
		}
		if routed && !r.opts.Range.Contains(rec.HashKey()) {
			return fault.InvalidField("partition_key",
				"record %d has hash key %s, outside of shard %d's range %s; refresh the partition map",
				i, rec.HashKey(), r.opts.Shard, r.opts.Range)
		}
	}
	if n != b.Count() {
		return fault.InvalidField("batch", "batch has %d readable records, its header says %d", n, b.Count())
	}
	return nil
}

// enqueue puts admitted batches into the queue, all or none.
func (r *Replica) enqueue(batches []record.Batch, done func(AppendResult, error)) error {
	var bytes, cost int64
	for _, b := range batches {
		bytes += int64(len(b))
		cost += batchCost(b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shutdown {
		return stopped()
	}
	if r.failure.Load() != nil {
		return r.notLeader()
	}
	if err := r.charge(cost); err != nil {
		return err
	}
	for _, b := range batches {
		r.queue = append(r.queue, pending{b, batchCost(b), done})
	}
	r.queued += bytes
	r.startProposer()
	return nil
}

func (r *Replica) countThrottled(err error, batches int) {
	if err != nil && fault.KindOf(err) == fault.Throttled {
		r.counters.throttled.Add(uint64(batches))
	}
}

// charge takes room for cost bytes. The caller holds mu.
func (r *Replica) charge(cost int64) error {
	if limit := r.opts.Limits.QueueBytesMax; r.held > 0 && r.held+cost > limit {
		f := fault.New(fault.Throttled, "shard %d has %d bytes of appends waiting; nothing was written, try again", r.opts.Shard, r.held)
		f.Limit = uint64(limit)
		return f
	}
	if r.opts.Budget != nil && !r.opts.Budget.TryAcquire(cost) {
		f := fault.New(fault.Throttled, "this node has too many appends waiting; nothing was written, try again")
		f.Limit = uint64(r.opts.Budget.Limit())
		return f
	}
	r.held += cost
	return nil
}

// discharge gives the room back. The caller holds mu.
func (r *Replica) discharge(cost int64) {
	r.held -= cost
	r.freeRoom()
	if r.opts.Budget != nil {
		r.opts.Budget.Release(cost)
	}
}

// freeRoom lets those try again who wait for room. The caller holds mu.
func (r *Replica) freeRoom() {
	if r.room != nil {
		close(r.room)
		r.room = nil
	}
}
