package meta

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/levada-stream/levada/internal/fault"
)

func TestReportLeaders(t *testing.T) {
	b := cluster(t, 3)
	b.create("s", 2, 3)
	report := func(time int64, rows ...LeaderReport) ReportResult {
		return b.must(ReportLeaders{Leaders: rows, Time: time}).(ReportResult)
	}
	check := func(name string, got, want ReportResult) {
		t.Helper()
		want.Version = b.index
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	check("first", report(1, LeaderReport{1, nodeID(0), 2, ""}), ReportResult{Changed: 1})
	if st, _ := b.state().StreamByName("s"); st.State != StreamCreating || st.Leaderless() != 1 {
		t.Errorf("state %s with %d shards without a leader", st.State, st.Leaderless())
	}
	check("second shard", report(2, LeaderReport{2, nodeID(1), 2, ""}), ReportResult{Changed: 1})
	if st, _ := b.state().StreamByName("s"); st.State != StreamActive {
		t.Errorf("state %s with all leaders known", st.State)
	}
	check("again", report(3, LeaderReport{1, nodeID(0), 2, ""}), ReportResult{})
	check("older term", report(4, LeaderReport{1, nodeID(1), 1, ""}), ReportResult{Ignored: 1})
	check("two leaders of a term", report(4, LeaderReport{1, nodeID(1), 2, ""}), ReportResult{Ignored: 1})
	check("unknown group, node, term 0", report(4, LeaderReport{9, nodeID(1), 9, ""}, LeaderReport{1, "x", 9, ""}, LeaderReport{2, nodeID(1), 0, ""}), ReportResult{Ignored: 3})
	check("re-elected", report(5, LeaderReport{1, nodeID(0), 3, ""}), ReportResult{Changed: 1})
	sh, _ := b.state().Shard(1, 0)
	if sh.Leader != nodeID(0) || sh.Term != 3 || sh.LeaderSince != 1 {
		t.Errorf("re-elected: %+v", sh)
	}
	check("failover", report(6, LeaderReport{1, nodeID(2), 5, "node died"}), ReportResult{Changed: 1, Failovers: 1})
	var history []Failover
	for f := range b.state().Failovers() {
		history = append(history, *f)
	}
	want := []Failover{{Number: 1, Time: 6, StreamID: 1, Shard: 0, Group: 1, From: nodeID(0), To: nodeID(2), Term: 5, Reason: "node died"}}
	if diff := cmp.Diff(want, history); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	// The first report would be taken; with the second one nothing is.
	refuses(t, b, []refusal{{name: "long reason", c: ReportLeaders{Leaders: []LeaderReport{{2, nodeID(0), 9, ""}, {1, nodeID(0), 9, strings.Repeat("r", 257)}}}, kind: fault.Invalid, field: "reason", limit: TextBytesMax}})
}

func TestFailoverHistoryIsARing(t *testing.T) {
	b := cluster(t, 3)
	b.create("s", 1, 3)
	rows := make([]LeaderReport, FailoverHistoryMax+6)
	for i := range rows {
		rows[i] = LeaderReport{Group: 1, Node: nodeID(i % 3), Term: uint64(i + 1)}
	}
	b.must(ReportLeaders{Leaders: rows, Time: 1})
	var numbers []uint64
	for f := range b.state().Failovers() {
		numbers = append(numbers, f.Number)
	}
	if len(numbers) != FailoverHistoryMax || numbers[0] != 6 || numbers[len(numbers)-1] != FailoverHistoryMax+5 {
		t.Errorf("%d entries, from %d to %d", len(numbers), numbers[0], numbers[len(numbers)-1])
	}
	for _, n := range []int{0, 3, FailoverHistoryMax + 9} {
		var recent []uint64
		for f := range b.state().RecentFailovers(n) {
			recent = append(recent, f.Number)
		}
		slices.Reverse(recent)
		if diff := cmp.Diff(numbers[max(0, len(numbers)-n):], recent, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%d recent ones (-want +got):\n%s", n, diff)
		}
	}
}

func TestReplicaStatus(t *testing.T) {
	b := cluster(t, 3)
	st := b.create("s", 1, 3)
	for1 := st.Shard(0).DesiredVersion
	members := []Member{{nodeID(2), true, 3}, {nodeID(0), true, 0}, {nodeID(1), false, LagUnknown}}
	status := func(node NodeID, term uint64, m []Member) ReportResult {
		return b.must(ReplicaStatus{Statuses: []GroupStatus{{1, node, term, m, for1, "handed over"}}, Time: 7}).(ReportResult)
	}
	if r := status(nodeID(0), 2, members); r.Changed != 1 || r.Ignored != 0 {
		t.Errorf("first: %+v", r)
	}
	sh, _ := b.state().Shard(1, 0)
	sorted := []Member{{nodeID(0), true, 0}, {nodeID(1), false, LagUnknown}, {nodeID(2), true, 3}}
	if diff := cmp.Diff(sorted, sh.Members); diff != "" || sh.Leader != nodeID(0) || sh.MembersTerm != 2 || sh.MembersFor != for1 {
		t.Errorf("shard %+v (-want +got):\n%s", sh, diff)
	}
	if r := status(nodeID(0), 2, members); r.Changed != 0 || r.Ignored != 0 {
		t.Errorf("again: %+v", r)
	}
	for name, r := range map[string]ReportResult{
		"older term":     status(nodeID(1), 1, members),
		"other leader":   status(nodeID(1), 2, members),
		"nobody":         status(nodeID(0), 3, nil),
		"one twice":      status(nodeID(0), 3, append(slices.Clone(members), members[0])),
		"unknown member": status(nodeID(0), 3, []Member{{"x", true, 0}}),
	} {
		if r.Ignored != 1 || r.Changed != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := status(nodeID(2), 4, sorted); r.Changed != 1 || r.Failovers != 1 {
		t.Errorf("new leader: %+v", r)
	}
	if f := slices.Collect(b.state().Failovers()); len(f) != 1 || f[0].Reason != "handed over" || f[0].From != nodeID(0) || f[0].To != nodeID(2) {
		t.Errorf("history: %+v", f)
	}
	refuses(t, b, []refusal{{
		name: "long reason", c: ReplicaStatus{Statuses: []GroupStatus{{1, nodeID(0), 9, members, for1, strings.Repeat("r", 257)}}},
		kind: fault.Invalid, field: "reason", limit: TextBytesMax,
	}})
}

func TestSetReplicas(t *testing.T) {
	b := cluster(t, 5)
	st := b.create("s", 1, 3)
	was := st.Shard(0).Desired
	b.must(RemoveNode{ID: was[0]})
	next := []NodeID{was[0], was[1], nodeID(4)} // a retired one may stay
	if slices.Contains(was, nodeID(4)) {
		next[2] = nodeID(3)
	}
	_, events := b.apply(SetReplicas{Group: 1, Replicas: next, Previous: was})
	sh, _ := b.state().Shard(1, 0)
	if !slices.Equal(sh.Desired, next) || !slices.Equal(sh.Initial, was) || sh.DesiredVersion != b.index || !slices.Equal(events.Groups, []uint64{1}) {
		t.Errorf("events %+v, shard %+v", events, sh)
	}
	if r := b.must(SetReplicas{Group: 1, Replicas: next}).(ReplicasResult); r.Changed {
		t.Error("the same again changed something")
	}
	b.must(SetReplicas{Group: 1, Replicas: next[1:]})
	refuses(t, b, []refusal{
		{name: "overtaken", c: SetReplicas{Group: 1, Replicas: next[2:], Previous: was}, kind: fault.Conflict},
		{name: "unknown group", c: SetReplicas{Group: 9, Replicas: was}, kind: fault.NotFound},
		{name: "none", c: SetReplicas{Group: 1}, kind: fault.Invalid, field: "replicas", limit: DesiredReplicasMax},
		{name: "twice", c: SetReplicas{Group: 1, Replicas: []NodeID{was[1], was[1]}}, kind: fault.Invalid, field: "replicas"},
		{name: "unknown node", c: SetReplicas{Group: 1, Replicas: []NodeID{"x"}}, kind: fault.NotFound},
		{name: "retired comes in", c: SetReplicas{Group: 1, Replicas: []NodeID{was[0]}}, kind: fault.Conflict},
	})
}
