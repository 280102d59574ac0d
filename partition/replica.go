package partition

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// view is what readers and callers see of the state: all that was applied.
type view struct {
	next    uint64
	trim    uint64
	time    int64
	closed  bool
	pending bool

	repeatables bool          // it is open and remembers repeatable calls
	window      time.Duration // for which it does
}

// Replica drives one shard replica. Its methods are safe for concurrent use,
// but Apply, Snapshot and Restore are called by Raft, one at a time.
//
// It has no goroutine while nothing is appended: the proposer and the
// completer start with the work and end with it.
type Replica struct {
	opts  Options // immutable
	log   ShardLog
	whole bool // the range is the whole key space; immutable

	// Life: ended by Shutdown, before which every goroutine is counted in work.
	life    context.Context // the replica's own, not a call's: bounds fetches and flushes
	endLife context.CancelFunc
	work    sync.WaitGroup

	// Owned by Raft's apply goroutine.
	state    *State
	prepared bool // the log is at the state's position

	counters  counters
	load      atomic.Pointer[loadMeter] // nil until something was stored
	made      int64                     // ms since the Unix epoch; immutable
	recordMax atomic.Int64              // bytes of key and data of one record
	consensus atomic.Pointer[Consensus]
	failure   atomic.Pointer[fault.Error] // set once

	mu         sync.Mutex
	view       view
	changed    chan struct{} // closed at the next change of view; nil while nobody waits
	room       chan struct{} // closed when bytes are given back; nil while nobody waits
	queue      []pending     // admitted, not yet in an entry, in order
	queued     int64         // bytes of batches in queue
	held       int64         // bytes charged for queue and inflight
	runsHeld   int64         // of opts.RepeatableRuns
	inflight   []*proposal   // in order; the first is what the completer waits for
	term       uint64        // in which the last proposal was made
	pumping    bool          // a proposer runs
	completing bool          // a completer runs
	sweeping   bool          // a deletion of trimmed segments runs
	sweepTo    uint64        // the trim point of the newest snapshot
	shutdown   bool
}

// NewReplica returns a replica that has applied nothing. Attach gives it its Raft group.
func NewReplica(o Options) *Replica {
	o = o.withDefaults()
	r := &Replica{opts: o, log: o.Log, whole: o.Range == hashkey.Full, state: NewState(o.Rules), view: view{pending: o.Rules.Child}}
	r.made = r.now()
	r.recordMax.Store(int64(o.Limits.RecordBytesMax))
	r.life, r.endLife = context.WithCancel(context.Background())
	return r
}

// SetRecordBytesMax changes the limit of key and data of one record, for what
// is appended from now on.
func (r *Replica) SetRecordBytesMax(n int) { r.recordMax.Store(int64(n)) }

// Attach gives the replica the group it proposes to. Until then it refuses
// appends as not the leader. Raft may call Apply and Restore before.
func (r *Replica) Attach(c Consensus) { r.consensus.Store(&c) }

// LeadershipChanged tells the replica what its group learned. On a loss,
// batches that are not yet proposed are answered at once: they are not written.
func (r *Replica) LeadershipChanged(leader bool, _ uint64) {
	if leader {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuseQueue(r.notLeader())
}

// Shutdown refuses what is waiting and what comes, wakes readers, and ends
// fetches. It does not wait. Order of an end: Shutdown, stop the Raft group,
// Close, close the log.
func (r *Replica) Shutdown() {
	r.endLife()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shutdown = true
	r.holdRuns(0)
	r.refuseQueue(stopped())
	r.freeRoom()
	r.wake()
}

// Close shuts down and waits until everything is answered and all goroutines
// have ended. Proposals in flight end only when the Raft group answers them.
func (r *Replica) Close() {
	r.Shutdown()
	r.work.Wait()
}

// Failed returns the error that ended the replica's service, or nil. A replica
// that has failed applied nothing since and acknowledges nothing more: its owner
// is to stop its Raft group and to open both again from disk.
func (r *Replica) Failed() error {
	if f := r.failure.Load(); f != nil {
		return f
	}
	return nil
}

// fail ends the replica's service; only the first call counts.
func (r *Replica) fail(cause error) {
	f := fault.New(fault.KindOf(cause), "replica of shard %d of stream %d has failed: %w", r.opts.Shard, r.opts.StreamID, cause)
	if !r.failure.CompareAndSwap(nil, f) {
		return
	}
	r.mu.Lock()
	r.refuseQueue(unservable(f))
	r.freeRoom()
	r.wake()
	r.mu.Unlock()
}

// publish makes the state visible and wakes who waits for it.
func (r *Replica) publish() {
	v := view{next: r.state.next, trim: r.state.trim, time: r.state.time, closed: r.state.closed, pending: r.state.pending}
	r.counters.producers.Store(int64(r.state.Producers()))
	runs := int64(r.state.repeatables.runs)
	r.counters.repeatableRuns.Store(runs)
	if v.closed { // those stay as long as the shard, and must not keep others out
		runs = 0
	}
	v.repeatables, v.window = runs > 0, time.Duration(r.state.producers.windowMillis)*time.Millisecond
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view = v
	if !r.shutdown {
		r.holdRuns(runs)
	}
	r.wake()
}

// holdRuns takes so many runs of repeatable calls from the node's budget, in place of those that it has. The caller holds mu.
func (r *Replica) holdRuns(runs int64) {
	if b := r.opts.RepeatableRuns; b != nil && runs != r.runsHeld {
		b.Adjust(runs - r.runsHeld)
		r.runsHeld = runs
	}
}

// wake wakes all waiting readers. The caller holds mu.
func (r *Replica) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *Replica) current() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view
}

// group returns the Raft group, nil before Attach.
func (r *Replica) group() Consensus {
	if c := r.consensus.Load(); c != nil {
		return *c
	}
	return nil
}

// IsLeader reports whether this replica takes appends.
func (r *Replica) IsLeader() bool {
	c := r.group()
	return c != nil && c.IsLeader() && r.failure.Load() == nil
}

// notLeader returns the refusal that says who leads.
func (r *Replica) notLeader() *fault.Error {
	f := fault.New(fault.NotLeader, "this node does not lead shard %d; nothing was written", r.opts.Shard)
	if c := r.group(); c != nil {
		f.LeaderNode, _ = c.Leader()
	}
	return f
}

// stopped is a NotLeader refusal, because that is what promises that nothing was written.
func stopped() *fault.Error {
	return fault.New(fault.NotLeader, "this node is closing the shard's replica; nothing was written")
}

func unservable(cause error) *fault.Error {
	return fault.New(fault.NotLeader, "nothing was written: %w", cause)
}

// unknownOutcome answers for batches that were proposed.
func unknownOutcome(cause error) *fault.Error {
	f := fault.New(fault.Unavailable, "it is unknown whether the records were written; resend them as they are: %w", cause)
	if c := fault.As(cause); c != nil {
		f.LeaderNode, f.LeaderAddr = c.LeaderNode, c.LeaderAddr
	}
	return f
}

// batchCost is what a waiting batch is charged: its bytes and what keeping it takes.
func batchCost(b record.Batch) int64 { return int64(len(b)) + 256 }
