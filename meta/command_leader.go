package meta

import "slices"

// LeaderReport says that Node leads Group in Term.
type LeaderReport struct {
	Group  uint64 `json:"group"`
	Node   NodeID `json:"node"`
	Term   uint64 `json:"term"`             // > 0
	Reason string `json:"reason,omitempty"` // why the leader changed, for the history
}

// ReportLeaders records who leads which shards. Reports of an older term, of a
// group that is gone and of a node nobody registered are passed over: they are
// late, not wrong. A change from one node to another is a failover and goes
// into the history; a shard's first leader is not.
type ReportLeaders struct {
	Leaders []LeaderReport `json:"leaders"`
	Time    int64          `json:"time"`
}

// ReportResult answers ReportLeaders and ReplicaStatus.
type ReportResult struct {
	Version   uint64 `json:"version"`
	Changed   int    `json:"changed"`   // reports that changed something
	Ignored   int    `json:"ignored"`   // reports passed over
	Failovers int    `json:"failovers"` // changes of leader among them
}

// Type returns "report_leaders".
func (ReportLeaders) Type() string { return "report_leaders" }

func (c ReportLeaders) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	if len(c.Leaders) > BatchMax {
		return nil, limitError("leaders", BatchMax, "a report may hold %d leaders, not %d", BatchMax, len(c.Leaders))
	}
	result := ReportResult{Version: t.next.version}
	for _, r := range c.Leaders {
		if err := checkText("reason", r.Reason); err != nil {
			return nil, err
		}
		old, ok := t.next.ShardByGroup(r.Group)
		if !ok {
			result.Ignored++
			continue
		}
		sh := *old
		changed, failover, ok := t.lead(&sh, r, c.Time)
		if changed {
			t.putShard(&sh)
			result.Changed++
		}
		if failover {
			result.Failovers++
		}
		if !ok {
			result.Ignored++
		}
	}
	return result, nil
}

// lead writes a leader into sh, a copy that is not stored yet. It is not ok if the report is to
// be passed over. Raft elects one leader a term: a second one in the same term is a false report.
func (t *txn) lead(sh *Shard, r LeaderReport, time int64) (changed, failover, ok bool) {
	node, known := t.next.Node(r.Node)
	if !known || r.Term == 0 || r.Term < sh.Term || (r.Term == sh.Term && node.ID != sh.Leader) {
		return false, false, false
	}
	if r.Term == sh.Term {
		return false, false, true
	}
	failover = sh.Leader != "" && sh.Leader != node.ID
	if failover {
		t.addFailover(Failover{
			Time: time, StreamID: sh.StreamID, Shard: sh.Number, Group: sh.Group,
			From: sh.Leader, To: node.ID, Term: r.Term, Reason: r.Reason,
		})
	}
	if sh.Leader != node.ID {
		sh.Leader, sh.LeaderSince = node.ID, time
	}
	sh.Term = r.Term
	return true, failover, true
}

// GroupStatus is what a shard's leader found its Raft membership to be.
type GroupStatus struct {
	Group   uint64   `json:"group"`
	Node    NodeID   `json:"node"` // the leader that reports
	Term    uint64   `json:"term"`
	Members []Member `json:"members"` // the committed configuration, in any order
	// DesiredVersion is that of the Shard the leader was working towards when it
	// read the membership. Only a report about the present one proves to a node
	// that left that nobody still counts on its data.
	DesiredVersion uint64 `json:"desired_version"`
	Reason         string `json:"reason,omitempty"` // how Node came to lead, for the history
}

// ReplicaStatus records actual memberships. A leader sends one when it was
// elected and whenever its membership or a learner's progress changed much. It
// counts as a report of the leader too. Late and impossible reports are passed over.
//
// Report committed memberships only, read after a barrier in the leader's own
// term or after a step of ReconcileMembership succeeded: a node deletes its data
// when it is not among them.
type ReplicaStatus struct {
	Statuses []GroupStatus `json:"statuses"`
	Time     int64         `json:"time"`
}

// Type returns "replica_status".
func (ReplicaStatus) Type() string { return "replica_status" }

func (c ReplicaStatus) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	if len(c.Statuses) > BatchMax {
		return nil, limitError("statuses", BatchMax, "a report may hold %d groups, not %d", BatchMax, len(c.Statuses))
	}
	result := ReportResult{Version: t.next.version}
	for _, r := range c.Statuses {
		if err := checkText("reason", r.Reason); err != nil {
			return nil, err
		}
		old, ok := t.next.ShardByGroup(r.Group)
		members := t.next.members(r.Members)
		if !ok || members == nil {
			result.Ignored++
			continue
		}
		sh := *old
		changed, failover, ok := t.lead(&sh, LeaderReport{Group: r.Group, Node: r.Node, Term: r.Term, Reason: r.Reason}, c.Time)
		if !ok {
			result.Ignored++
			continue
		}
		if sh.MembersTerm != r.Term || sh.MembersFor != r.DesiredVersion || !slices.Equal(sh.Members, members) {
			sh.Members, sh.MembersTerm, sh.MembersSince, sh.MembersFor = members, r.Term, c.Time, r.DesiredVersion
			changed = true
		}
		if changed {
			t.putShard(&sh)
			result.Changed++
		}
		if failover {
			result.Failovers++
		}
	}
	return result, nil
}

// members returns the members in ascending order, nil if they make no membership:
// none, too many, one twice, or one that is not registered.
func (s *State) members(reported []Member) []Member {
	if len(reported) == 0 || len(reported) > 2*DesiredReplicasMax {
		return nil
	}
	members := slices.Clone(reported)
	slices.SortFunc(members, compareMember)
	for i := range members {
		n, ok := s.Node(members[i].Node)
		if !ok || (i > 0 && members[i-1].Node == n.ID) {
			return nil
		}
		members[i].Node = n.ID
	}
	return members
}

func compareMember(a, b Member) int {
	switch {
	case a.Node < b.Node:
		return -1
	case a.Node > b.Node:
		return 1
	}
	return 0
}
