// Package autoscale decides how many shards a stream should have, from their
// load and its policy.
//
// It guarantees that the same input gives the same decisions: there is no clock, no memory
// and no I/O, so any node can go on after another. A decision never takes a stream outside of the policy's
// bounds, and says in words why it was made, or what held it back.
//
// Flapping is kept away by distance: a split leaves shards at about
// splitFill of their target, and a merge needs two that together are below MergePercent of one.
package autoscale
