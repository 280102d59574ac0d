// Package meta is the control state machine of a cluster: streams, the
// partition map, node identities, replica placement, shard leaders and the
// history of failovers.
//
// It is a pure core. Commands are applied in the order of the meta group's
// log; the same commands give the same state, byte for byte, on every node.
// There is no clock (times come inside commands), no disk, no socket, no
// goroutine, and no map is walked in random order where it could show.
//
// What it guarantees:
//   - A State is immutable. Readers take one with Store.State and use it as
//     long as they like, without locks; a new version shares all that did not
//     change with the one before it.
//   - The open shards of a stream tile the key space exactly at every version.
//   - Stream ids and group ids are never used twice, not even after deletion.
//   - A command either applies whole or answers a *fault.Error and changes
//     nothing but the version.
//   - A snapshot holds everything: Restore followed by Snapshot gives the same bytes.
//
// What it assumes: Store.Apply is called with ascending log indexes; a proposer
// checks a command that came from elsewhere with Decode before it proposes it,
// because a command that cannot be decoded stops every replica (it cannot be
// skipped without the copies drifting apart).
//
// Decisions are functions of a State and of hints about who is alive: Place
// chooses replicas for a new stream, Repair replaces those that are lost, Plan
// says what a node has to run, ReconcileMembership gives the next single step
// from a group's actual membership to the desired one.
package meta
