// Package wal is the shard log: the records of one shard replica on disk, in
// segments that can be read, shipped and deleted one shard at a time.
//
// Durability does not come from here. Append keeps the block in memory, by
// reference, and returns; the Writer shared by all logs of a node writes it
// later in large pieces; only Flush waits for the disk. After a crash the log
// comes back up to some whole block at or after its last durable position, and
// its owner appends the rest again from the node's journal.
//
// What it guarantees:
//   - Blocks are in order and without gap. Every block carries a cumulative
//     hash, so two replicas with the same Position hold the same records.
//   - What Flush reported durable is readable after any crash. A torn tail is
//     cut at a block's end. A bad block below a place that a later write in the
//     segment declared synced is corruption: a *CorruptError, never a cut.
//   - Durable bytes are not rewritten: every write begins and ends on a 4 KiB boundary.
//   - Every read checks checksums.
//   - Readers wait for no disk write, and the writer waits for no reader. A
//     reader whose segment is deleted under it gets the block or ErrTrimmed.
//   - A failed write or sync fails the log for ever (ErrFailed); it is never retried.
//   - Memory is bounded per node: unwritten bytes by WriterOptions.DirtyBytesMax
//     (Append waits), recently written blocks by CacheBytes, descriptors by
//     OpenFilesMax. An idle log holds no goroutine, a log that never had a record no file.
//
// What it assumes: one caller appends at a time, payloads are not changed once
// appended, and no other process opens the directory (the node's lock sees to it).
//
// Locks, in the order in which they may be taken: Log.ioMu, Log.mu, then one of
// Writer.mu, recentCache.mu, fileSet.mu. None but ioMu is held during I/O.
//
// The byte tables are in docs/formats/shard-log.md; a golden test holds both together.
package wal
