package partition

import (
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal"
)

// Trim makes all records below ordinal unreadable, on all replicas. It waits
// until that is applied here. A trim point never goes back, and beyond the end
// it stops at the end. Each replica deletes the segments after its next snapshot.
func (r *Replica) Trim(ordinal uint64) error {
	_, err := r.command(Command{Kind: CommandTrim, Trim: ordinal})
	return err
}

// Seal closes the shard behind everything that was committed before, and
// returns its exact end and what its children are to know. Sealing again changes nothing and is answered the same.
func (r *Replica) Seal() (Inheritance, error) {
	result, err := r.command(Command{Kind: CommandSeal})
	if err != nil {
		return Inheritance{}, err
	}
	left, ok := result.(Inheritance)
	if !ok {
		return Inheritance{}, fault.New(fault.Internal, "a seal was answered with %T", result)
	}
	return left, nil
}

// Adopt opens a shard that takes over from sealed ones, of which it is given what they left. All it stores
// comes after their ends, and what they stored of its keys it knows as duplicates. Adopting again changes nothing.
func (r *Replica) Adopt(parents []Inheritance) error {
	if !r.opts.Rules.Child || len(parents) == 0 || len(parents) > ParentsMax {
		return fault.New(fault.Invalid, "shard %d cannot take over from %d shards", r.opts.Shard, len(parents))
	}
	if r.IsLeader() && !r.Pending() {
		return nil
	}
	c := Command{Kind: CommandAdopt}
	for _, h := range parents {
		c.Inheritances = append(c.Inheritances, h.For(r.opts.Range))
	}
	c.Inheritances, _ = fewestCalls(fewest(c.Inheritances, r.opts.Rules.withDefaults().ProducersMax))
	_, err := r.command(c)
	return err
}

// Pending reports whether the shard, as far as applied here, has yet to adopt from its parents.
func (r *Replica) Pending() bool { return r.current().pending }

// TickDue reports whether nothing has told the shard the time for half of its window, though it remembers repeatable calls: without that they
// would stay for ever in a shard that nobody writes to. Only a leader says so.
func (r *Replica) TickDue(now time.Time) bool {
	v := r.current()
	return v.repeatables && now.UnixMilli()-v.time > v.window.Milliseconds()/2 && r.IsLeader()
}

// Tick tells the shard the time.
func (r *Replica) Tick() error {
	_, err := r.command(Command{Kind: CommandTick})
	return err
}

// command proposes c beside the queue of appends and waits for its result.
func (r *Replica) command(c Command) (any, error) {
	if !r.IsLeader() {
		return nil, r.notLeader()
	}
	c.Time = r.now()
	result, err := r.group().Propose(c.Encode()).Wait()
	if err == nil {
		err, _ = result.(error)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "it is unknown whether this was done; try again: %w", err)
	}
	return result, nil
}

// Retention returns the ordinal to trim to so that no record is kept longer
// than maxAge, and so that the log is not larger than maxBytes by more than its
// newest segment; 0 means no such limit. It reports false when there is nothing
// to trim, or when this replica does not lead: the leader trims for all.
func (r *Replica) Retention(now time.Time, maxAge time.Duration, maxBytes int64) (ordinal uint64, due bool) {
	if !r.IsLeader() {
		return 0, false
	}
	v := r.current()
	to := v.trim
	if maxAge > 0 {
		// An unreadable index postpones the trim; reading the records will tell the reason.
		if at, err := r.log.SeekTime(now.Add(-maxAge).UnixMilli()); err == nil {
			to = max(to, at)
		}
	}
	if maxBytes > 0 {
		to = max(to, oldestWithin(r.log.Segments(), maxBytes))
	}
	to = min(to, v.next)
	return to, to > v.trim
}

// SweepDue reports whether a segment lies below the trim point and stays only
// because no snapshot has that trim point yet.
func (r *Replica) SweepDue() bool {
	r.mu.Lock()
	trim, swept := r.view.trim, r.sweepTo
	r.mu.Unlock()
	if trim <= swept {
		return false
	}
	s := r.log.Segments()
	return len(s) > 0 && s[0].Sealed && s[0].Next <= trim
}

// oldestWithin returns the first ordinal of the oldest segment from which on
// the segments have at most maxBytes; the newest is always kept.
func oldestWithin(segments []wal.SegmentInfo, maxBytes int64) uint64 {
	var first uint64
	var sum int64
	for i := len(segments) - 1; i >= 0; i-- {
		if sum += segments[i].Bytes; sum > maxBytes && i < len(segments)-1 {
			return first
		}
		first = segments[i].First
	}
	return first
}

// startSweep deletes, beside Apply, segments below the trim point of a
// snapshot. Those below a newer trim point stay until a snapshot has it, lest a
// restart from the snapshot finds its history gone.
func (r *Replica) startSweep(trim uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if trim <= r.sweepTo {
		return
	}
	r.sweepTo = trim
	if r.sweeping || r.shutdown {
		return
	}
	r.sweeping = true
	r.work.Add(1)
	go func() {
		defer r.work.Done()
		for swept := uint64(0); ; {
			r.mu.Lock()
			trim := r.sweepTo
			if trim == swept || r.shutdown {
				r.sweeping = false
				r.mu.Unlock()
				return
			}
			r.mu.Unlock()
			if err := r.log.DeleteBefore(trim); err != nil {
				r.opts.Logger.Warn("trimmed segments were not deleted; the next trim tries again", "error", err)
			}
			swept = trim
		}
	}()
}
