package node

import (
	"slices"
	"testing"

	"github.com/levada-stream/levada/membership"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

func TestFoundersOf(t *testing.T) {
	node := func(id, cluster string) membership.Node {
		var m membership.Node
		m.NodeID, m.ClusterID = id, cluster
		return m
	}
	for _, c := range []struct {
		name   string
		nodes  []membership.Node
		expect int
		want   []string
	}{
		{"too few", []membership.Node{node("a", ""), node("b", "")}, 3, nil},
		{"just enough", []membership.Node{node("b", ""), node("a", ""), node("c", "")}, 3, []string{"a", "b", "c"}},
		{"more than expected", []membership.Node{node("d", ""), node("b", ""), node("a", ""), node("c", "")}, 3, []string{"a", "b", "c"}},
		{"one has a cluster", []membership.Node{node("a", ""), node("b", "x"), node("c", "")}, 2, nil},
		{"alone", []membership.Node{node("a", "")}, 1, []string{"a"}},
	} {
		if got := foundersOf(c.nodes, c.expect); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMetaVoters(t *testing.T) {
	voter := func(ids ...string) (s []raftfsm.Server) {
		for _, id := range ids {
			s = append(s, raftfsm.Server{ID: id, Voter: true})
		}
		return s
	}
	joined := func(ids ...string) map[string]bool {
		m := map[string]bool{}
		for _, id := range ids {
			m[id] = true
		}
		return m
	}
	for _, c := range []struct {
		name    string
		servers []raftfsm.Server
		joined  map[string]bool
		voters  []string
		absent  string
		step    meta.Step
	}{
		{"all in place", voter("a", "b", "c"), joined("a", "b", "c"), []string{"a", "b", "c"}, "", meta.Step{Kind: meta.StepNone}},
		{"a newcomer votes", voter("a"), joined("a", "b"), []string{"a", "b"}, "b", meta.Step{Kind: meta.StepAddLearner, Node: "b"}},
		{"a replaced node is followed by its successor", voter("a", "b", "c"), joined("a", "b", "d"), []string{"a", "b", "d"}, "d", meta.Step{Kind: meta.StepAddLearner, Node: "d"}},
		{"the sixth follows", voter("a", "b", "c", "d", "e"), joined("a", "b", "c", "d", "e", "f"), []string{"a", "b", "c", "d", "e"}, "f", meta.Step{Kind: meta.StepNone}},
		{"a follower stays one", append(voter("a", "b", "c", "d", "e"), raftfsm.Server{ID: "f"}), joined("a", "b", "c", "d", "e", "f"), []string{"a", "b", "c", "d", "e"}, "", meta.Step{Kind: meta.StepNone}},
		{"a removed follower leaves", append(voter("a", "b", "c", "d", "e"), raftfsm.Server{ID: "f"}), joined("a", "b", "c", "d", "e"), []string{"a", "b", "c", "d", "e"}, "", meta.Step{Kind: meta.StepRemove, Node: "f"}},
	} {
		voters, actual, absent := metaVoters(c.servers, c.joined, joined("a", "b", "c", "d", "e", "f"))
		if !slices.Equal(voters, c.voters) || absent != c.absent {
			t.Errorf("%s: got voters %v, absent %q, want %v, %q", c.name, voters, absent, c.voters, c.absent)
		}
		if step := meta.ReconcileMembership("a", voters, actual); step != c.step {
			t.Errorf("%s: next step %v, want %v", c.name, step, c.step)
		}
	}
}

// A follower that died before it voted must not keep the successor of a wiped
// voter out of the meta group, nor the wiped one in.
func TestDeadFollowerHoldsUpNothing(t *testing.T) {
	set := func(ids ...string) map[string]bool {
		m := map[string]bool{}
		for _, id := range ids {
			m[id] = true
		}
		return m
	}
	servers := []raftfsm.Server{{ID: "a", Voter: true}, {ID: "b", Voter: true}, {ID: "c", Voter: true}, {ID: "d"}}
	joined, alive := set("b", "c", "d", "e"), set("b", "c", "e") // a was wiped and is e now; d is dead
	var steps []meta.Step
	for range 4 {
		voters, actual, absent := metaVoters(servers, joined, alive)
		if absent != "" && !slices.Contains(voters, absent) {
			t.Fatalf("%s is to follow only", absent)
		}
		for i := range actual {
			if !alive[actual[i].Node] {
				actual[i].Lag = meta.LagUnknown
			}
		}
		step := meta.ReconcileMembership("b", voters, actual)
		if step.Kind == meta.StepNone {
			break
		}
		steps = append(steps, step)
		at := slices.IndexFunc(servers, func(s raftfsm.Server) bool { return s.ID == step.Node })
		switch step.Kind {
		case meta.StepAddLearner:
			servers = append(servers, raftfsm.Server{ID: step.Node})
		case meta.StepPromote:
			servers[at].Voter = true
		case meta.StepRemove:
			servers = slices.Delete(servers, at, at+1)
		}
	}
	want := []meta.Step{{Kind: meta.StepAddLearner, Node: "e"}, {Kind: meta.StepRemove, Node: "a"}, {Kind: meta.StepPromote, Node: "e"}}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
}
