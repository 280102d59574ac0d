package partition

import (
	"fmt"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// proposal is a run of batches with one outcome to come: an entry that was
// handed to Raft, or a refusal that waits for its turn to be answered.
type proposal struct {
	batches []pending
	decided chan struct{} // closed when future or refusal is set
	future  Future
	refusal error
}

// startProposer starts the proposer if there is something for it to do.
// The caller holds mu.
//
// While nothing is in flight an entry is proposed at once, whatever its size.
// Otherwise batches gather until there are enough of them for a good entry or
// until the one in flight is done: the busier the shard, the larger the
// entries, without a timer.
func (r *Replica) startProposer() {
	if r.pumping || !r.mayPropose() {
		return
	}
	r.pumping = true
	r.work.Add(1)
	go r.propose()
}

func (r *Replica) mayPropose() bool {
	l := r.opts.Limits
	switch n := len(r.inflight); {
	case len(r.queue) == 0 || n >= l.EntriesInFlight:
		return false
	default:
		return n == 0 || r.queued >= int64(l.EntryBytesMin)
	}
}

// propose is the proposer: the only one that proposes appends, so their order is the queue's.
func (r *Replica) propose() {
	defer r.work.Done()
	for {
		r.mu.Lock()
		if !r.mayPropose() {
			r.pumping = false
			r.mu.Unlock()
			return
		}
		c := r.group()
		_, term := c.Leader()
		// A new term while entries of an older one are undecided: those may be
		// lost, and what comes after them must not be written before their
		// callers know.
		if !c.IsLeader() || (len(r.inflight) > 0 && term != r.term) {
			r.refuseQueue(r.notLeader())
			r.mu.Unlock()
			continue
		}
		r.term = term
		p := r.takeEntry()
		r.mu.Unlock()
		r.hand(c, p)
	}
}

// hand proposes p's batches as one entry.
func (r *Replica) hand(c Consensus, p *proposal) {
	cmd := Command{Kind: CommandAppend, Time: r.now(), Batches: make([]record.Batch, len(p.batches))}
	for i := range p.batches {
		cmd.Batches[i] = p.batches[i].batch
	}
	head, body := cmd.Encode()
	p.future = c.Propose(head, body)
	close(p.decided)
	r.counters.entries.Add(1)
	r.counters.entryBytes.Add(uint64(len(head) + len(body)))
}

// now is the leader's time as it goes into an entry.
func (r *Replica) now() int64 {
	return min(max(r.opts.Clock().UnixMilli(), 0), seqno.MaxTime)
}

// takeEntry moves the batches of the next entry from the queue to what is in
// flight. The caller holds mu.
func (r *Replica) takeEntry() *proposal {
	l := r.opts.Limits
	n, size := 0, 0
	for _, q := range r.queue {
		// A large batch makes an entry by itself: putting two together would copy both.
		if n > 0 && size+len(q.batch) > l.EntryBytesTarget {
			break
		}
		size += len(q.batch)
		n++
	}
	p := &proposal{batches: r.queue[:n:n], decided: make(chan struct{})}
	r.queue = r.queue[n:]
	if len(r.queue) == 0 {
		r.queue = nil
	}
	r.queued -= int64(size)
	r.fly(p)
	return p
}

// refuseQueue answers everything that is queued with err, after what is in
// flight. The caller holds mu.
func (r *Replica) refuseQueue(err error) {
	if len(r.queue) == 0 {
		return
	}
	p := &proposal{batches: r.queue, decided: make(chan struct{}), refusal: err}
	close(p.decided)
	r.queue, r.queued = nil, 0
	r.counters.notLeader.Add(uint64(len(p.batches)))
	r.fly(p)
}

// fly hands p to the completer. The caller holds mu.
func (r *Replica) fly(p *proposal) {
	r.inflight = append(r.inflight, p)
	if !r.completing {
		r.completing = true
		r.work.Add(1)
		go r.complete()
	}
}

// complete is the completer: it answers proposals in the order of their batches.
func (r *Replica) complete() {
	defer r.work.Done()
	for {
		r.mu.Lock()
		if len(r.inflight) == 0 {
			r.completing = false
			r.mu.Unlock()
			return
		}
		p := r.inflight[0]
		r.mu.Unlock()

		<-p.decided
		results, err := p.outcome()
		var cost int64
		for i := range p.batches {
			cost += p.batches[i].cost
		}
		r.mu.Lock()
		r.inflight[0] = nil
		if r.inflight = r.inflight[1:]; len(r.inflight) == 0 {
			r.inflight = nil
		}
		r.discharge(cost)
		if p.refusal == nil && err != nil {
			// What is queued stands behind the failed entry and must not overtake it.
			r.counters.unknown.Add(uint64(len(p.batches)))
			r.refuseQueue(r.notLeader())
		}
		r.startProposer()
		r.mu.Unlock()
		p.answer(results, err)
	}
}

// outcome waits for the result of p.
func (p *proposal) outcome() ([]AppendResult, error) {
	if p.refusal != nil {
		return nil, p.refusal
	}
	result, err := p.future.Wait()
	if err != nil {
		return nil, unknownOutcome(err)
	}
	switch v := result.(type) {
	case []AppendResult:
		if len(v) == len(p.batches) {
			return v, nil
		}
		return nil, unknownOutcome(fmt.Errorf("%d results for %d batches", len(v), len(p.batches)))
	case error:
		return nil, unknownOutcome(v)
	}
	return nil, fault.New(fault.Internal, "an append was answered with %T", result)
}

func (p *proposal) answer(results []AppendResult, err error) {
	for i := range p.batches {
		if err != nil {
			p.batches[i].done(AppendResult{}, err)
			continue
		}
		p.batches[i].done(results[i], nil)
	}
	clear(p.batches) // the queue's array outlives its batches
}
