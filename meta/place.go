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
	replicas int // desired replicas in the whole cluster
	first    int // shards whose preferred leader it is
}

// loads returns the nodes that may take replicas, in ascending order of ids.
func (s *State) loads(hints Hints) []*nodeLoad {
	var all []*nodeLoad
	byID := make(map[NodeID]*nodeLoad)
	for _, n := range s.nodes {
		if n.State == NodeJoined && n.stores() && !hints[n.ID].Full {
			l := &nodeLoad{node: n, alive: hints[n.ID].Alive}
			byID[n.ID] = l
			all = append(all, l)
		}
	}
	for st := range s.Streams() {
		for sh := range st.Shards() {
			for i, id := range sh.Desired {
				if l := byID[id]; l != nil {
					l.replicas++
					if i == 0 {
						l.first++
					}
				}
			}
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
// It fails with Invalid if there are fewer nodes than replicas, and with
// Unavailable if fewer than a majority of a shard's replicas would be alive.
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
		placement[i] = placeShard(loads, settings.Replicas)
	}
	return placement, nil
}

func placeShard(loads []*nodeLoad, replicas int) []NodeID {
	chosen := make([]*nodeLoad, 0, replicas)
	for range replicas {
		l := pick(loads, chosen)
		l.replicas++
		chosen = append(chosen, l)
	}
	// A dead node cannot lead; among the others the one that leads least.
	slices.SortStableFunc(chosen, func(a, b *nodeLoad) int {
		return cmp.Or(compareAlive(a, b), cmp.Compare(a.first, b.first), cmp.Compare(a.node.ID, b.node.ID))
	})
	chosen[0].first++
	ids := make([]NodeID, len(chosen))
	for i, l := range chosen {
		ids[i] = l.node.ID
	}
	return ids
}

// pick returns the best node that is not chosen yet, nil if there is none.
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
		if best == nil || cmp.Or(compareAlive(l, best), cmp.Compare(same, bestZones),
			cmp.Compare(l.replicas, best.replicas), cmp.Compare(l.node.ID, best.node.ID)) < 0 {
			best, bestZones = l, same
		}
	}
	return best
}

// compareAlive puts living nodes first.
func compareAlive(a, b *nodeLoad) int {
	switch {
	case a.alive == b.alive:
		return 0
	case a.alive:
		return -1
	}
	return 1
}
