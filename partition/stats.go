package partition

import "sync/atomic"

// counters only grow, except the last.
type counters struct {
	batches, records, bytes              atomic.Uint64
	duplicates, rejected                 atomic.Uint64
	entries, entryBytes                  atomic.Uint64
	notLeader, throttled, invalid        atomic.Uint64
	unknown                              atomic.Uint64
	reads, readBytes, waits              atomic.Uint64
	fetches, fetchedBytes, fetchFailures atomic.Uint64
	diverged                             atomic.Uint64
	producers, repeatableRuns            atomic.Int64
}

// Stats is what a replica counted since it was made. Records are counted where
// they are applied, so on every replica; entries and refusals where they were proposed.
type Stats struct {
	Batches, Records, Bytes uint64 // stored
	Duplicates              uint64 // records found to be stored already
	Rejected                uint64 // records refused when applied: stale producer, closed shard
	Entries, EntryBytes     uint64 // proposed
	NotLeader, Throttled    uint64 // batches refused, nothing written
	Invalid                 uint64 // calls refused
	Unknown                 uint64 // batches with unknown outcome
	Reads, ReadBytes        uint64
	Waits                   uint64 // reads that waited for records

	Fetches, FetchedBytes uint64 // parts of the log taken from peers
	FetchFailures         uint64
	Diverged              uint64 // times the log contradicted a snapshot; any is an alarm

	First, Next      uint64 // ordinals readable: [First, Next)
	Time             int64  // entry time of the last command, ms since the Unix epoch
	Closed           bool
	Producers        int
	RepeatableRuns   int   // runs of records of repeatable calls that are remembered
	QueuedBytes      int64 // charged for batches waiting or in flight
	EntriesInFlight  int
	Failed, Attached bool
}

// Stats returns the present counts.
func (r *Replica) Stats() Stats {
	c := &r.counters
	s := Stats{
		Batches: c.batches.Load(), Records: c.records.Load(), Bytes: c.bytes.Load(),
		Duplicates: c.duplicates.Load(), Rejected: c.rejected.Load(),
		Entries: c.entries.Load(), EntryBytes: c.entryBytes.Load(),
		NotLeader: c.notLeader.Load(), Throttled: c.throttled.Load(), Invalid: c.invalid.Load(), Unknown: c.unknown.Load(),
		Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(), Waits: c.waits.Load(),
		Fetches: c.fetches.Load(), FetchedBytes: c.fetchedBytes.Load(), FetchFailures: c.fetchFailures.Load(),
		Diverged: c.diverged.Load(), Producers: int(c.producers.Load()), RepeatableRuns: int(c.repeatableRuns.Load()),
		First: r.First(), Failed: r.failure.Load() != nil, Attached: r.group() != nil,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Next, s.Time, s.Closed = r.view.next, r.view.time, r.view.closed
	s.QueuedBytes, s.EntriesInFlight = r.held, len(r.inflight)
	return s
}
