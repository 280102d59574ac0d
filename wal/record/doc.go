// Package record holds the one encoding of records: the record batch.
//
// A batch is encoded once, by the client library or a front door, and
// checksummed once (CRC32C). The same bytes then travel to the replicas, into
// the journal and the shard log, and to readers. Where a record lies in its
// shard is not part of a batch; the log's block header says it.
//
// The package is pure: no I/O, no clock, no goroutine. A Batch is immutable
// once it is finished or parsed, so it may be shared freely. Decoders accept
// any bytes and never read outside them.
//
// The byte table is docs/formats/record-batch.md; a golden test holds both together.
package record
