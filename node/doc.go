// Package node composes a Levada node: the one place that knows every other
// package.
//
// A node is a process with a data directory. Run opens the directory, starts
// the journal, the multiplexed Raft transport, the meta group and gossip, joins
// or founds the cluster, then runs the shard replicas that the control state
// places on it and serves the native API and the admin port until its context ends.
//
// Guarantees: the identity on disk belongs to one directory for ever; nothing
// on disk is deleted because the control state does not know it, only because
// it says deleted; a journal failure stops every shard of the node and the
// process, so that a supervisor sees it.
package node
