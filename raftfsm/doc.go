// Package raftfsm runs many Raft groups on one node and is the only package
// that knows hashicorp/raft.
//
// A Host owns the groups of a node. Every group has a StateMachine, keeps its
// entries in the node's shared journal, its term and vote in one shared bbolt
// file, and its newest snapshot in one small file. Group 0, the meta group,
// keeps its entries in a raft-boltdb file of its own instead.
//
// A Transport carries all groups of a node over a handful of connections for
// each pair of nodes, and the node's small internal calls beside them.
//
// Guarantees:
//   - A proposal whose Future succeeds is fsynced by a majority and applied here.
//     A NotLeader or Throttled failure means that nothing was done; Unavailable
//     means that the outcome is unknown.
//   - State machines see commands only, in order, each once for a given history:
//     Restore starts a new history.
//   - Any failure of the journal or of the stable store ends every group of the
//     node, once, with a last word; nothing is retried.
//   - What a peer sends can close its connection and cost bounded memory, but
//     cannot panic the process or block another peer or group.
//
// It assumes that group ids are never reused, that a node id belongs to one
// data directory, and that the journal keeps its contract (see EntryLog).
// Package node builds the Host and the Transport; packages partition and meta
// are driven by it through StateMachine.
package raftfsm
