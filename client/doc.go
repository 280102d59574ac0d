// Package client is the Go client of a Levada cluster.
//
// A Client knows some nodes by address and learns the others. It keeps one
// connection per node and the partition map of each stream in use, routes
// every record by its hash key to the node that leads the shard, follows the
// hints of nodes that do not, and tries again elsewhere when a node fails.
//
// What a Producer guarantees, when Idempotent (the default):
//   - records of one partition key are stored in the order of their Put calls,
//     through every retry and failover;
//   - a record whose Result has no error is stored once, on the disks of a
//     majority;
//   - a record whose Result has an error is not stored and never will be,
//     unless MaybeWritten says that its fate is unknown;
//   - results of one shard come in the order of the Put calls;
//   - memory is bounded: Put blocks while too much is unacknowledged.
//
// What a reader guarantees: the records of a shard come in order, without gap
// and without repetition, across reconnects and changes of replica; records
// that were trimmed before they could be read are reported as a *Gap.
//
// A Client, its Producers and its admin calls are safe for concurrent use; a
// reader belongs to one goroutine. Every goroutine started here ends before
// the Close of what started it returns.
package client
