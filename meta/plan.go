package meta

import "slices"

// Action is what a node does with a group.
type Action string

// The actions of a plan.
const (
	// ActionRun starts the replica that is on the node's disk.
	ActionRun Action = "run"
	// ActionBootstrap starts the replica; if it has no Raft state yet, it
	// bootstraps with Servers as voters.
	ActionBootstrap Action = "bootstrap"
	// ActionWait starts an empty replica that bootstraps nothing and waits for
	// the shard's leader to contact it.
	ActionWait Action = "wait"
	// ActionDelete stops the replica and deletes its data.
	ActionDelete Action = "delete"
	// ActionQuarantine leaves the data alone, unserved: this state has never
	// heard of the group, which is no proof that it was deleted.
	ActionQuarantine Action = "quarantine"
)

// GroupPlan is what a node shall do about one group.
type GroupPlan struct {
	Group   uint64
	Action  Action
	Servers []NodeID // ActionBootstrap: the first voters, the same on each of them
	Stream  *Stream  // nil for ActionQuarantine, and if the stream was deleted so long ago that it is forgotten
	Shard   *Shard   // nil if the stream is deleting or the shard is gone, and for ActionQuarantine
}

// Plan says what a node has to do, in ascending order of groups. local holds the
// groups whose data are on its disk, in any order; a group that is neither
// the node's to run nor local is not listed.
//
// A group may be bootstrapped only by its initial replicas and only as long as
// nobody ever reported a leader: later an empty disk means lost data, which a
// leader has to restore. Every initial replica bootstraps with the same servers,
// whatever was desired since.
//
// A replica that moved away is deleted once a leader that works towards the
// present desired replicas reported a membership without it. Before that it
// keeps running: the report at hand may be older than its promotion to a voter.
func Plan(s *State, node NodeID, local []uint64) []GroupPlan {
	here := make(map[uint64]bool, len(local))
	for _, group := range local {
		here[group] = true
	}
	var plans []GroupPlan
	for st := range s.Streams() {
		for sh := range st.Shards() {
			p := GroupPlan{Group: sh.Group, Stream: st, Shard: sh}
			switch {
			case !sh.holds(node) && !here[sh.Group]:
				continue
			case !sh.holds(node) && sh.settled():
				p.Action = ActionDelete
			case sh.Term == 0 && slices.Contains(sh.Initial, node):
				p.Action, p.Servers = ActionBootstrap, sh.Initial
			case here[sh.Group]:
				p.Action = ActionRun
			default:
				p.Action = ActionWait
			}
			plans = append(plans, p)
		}
	}
	for group := range here {
		if _, ok := s.ShardByGroup(group); ok || group == MetaGroup {
			continue
		}
		p := GroupPlan{Group: group, Action: ActionQuarantine}
		if s.GroupDeleted(group) {
			p.Action = ActionDelete
			if span := s.span(group); span != nil {
				p.Stream, _ = s.StreamByID(span.stream)
			}
		}
		plans = append(plans, p)
	}
	slices.SortFunc(plans, func(a, b GroupPlan) int {
		switch {
		case a.Group < b.Group:
			return -1
		case a.Group > b.Group:
			return 1
		}
		return 0
	})
	return plans
}

// holds reports whether the node has, or shall have, a replica.
func (s *Shard) holds(node NodeID) bool {
	if slices.Contains(s.Desired, node) {
		return true
	}
	if s.Members == nil {
		return slices.Contains(s.Initial, node)
	}
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.Node == node })
}

// settled reports whether Members are known to be about the present Desired.
func (s *Shard) settled() bool { return s.Members != nil && s.MembersFor == s.DesiredVersion }
