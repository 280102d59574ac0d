// Package partition runs one replica of one shard.
//
// Its core, State, is a pure function of the commands that Raft committed: it
// assigns ordinals and times, finds duplicates, keeps the trim point and the
// closed flag. It has no goroutine, clock or disk, so every replica that
// applied the same commands has the same state, down to the bytes of its
// snapshot.
//
// Replica is the driver around it. It gathers concurrent appends into Raft
// entries, applies what was committed to the shard log, answers the callers,
// wakes the readers, and brings the log to the position of a snapshot.
//
// Guarantees:
//   - An append is answered without error only after its entry was committed
//     and applied here.
//   - NotLeader, Throttled, Invalid, TooLarge: nothing was written. Unavailable:
//     the outcome is unknown.
//   - A batch with a producer is stored at most once while the producer is known.
//   - Reads see committed records only, and only below a contiguous end.
//   - After a write error of the log the replica acknowledges nothing more.
//
// Assumptions: Raft applies each entry once, in order, on one goroutine; after a
// restart it calls Restore with the newest snapshot, if there is one, before
// the first Apply. The log needs no sync on this path: Raft's journal holds
// every entry until a snapshot, which is valid only once the log is durable up to it.
//
// Package node creates replicas and adapts raftfsm's types to the ones here.
// The byte tables are in docs/formats/raft-commands.md.
package partition
