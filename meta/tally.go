package meta

import "slices"

// A nodeTally counts what is placed on one node, so that neither a placement nor
// a limit has to walk all shards of the cluster.
type nodeTally struct {
	held    int // replicas that exist or are planned, see Shard.holders
	desired int // replicas desired
	first   int // shards whose preferred leader it is
}

// HeldReplicas returns how many shard replicas a node has or shall have: those
// desired there and those that leave it but are still members of their group. It is what
// a node's ReplicasMax bounds. Replicas of deleted streams do not count: the state
// knows no longer where they are, and a node that runs deletes them within seconds.
func (s *State) HeldReplicas(node NodeID) int {
	i, ok := slices.BinarySearchFunc(s.nodes, node, compareNode)
	if !ok {
		return 0
	}
	return s.tallies[i].held
}

// holders calls f once for each node that has, or shall have, a replica of the
// shard; holds says the same of one node.
func (s *Shard) holders(f func(NodeID)) {
	for _, id := range s.Desired {
		f(id)
	}
	if s.Members == nil {
		for _, id := range s.Initial {
			if !slices.Contains(s.Desired, id) {
				f(id)
			}
		}
		return
	}
	for _, m := range s.Members {
		if !slices.Contains(s.Desired, m.Node) {
			f(m.Node)
		}
	}
}

// sameHolders reports whether two versions of a shard count alike, without allocating: most
// changes of a shard are about its leader only.
func sameHolders(a, b *Shard) bool {
	return slices.Equal(a.Desired, b.Desired) && (a.Members == nil) == (b.Members == nil) &&
		slices.EqualFunc(a.Members, b.Members, func(m, n Member) bool { return m.Node == n.Node })
}

// count adds a shard to the tallies, or takes it out with by = -1. The tallies
// must belong to s alone.
func (s *State) count(sh *Shard, by int) {
	at := func(id NodeID) *nodeTally {
		i, ok := slices.BinarySearchFunc(s.nodes, id, compareNode)
		if !ok {
			return new(nodeTally) // no such node: a snapshot that says so is refused by its indexes
		}
		return &s.tallies[i]
	}
	sh.holders(func(id NodeID) { at(id).held += by })
	for i, id := range sh.Desired {
		n := at(id)
		n.desired += by
		if i == 0 {
			n.first += by
		}
	}
}

// recount returns the tallies of all live shards.
func (s *State) recount() []nodeTally {
	fresh := &State{nodes: s.nodes, tallies: make([]nodeTally, len(s.nodes))}
	for st := range s.Streams() {
		for sh := range st.Shards() {
			fresh.count(sh, 1)
		}
	}
	return fresh.tallies
}

// count keeps the tallies of the next state in step, in a copy of its own.
func (t *txn) count(sh *Shard, by int) {
	if !t.tallied {
		t.next.tallies, t.tallied = slices.Clone(t.next.tallies), true
	}
	t.next.count(sh, by)
}
