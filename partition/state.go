package partition

import (
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

// Rules are the limits that decide how commands are applied. All replicas of a
// shard must have the same; a snapshot carries them.
type Rules struct {
	// ProducerWindow is how long an idle producer is remembered, on entry time. 0 = 15 minutes.
	ProducerWindow time.Duration
	// ProducersMax bounds the producers remembered; the one idle longest leaves. 0 = 4096.
	ProducersMax int
	// Child says that the shard takes over from others, and takes no record before it has adopted from them.
	Child bool
}

func (r Rules) withDefaults() Rules {
	if r.ProducerWindow <= 0 {
		r.ProducerWindow = 15 * time.Minute
	}
	if r.ProducersMax <= 0 {
		r.ProducersMax = 4096
	}
	return r
}

// pendingRetry is how soon a shard that takes over from others is worth another try.
const pendingRetry = 10 * time.Millisecond

// State is the deterministic core of a shard replica. The zero value is not
// usable; NewState and DecodeSnapshot make one. It is not safe for concurrent use.
type State struct {
	next   uint64 // ordinal of the next record
	time   int64  // entry time of the last command; never goes back
	trim   uint64 // first ordinal that readers may see; trim <= next
	closed bool   // sealed: no record will follow
	sealed int64  // entry time of the first seal; set iff closed

	// pending is set in a shard that takes over from others until it has adopted
	// from them: a record stored before could be a duplicate, or be ordered before one of theirs.
	pending bool

	producers   producerTable
	repeatables repeatables
}

// NewState returns the state of a shard before its first command.
func NewState(r Rules) *State {
	r = r.withDefaults()
	return &State{pending: r.Child, producers: newProducerTable(r.ProducerWindow.Milliseconds(), r.ProducersMax), repeatables: newRepeatables()}
}

// Next returns the ordinal that the next record will have.
func (s *State) Next() uint64 { return s.next }

// Time returns the entry time of the last command, in ms since the Unix epoch.
func (s *State) Time() int64 { return s.time }

// Trim returns the first ordinal that readers may see.
func (s *State) Trim() uint64 { return s.trim }

// Closed reports whether the shard was sealed.
func (s *State) Closed() bool { return s.closed }

// Pending reports whether the shard has yet to adopt from its parents.
func (s *State) Pending() bool { return s.pending }

// Producers returns the number of producers that are remembered, each as often as it has numberings.
func (s *State) Producers() int { return s.producers.order.Len() }

// Apply applies one committed command and returns what was decided. The
// outcome's payload aliases the command's batches.
func (s *State) Apply(c Command) Outcome {
	// A leap of more than half the window is another leader's clock more often
	// than silence, and would forget the very producers that are about to send
	// again what the former leader did not answer. It counts as half a window.
	if leap := c.Time - s.time - s.producers.windowMillis/2; s.time > 0 && leap > 0 && !s.closed {
		s.producers.forgive(leap)
		s.repeatables.forgive(leap)
	}
	s.time = max(s.time, c.Time)
	if !s.closed { // what a sealed shard leaves to its children stays as it was at the seal
		s.producers.expire(s.time)
		s.repeatables.expire(s.time, s.producers.windowMillis)
	}
	o := Outcome{First: s.next, Time: s.time}
	switch c.Kind {
	case CommandAppend:
		o.Results = make([]AppendResult, len(c.Batches))
		for i, b := range c.Batches {
			if b.Producer().Repeatable() && !c.plain && !s.pending {
				s.appendRepeatable(b, &o, &o.Results[i])
				continue
			}
			s.appendBatch(b, &o, &o.Results[i])
		}
		if c.joined != nil && o.whole == len(c.Batches) {
			o.Payload = [][]byte{c.joined} // the usual case, in one piece
		}
	case CommandTrim:
		to := min(c.Trim, s.next)
		o.Trimmed = to > s.trim
		s.trim = max(s.trim, to)
	case CommandSeal:
		if !s.closed {
			s.closed, s.sealed = true, s.time
		}
	case CommandAdopt:
		s.adopt(c.Inheritances)
	case CommandTick:
	}
	return o
}

func (s *State) appendBatch(b record.Batch, o *Outcome, result *AppendResult) {
	if s.pending {
		reject(b, o, result, pendingFault())
		return
	}
	if b.Producer().IsZero() {
		s.appendNew(b, nil, o, result)
		return
	}
	p, torn := s.producers.find(b)
	if torn {
		reject(b, o, result, fault.New(fault.StaleProducer,
			"the batch has keys of several shards that this one took over from; open a new session starting at 1"))
		return
	}
	first, count := b.FirstSequence(), uint64(b.Count())
	if first == 0 || first+count < first {
		reject(b, o, result, fault.New(fault.Invalid, "producer sequence number %d is out of range", first))
		return
	}
	var highest uint64
	if p != nil {
		highest = p.highest
	}
	switch end := first + count - 1; {
	case first > highest+1 && !s.closed: // once closed, all that is new goes elsewhere, in order or not
		reject(b, o, result, staleProducer(p, first))
	case first > highest:
		s.appendNew(b, p, o, result)
	case end <= highest:
		// A retry is answered even after the seal: it asks for nothing new.
		p.locate(result, first, uint32(count))
		o.Duplicates += count
		if !s.closed {
			s.producers.touch(p, s.time)
		}
	default:
		s.appendStraddling(b, p, o, result)
	}
}

// appendStraddling stores the part of b that is above the producer's highest
// sequence number. What is stored then differs from what was sent, in the same
// way on every replica.
func (s *State) appendStraddling(b record.Batch, p *producer, o *Outcome, result *AppendResult) {
	if s.closed {
		s.appendNew(b, p, o, result)
		return
	}
	known := p.highest - b.FirstSequence() + 1
	tail := b.Tail(int(known))
	if tail == nil {
		reject(b, o, result, fault.New(fault.Corrupt, "batch is malformed"))
		return
	}
	p.locate(result, b.FirstSequence(), uint32(known))
	o.Duplicates += known
	s.appendNew(tail, p, o, result)
	o.whole--
}

// appendNew gives the records of b the next ordinals. They are the next of p, or of a producer that is new if p is nil.
func (s *State) appendNew(b record.Batch, p *producer, o *Outcome, result *AppendResult) {
	if s.closed {
		reject(b, o, result, closedFault())
		return
	}
	first, count := s.next, uint32(b.Count())
	s.store(b, o, result)
	if id := b.Producer(); !id.IsZero() {
		if p == nil {
			p = &producer{id: id, oldest: 1}
			s.producers.add(p, s.time)
		}
		p.accept(count, first, s.time)
		s.producers.touch(p, s.time)
	}
}

// store gives the records of b the next ordinals.
func (s *State) store(b record.Batch, o *Outcome, result *AppendResult) {
	count := uint32(b.Count())
	result.addRange(ResultRange{Count: count, First: s.next, Time: s.time})
	o.Payload = append(o.Payload, b)
	o.Count += count
	o.stored++
	o.whole++
	s.next += uint64(count)
}

func closedFault() *fault.Error {
	return fault.New(fault.ShardClosed, "shard is closed; send to its successors")
}

func reject(b record.Batch, o *Outcome, result *AppendResult, err *fault.Error) {
	result.Err = err
	o.Rejected += uint64(b.Count())
}

func pendingFault() *fault.Error {
	err := fault.New(fault.Throttled, "the shard has not taken over from its parents yet; nothing was written, try again")
	err.RetryAfter = pendingRetry
	return err
}

func staleProducer(p *producer, got uint64) *fault.Error {
	if p == nil {
		return fault.New(fault.StaleProducer,
			"producer is unknown or was idle too long, and its sequence number is %d; open a new session starting at 1", got)
	}
	return fault.New(fault.StaleProducer,
		"producer sequence number %d leaves a gap, %d is next; resend from there", got, p.highest+1)
}
