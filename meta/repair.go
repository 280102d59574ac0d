package meta

import "slices"

// RepairConcurrencyMax is how many shards may be on their way to other nodes at
// once, so that repair does not drown the traffic it is for.
const RepairConcurrencyMax = 100

// Repair returns the commands that replace lost replicas, at most one change
// per shard at a time. now is in unix ms. Call it every few seconds where the
// meta group leads, and propose what it returns.
//
// A replica is lost if its node was removed or replaced, or has been dead for
// longer than the grace period. The new place is a living node, in another zone
// than the replicas that stay if there is one, with the fewest replicas. A node
// at its limit of replicas is taken only if no other can be: a shard that stays short of a replica
// is worse than a node with one too many.
//
// Nothing is proposed for a shard whose last change has not arrived yet (its
// leader's ReplicaStatus says when), unless that change waits for a node that is
// lost itself; nor for one of whose voters no majority is alive, because nobody
// there could carry out the change.
func Repair(s *State, hints Hints, now int64) []SetReplicas {
	if s.cluster.Settings.RepairPaused {
		return nil
	}
	r := &repair{state: s, hints: hints, now: now, loads: s.loads(hints)}
	// Where nothing is lost, which is nearly always, no shard is looked at: there may be 100,000.
	if !r.findLost() {
		return nil
	}
	moving := 0
	for st := range s.Streams() {
		for sh := range st.Shards() {
			if len(added(sh)) > 0 {
				moving++
			}
		}
	}
	var commands []SetReplicas
	for st := range s.Streams() {
		for sh := range st.Shards() {
			if !slices.ContainsFunc(sh.Desired, func(id NodeID) bool { return r.lost[id] }) {
				continue
			}
			// Turning a change round that is under way does not add to those.
			isNew := len(added(sh)) == 0
			if isNew && moving >= RepairConcurrencyMax {
				continue
			}
			replicas := r.shard(sh)
			if replicas == nil {
				continue
			}
			if isNew {
				moving++
			}
			commands = append(commands, SetReplicas{Group: sh.Group, Replicas: replicas, Previous: sh.Desired, Time: now})
		}
	}
	return commands
}

type repair struct {
	state *State
	hints Hints
	now   int64
	loads []*nodeLoad
	lost  map[NodeID]bool // nodes whose replicas are lost
}

// findLost finds the nodes whose replicas are lost, and reports whether there are any such replicas.
func (r *repair) findLost() bool {
	r.lost = map[NodeID]bool{}
	wanted := false
	for i, n := range r.state.nodes {
		if n.State != NodeJoined || r.dead(n.ID) {
			r.lost[n.ID] = true
			wanted = wanted || r.state.tallies[i].desired > 0
		}
	}
	return wanted
}

// dead reports whether a node has been away for longer than the grace period.
func (r *repair) dead(id NodeID) bool {
	h, known := r.hints[id]
	grace := r.state.cluster.Settings.DeadGraceSeconds * 1000
	return known && !h.Alive && h.DeadSince > 0 && r.now-h.DeadSince > grace
}

// added returns the desired replicas that are no voters yet.
func added(sh *Shard) []NodeID {
	var ids []NodeID
	for _, id := range sh.Desired {
		if sh.Members == nil && !slices.Contains(sh.Initial, id) || sh.Members != nil && !sh.Votes(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// shard returns the new desired replicas, nil if they shall stay.
func (r *repair) shard(sh *Shard) []NodeID {
	voters := sh.voters()
	alive := 0
	for _, id := range voters {
		if r.hints[id].Alive {
			alive++
		}
	}
	if alive < len(voters)/2+1 {
		return nil
	}
	suspects := added(sh)
	if len(suspects) == 0 {
		if len(voters) != len(sh.Desired) || slices.ContainsFunc(sh.Members, func(m Member) bool { return !m.Voter }) {
			return nil
		}
		suspects = sh.Desired
	}
	lost := r.mostLost(suspects)
	if lost == "" {
		return nil
	}
	return r.replace(sh, lost)
}

// mostLost returns the replica to replace first, "" if none is lost: a retired
// node before a dead one, for a dead one may come back.
func (r *repair) mostLost(ids []NodeID) NodeID {
	dead := ""
	for _, id := range ids {
		n, ok := r.state.Node(id)
		if !ok || n.State != NodeJoined {
			return id
		}
		if dead == "" && r.dead(id) {
			dead = id
		}
	}
	return dead
}

// replace returns the desired replicas with another node at the place of lost,
// nil if no living node can take it.
func (r *repair) replace(sh *Shard, lost NodeID) []NodeID {
	// A voter that is on its way out is no candidate: it would be a change back and forth.
	taken := append(slices.Clone(sh.Desired), sh.voters()...)
	var stay, candidates []*nodeLoad
	for _, l := range r.loads {
		switch {
		case slices.Contains(sh.Desired, l.node.ID) && l.node.ID != lost:
			stay = append(stay, l)
		case l.alive && !slices.Contains(taken, l.node.ID):
			candidates = append(candidates, l)
		}
	}
	best := pick(candidates, stay)
	if best == nil {
		return nil
	}
	best.replicas++
	replicas := slices.Clone(sh.Desired)
	at := slices.Index(replicas, lost)
	replicas[at] = best.node.ID
	if at == 0 && len(replicas) > 1 {
		// The newcomer has everything to fetch yet: let another one be preferred.
		replicas[0], replicas[1] = replicas[1], replicas[0]
	}
	return replicas
}
