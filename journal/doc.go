// Package journal is the write-ahead journal of a node: the Raft entries of all
// its groups in one sequence of rounds, so that groups share the cost of a sync.
//
// # What it guarantees
//
// Append, TruncateSuffix and DeleteGroup return nil only when a sync that covers
// them succeeded; what they did is there after any crash. What was not
// acknowledged is there wholly or not at all, entry by entry. The commit index
// stored with entries is never above the last entry. TruncatePrefix takes effect
// at once and becomes durable with a later round; a crash may undo it.
//
// A checksum failure below a round that is known to have been durable is
// corruption: Open refuses with a *CorruptError that names file and offset. A
// failure in the last round is a torn tail, which is cut: nobody was told that
// it was stored.
//
// Any error of a write, a sync or a change of names stops the journal for ever:
// it answers all calls with ErrFailed, calls OnFailure once and never tries
// again, because after a failed sync nobody knows what is on the disk. Reads go
// on. Only reopening goes back to the truth.
//
// # How it works
//
// Callers queue; one goroutine takes everything that waits, writes it as one
// round, syncs once and answers all of them. Rounds fill segments, files of
// fixed size that are written full once and then reused by renaming: a sync of
// blocks that were written before costs a third of one that must allocate.
//
// A segment is recycled when no entry in it is live. When segments become many,
// groups that hold much of the oldest one are asked to snapshot, and the little
// that others still hold there is written again at the head.
//
// # Locks
//
// The journal's mutex guards what readers see; it is never held during I/O. It
// is taken before a segment's use lock and before the queue's mutex, never after.
// All that concerns writing belongs to the writer goroutine alone.
//
// The package knows nothing of any Raft implementation. Byte tables are in
// docs/formats/journal.md.
package journal
