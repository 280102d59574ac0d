package meta

import (
	"cmp"
	"slices"

	"github.com/levada-stream/levada/internal/fault"
)

// A Hint is what gossip says about a node. Hints never change the state; they
// only guide proposals, and a wrong one costs work, not data.
type Hint struct {
	Alive     bool
	DeadSince int64 // unix ms since which the node is not alive; 0 if unknown
	Full      bool  // takes no new replicas, for lack of disk or on request
}

// Hints holds what is known by node id. A node that is missing is neither known
// to be alive nor to be dead.
type Hints map[NodeID]Hint

// nodeLoad is a candidate for new replicas.
type nodeLoad struct {
	node     *Node
	alive    bool
	held     int // replicas that it has or shall have, see HeldReplicas
	replicas int // those of them that are desired there
	first    int // shards whose preferred leader it is
}

// room reports whether the node may take another replica.
func (l *nodeLoad) room() bool { return l.node.ReplicasMax == 0 || l.held < l.node.ReplicasMax }

// loads returns the nodes that may take replicas, in ascending order of ids.
func (s *State) loads(hints Hints) []*nodeLoad {
	var all []*nodeLoad
	for i, n := range s.nodes {
		if n.State == NodeJoined && n.stores() && !hints[n.ID].Full {
			t := s.tallies[i]
			all = append(all, &nodeLoad{node: n, alive: hints[n.ID].Alive, held: t.held, replicas: t.desired, first: t.first})
		}
	}
	return all
}

// roleStorage is the role of nodes that hold replicas.
const roleStorage = "storage"

// stores reports whether the node may hold replicas; one that names no role may.
func (n *Node) stores() bool { return len(n.Roles) == 0 || slices.Contains(n.Roles, roleStorage) }

// Place chooses the replicas of a new stream: for each shard, nodes in as many
// zones as possible, then those with the fewest replicas, living ones before
// others. The first of each shard is its preferred leader; these are spread
// evenly too. The same state and hints give the same placement.
//
// It fails with Invalid if there are fewer nodes than replicas, with Unavailable
// if fewer than a majority of a shard's replicas would be alive, and with
// LimitReached if the nodes may not hold that many more replicas.
func Place(s *State, hints Hints, settings Settings) ([][]NodeID, error) {
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	loads := s.loads(hints)
	if len(loads) < settings.Replicas {
		return nil, limitError("replicas", uint64(len(loads)), "the stream wants %d replicas and %d nodes can take one", settings.Replicas, len(loads))
	}
	alive := 0
	for _, l := range loads {
		if l.alive {
			alive++
		}
	}
	if majority := settings.Replicas/2 + 1; alive < majority {
		return nil, fault.New(fault.Unavailable, "%d nodes are alive, a majority of the %d replicas wants %d; start the others and try again", alive, settings.Replicas, majority)
	}
	placement := make([][]NodeID, settings.Shards)
	for i := range placement {
		if placement[i] = placeShard(loads, settings.Replicas); placement[i] == nil {
			return nil, noRoom(s, loads, settings, i)
		}
	}
	return placement, nil
}

// placeShard returns nil if too few nodes with room are left, or if fewer than a
// majority of those chosen would be alive.
func placeShard(loads []*nodeLoad, replicas int) []NodeID {
	chosen := make([]*nodeLoad, 0, replicas)
	alive := 0
	for range replicas {
		l := pick(loads, chosen)
		if !l.room() {
			return nil
		}
		if l.alive {
			alive++
		}
		chosen = append(chosen, l)
	}
	if alive < replicas/2+1 {
		return nil
	}
	// A dead node cannot lead; among the others the one that leads least.
	slices.SortStableFunc(chosen, func(a, b *nodeLoad) int {
		return cmp.Or(compareAlive(a, b), cmp.Compare(a.first, b.first), cmp.Compare(a.node.ID, b.node.ID))
	})
	chosen[0].first++
	ids := make([]NodeID, len(chosen))
	for i, l := range chosen {
		l.held++
		l.replicas++
		ids[i] = l.node.ID
	}
	return ids
}

// pick returns the best node that is not chosen yet, nil if there is none. One without
// room comes after all others, and it is for the caller to take it nevertheless.
func pick(loads, chosen []*nodeLoad) *nodeLoad {
	zones := func(l *nodeLoad) int {
		same := 0
		for _, c := range chosen {
			if c.node.Zone == l.node.Zone {
				same++
			}
		}
		return same
	}
	var best *nodeLoad
	bestZones := 0
	for _, l := range loads {
		if slices.Contains(chosen, l) {
			continue
		}
		same := zones(l)
		if best == nil || cmp.Or(compareRoom(l, best), compareAlive(l, best), cmp.Compare(same, bestZones),
			cmp.Compare(l.replicas, best.replicas), cmp.Compare(l.node.ID, best.node.ID)) < 0 {
			best, bestZones = l, same
		}
	}
	return best
}

// compareRoom puts nodes with room first.
func compareRoom(a, b *nodeLoad) int { return firstIf(a.room(), b.room()) }

// compareAlive puts living nodes first.
func compareAlive(a, b *nodeLoad) int { return firstIf(a.alive, b.alive) }

// firstIf orders what is so before what is not.
func firstIf(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
