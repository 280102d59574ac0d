// Package membership tells the nodes of a cluster about each other by gossip:
// who is alive, at which addresses, in which zone, with which roles.
//
// What it says is a hint. It elects nobody and moves nothing; whoever acts on it
// asks the control state (package meta) first. It may be wrong for seconds, and
// two nodes may see different things.
//
// What it guarantees:
//   - Nodes with another cluster name, another secret key or another cluster id
//     never appear.
//   - Events are coalesced per node: a slow reader sees the latest state of each
//     node, and memory stays bounded.
//   - Joining is tried until a seed answers, and again for nodes that were lost,
//     so that the two sides of a healed partition find each other.
//
// It wraps hashicorp/memberlist. A node's name there is its node id.
package membership
