package meta

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
)

func count(placement [][]NodeID, of func([]NodeID) []NodeID) map[NodeID]int {
	n := map[NodeID]int{}
	for _, replicas := range placement {
		for _, id := range of(replicas) {
			n[id]++
		}
	}
	return n
}

func spread(n map[NodeID]int, nodes int) int {
	least, most := 1<<30, 0
	for i := range nodes {
		least, most = min(least, n[nodeID(i)]), max(most, n[nodeID(i)])
	}
	return most - least
}

func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 12).Draw(t, "nodes")
		zones := rapid.IntRange(1, 4).Draw(t, "zones")
		replicas := rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "replicas")
		s := newState()
		hints := Hints{}
		alive, inZone := 0, map[string]int{}
		for i := range nodes {
			c := register(i)
			n := &Node{ID: c.ID, Name: c.Name, Zone: fmt.Sprintf("z%d", i%zones), State: NodeJoined}
			s.nodes, s.tallies = append(s.nodes, n), append(s.tallies, nodeTally{})
			hints[n.ID] = Hint{Alive: rapid.IntRange(0, 9).Draw(t, "alive") > 0}
			if hints[n.ID].Alive {
				alive++
			}
			inZone[n.Zone]++
		}
		set := settings(rapid.IntRange(1, 200).Draw(t, "shards"), replicas)
		placement, err := Place(s, hints, set)
		switch {
		case nodes < replicas:
			if f := fault.As(err); f == nil || f.Kind != fault.Invalid || f.Limit != uint64(nodes) {
				t.Fatalf("too few nodes: %v", err)
			}
			return
		case alive < replicas/2+1:
			if fault.KindOf(err) != fault.Unavailable {
				t.Fatalf("no majority alive: %v", err)
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		again, _ := Place(s, hints, set)
		if diff := cmp.Diff(placement, again); diff != "" || len(placement) != set.Shards {
			t.Fatalf("%d shards; placed differently the second time:\n%s", len(placement), diff)
		}
		for _, ids := range placement {
			used, living := map[string]bool{}, 0
			for i, id := range ids {
				n, _ := s.Node(id)
				used[n.Zone] = true
				if hints[id].Alive {
					living++
				}
				if slices.Contains(ids[:i], id) {
					t.Fatalf("one node twice: %v", ids)
				}
			}
			if living < min(alive, replicas) || !hints[ids[0]].Alive {
				t.Fatalf("%v uses dead nodes or prefers one", ids)
			}
			if alive == nodes && len(used) < min(len(inZone), replicas) {
				t.Fatalf("%v is in %d zones of %d", ids, len(used), len(inZone))
			}
		}
		if alive == nodes && zones == 1 {
			if d := spread(count(placement, func(r []NodeID) []NodeID { return r }), nodes); d > 1 {
				t.Fatalf("replicas differ by %d between nodes", d)
			}
		}
		if alive == nodes && nodes == replicas {
			if d := spread(count(placement, func(r []NodeID) []NodeID { return r[:1] }), nodes); d > 1 {
				t.Fatalf("preferred leaders differ by %d between nodes", d)
			}
		}
	})
}

func TestPlaceKeepsAwayFromFullAndRetiredNodes(t *testing.T) {
	b := cluster(t, 5)
	b.must(RemoveNode{ID: nodeID(4)})
	hints := allAlive(b.state())
	hints[nodeID(3)] = Hint{Alive: true, Full: true}
	placement, err := Place(b.state(), hints, settings(20, 3))
	if err != nil {
		t.Fatal(err)
	}
	got := count(placement, func(r []NodeID) []NodeID { return r })
	if diff := cmp.Diff(map[NodeID]int{nodeID(0): 20, nodeID(1): 20, nodeID(2): 20}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Place(b.state(), hints, Settings{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("bad settings: %v", err)
	}
}

// status reports that a shard's membership is what is desired.
func (b *bench) settle(group uint64) {
	b.t.Helper()
	sh, _ := b.state().ShardByGroup(group)
	var members []Member
	for _, id := range sh.Desired {
		members = append(members, Member{id, true, 0})
	}
	b.report(group, members)
}

func (b *bench) report(group uint64, members []Member) {
	b.t.Helper()
	sh, _ := b.state().ShardByGroup(group)
	r := b.must(ReplicaStatus{Statuses: []GroupStatus{{group, members[0].Node, sh.Term + 1, members, sh.DesiredVersion, ""}}}).(ReportResult)
	if r.Ignored != 0 {
		b.t.Fatalf("status ignored: %+v", r)
	}
}

const minute = 60_000

func TestRepair(t *testing.T) {
	b := cluster(t, 5) // zones z0 z1 z2 z0 z1
	// The first stream fills the nodes evenly except for 3 and 4.
	place := [][]NodeID{{nodeID(0), nodeID(1), nodeID(2)}}
	b.must(CreateStream{Name: "s", Settings: settings(1, 3), Placement: place})
	hints := allAlive(b.state())
	now := int64(100 * minute)
	repair := func() []SetReplicas { return Repair(b.state(), hints, now) }
	none := func(why string) {
		t.Helper()
		if got := repair(); len(got) != 0 {
			t.Errorf("%s: %+v", why, got)
		}
	}
	none("all is well")
	hints[nodeID(2)] = Hint{DeadSince: now - 10*minute}
	none("dead, within the grace period")
	delete(hints, nodeID(2))
	none("nothing is known")
	hints[nodeID(2)] = Hint{}
	none("dead since nobody knows when")
	hints[nodeID(2)] = Hint{DeadSince: now - 10*minute - 1}
	hints[nodeID(1)] = Hint{DeadSince: now}
	none("no majority of the voters is alive")
	hints[nodeID(1)] = Hint{Alive: true}
	hints[nodeID(3)], hints[nodeID(4)] = Hint{}, Hint{Alive: true, Full: true}
	none("no living node takes replicas")
	hints[nodeID(3)], hints[nodeID(4)] = Hint{Alive: true}, Hint{Alive: true}
	// z2 has no other node, so zones z0 and z1 are equal; 3 has the smaller id.
	want := []SetReplicas{{Group: 1, Replicas: []NodeID{nodeID(0), nodeID(1), nodeID(3)}, Previous: place[0], Time: now}}
	if diff := cmp.Diff(want, repair()); diff != "" {
		t.Errorf("dead beyond the grace period (-want +got):\n%s", diff)
	}
	b.must(SetCluster{RepairPaused: ptr(true)})
	none("paused")
	b.must(SetCluster{RepairPaused: ptr(false)})
	b.must(repair()[0])
	none("on its way")
	hints[nodeID(1)] = Hint{DeadSince: 1}
	b.report(1, []Member{{nodeID(0), true, 0}, {nodeID(1), true, 0}, {nodeID(2), true, 0}, {nodeID(3), false, 9}})
	none("another died while the first change is on its way")
	hints[nodeID(1)] = Hint{Alive: true}
	// The newcomer dies before it arrives: the same change turns to another node.
	hints[nodeID(3)] = Hint{DeadSince: 1}
	want = []SetReplicas{{Group: 1, Replicas: []NodeID{nodeID(0), nodeID(1), nodeID(4)}, Previous: []NodeID{nodeID(0), nodeID(1), nodeID(3)}, Time: now}}
	if diff := cmp.Diff(want, repair()); diff != "" {
		t.Errorf("the newcomer died (-want +got):\n%s", diff)
	}
	b.must(repair()[0])
	b.settle(1)
	none("arrived")
	// Retired nodes are replaced at once, before dead ones, and alone.
	hints[nodeID(2)], hints[nodeID(3)] = Hint{Alive: true}, Hint{Alive: true}
	hints[nodeID(0)] = Hint{DeadSince: 1}
	b.must(RemoveNode{ID: nodeID(1)})
	got := repair()
	if len(got) != 1 || slices.Contains(got[0].Replicas, nodeID(1)) || !slices.Contains(got[0].Replicas, nodeID(0)) {
		t.Errorf("a retired node and a dead one: %+v", got)
	}
}

func TestRepairPrefersOtherZonesAndEmptyNodes(t *testing.T) {
	b := cluster(t, 8) // z0: 0 3 6, z1: 1 4 7, z2: 2 5
	b.must(CreateStream{Name: "load", Settings: settings(3, 1), Placement: [][]NodeID{{nodeID(5)}, {nodeID(3)}, {nodeID(4)}}})
	b.must(CreateStream{Name: "s", Settings: settings(1, 3), Placement: [][]NodeID{{nodeID(2), nodeID(0), nodeID(1)}}})
	hints := allAlive(b.state())
	hints[nodeID(2)] = Hint{DeadSince: 1}
	got := Repair(b.state(), hints, 100*minute)
	// 5 is loaded but the only other one in zone z2; the newcomer is not preferred as leader.
	want := []NodeID{nodeID(0), nodeID(5), nodeID(1)}
	if len(got) != 1 || !slices.Equal(got[0].Replicas, want) {
		t.Errorf("got %+v, want %v", got, want)
	}
	hints[nodeID(5)] = Hint{Alive: true, Full: true}
	got = Repair(b.state(), hints, 100*minute)
	if want := []NodeID{nodeID(0), nodeID(6), nodeID(1)}; len(got) != 1 || !slices.Equal(got[0].Replicas, want) {
		t.Errorf("got %+v, want %v", got, want)
	}
}

func TestRepairIsBounded(t *testing.T) {
	b := cluster(t, 9)
	b.create("s", 1000, 3)
	hints := allAlive(b.state())
	hints[nodeID(0)] = Hint{DeadSince: 1}
	got := Repair(b.state(), hints, 100*minute)
	if len(got) != RepairConcurrencyMax {
		t.Fatalf("%d changes at once", len(got))
	}
	newcomers := map[NodeID]int{}
	for _, c := range got {
		newcomers[c.Replicas[slices.IndexFunc(c.Replicas, func(id NodeID) bool { return !slices.Contains(c.Previous, id) })]]++
		b.must(c)
	}
	if len(newcomers) < 2 {
		t.Errorf("all go to one node: %v", newcomers)
	}
	if more := Repair(b.state(), hints, 100*minute); len(more) != 0 {
		t.Errorf("%d more while these are on their way", len(more))
	}
	b.settle(got[0].Group)
	if more := Repair(b.state(), hints, 100*minute); len(more) != 1 {
		t.Errorf("%d more after one arrived", len(more))
	}
}

// With every member honest, repairing and reconciling ends with all replicas on
// living nodes that take part, whatever order nodes fail in; one node at a time
// is unreachable, and no step leaves fewer voters than there were.
func TestRepairAndReconcileConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := cluster(t, 8)
		for i := range rapid.IntRange(1, 4).Draw(t, "streams") {
			b.create(fmt.Sprint("s", i), rapid.IntRange(1, 3).Draw(t, "shards"), 3)
		}
		actual := map[uint64][]Member{}
		for st := range b.state().Streams() {
			for sh := range st.Shards() {
				for _, id := range sh.Initial {
					actual[sh.Group] = append(actual[sh.Group], Member{id, true, 0})
				}
			}
		}
		hints := allAlive(b.state())
		for _, victim := range rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(t, "victims")[:4] {
			id := nodeID(victim)
			hints[id] = Hint{DeadSince: 1}
			if rapid.Bool().Draw(t, "removed") {
				b.must(RemoveNode{ID: id})
			}
			converge(t, b, hints, actual)
			for group, members := range actual {
				for _, m := range members {
					if !hints[m.Node].Alive || !m.Voter {
						t.Fatalf("group %d ended as %v", group, members)
					}
				}
				if len(members) != 3 {
					t.Fatalf("group %d ended as %v", group, members)
				}
			}
		}
	})
}

func converge(t *rapid.T, b *bench, hints Hints, actual map[uint64][]Member) {
	term := uint64(b.index)
	for range 200 {
		commands := Repair(b.state(), hints, 1000*minute)
		for _, c := range commands {
			if diff := len(c.Previous) - len(c.Replicas); diff != 0 {
				t.Fatalf("repair changes the number of replicas: %+v", c)
			}
			b.must(c)
		}
		idle := len(commands) == 0
		for st := range b.state().Streams() {
			for sh := range st.Shards() {
				members := actual[sh.Group]
				self := members[slices.IndexFunc(members, func(m Member) bool { return m.Voter && hints[m.Node].Alive })].Node
				step := ReconcileMembership(self, sh.Desired, members)
				if step.Kind != StepNone {
					idle = false
				}
				actual[sh.Group] = take(t, step, members, self)
				term++
				b.must(ReplicaStatus{Statuses: []GroupStatus{{sh.Group, self, term, actual[sh.Group], sh.DesiredVersion, ""}}})
			}
		}
		if idle {
			return
		}
	}
	t.Fatal("no end of steps")
}

// take carries out one step as a Raft leader would.
func take(t *rapid.T, step Step, members []Member, self NodeID) []Member {
	members = slices.Clone(members)
	at := slices.IndexFunc(members, func(m Member) bool { return m.Node == step.Node })
	switch step.Kind {
	case StepAddLearner:
		if at >= 0 {
			t.Fatalf("%v is there already: %v", step, members)
		}
		return append(members, Member{step.Node, false, 0})
	case StepPromote:
		if members[at].Voter {
			t.Fatalf("%v is a voter already: %v", step, members)
		}
		members[at].Voter = true
	case StepRemove:
		if step.Node == self {
			t.Fatalf("the leader takes itself out: %v", members)
		}
		return slices.Delete(members, at, at+1)
	case StepTransfer:
		if at < 0 || !members[at].Voter || step.Node == self {
			t.Fatalf("bad heir %v of %v", step, members)
		}
		// The heir leads next time because the first living voter is asked.
		members[0], members[at] = members[at], members[0]
	}
	return members
}

func TestComplete(t *testing.T) {
	member := func(id NodeID, voter bool) Member { return Member{Node: id, Voter: voter} }
	for _, c := range []struct {
		name    string
		desired []NodeID
		members []Member
		want    bool
	}{
		{"nothing reported", []NodeID{"a"}, nil, false},
		{"all vote", []NodeID{"b", "a"}, []Member{member("a", true), member("b", true)}, true},
		{"one learns", []NodeID{"a", "b"}, []Member{member("a", true), member("b", false)}, false},
		{"one is missing", []NodeID{"a", "b"}, []Member{member("a", true)}, false},
		{"one too many", []NodeID{"a"}, []Member{member("a", true), member("b", true)}, false},
		{"another one", []NodeID{"a", "b"}, []Member{member("a", true), member("c", true)}, false},
	} {
		if got := (&Shard{Desired: c.desired, Members: c.members}).Complete(); got != c.want {
			t.Errorf("%s: complete is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReconcileTable(t *testing.T) {
	v := func(id NodeID) Member { return Member{id, true, 0} }
	lag := func(id NodeID, voter bool, n uint64) Member { return Member{id, voter, n} }
	for _, c := range []struct {
		name    string
		desired []NodeID
		actual  []Member
		want    Step
	}{
		{"as desired", []NodeID{"a", "b"}, []Member{v("a"), v("b")}, Step{Kind: StepNone}},
		{"nothing desired", nil, []Member{v("a")}, Step{Kind: StepNone}},
		{"newcomer", []NodeID{"a", "c"}, []Member{v("a"), v("b")}, Step{StepAddLearner, "c"}},
		{"newcomer behind", []NodeID{"a", "c"}, []Member{v("a"), v("b"), lag("c", false, PromoteLagMax+1)}, Step{Kind: StepNone}},
		{"newcomer never heard of", []NodeID{"a", "c"}, []Member{v("a"), lag("c", false, LagUnknown)}, Step{Kind: StepNone}},
		{"newcomer caught up", []NodeID{"a", "c"}, []Member{v("a"), v("b"), lag("c", false, PromoteLagMax)}, Step{StepPromote, "c"}},
		{"newcomer caught up, the one it replaces is lost", []NodeID{"a", "b", "d"}, []Member{v("a"), v("b"), lag("c", true, LagUnknown), lag("d", false, 0)}, Step{StepRemove, "c"}},
		{"newcomer behind, the one it replaces is lost", []NodeID{"a", "b", "d"}, []Member{v("a"), v("b"), lag("c", true, LagUnknown), lag("d", false, PromoteLagMax+1)}, Step{Kind: StepNone}},
		{"newcomer caught up, a desired voter cannot be reached", []NodeID{"a", "b", "d"}, []Member{v("a"), lag("b", true, LagUnknown), v("c"), lag("d", false, 0)}, Step{StepPromote, "d"}},
		{"two newcomers, one at a time", []NodeID{"a", "c", "d"}, []Member{v("a"), lag("c", false, 1000)}, Step{Kind: StepNone}},
		{"two learners, the closer first", []NodeID{"a", "c", "d"}, []Member{v("a"), lag("c", false, 1000), lag("d", false, 1)}, Step{StepPromote, "d"}},
		{"learner nobody wants, before all", []NodeID{"a", "c"}, []Member{v("a"), lag("c", false, 0), lag("d", false, 0)}, Step{StepRemove, "d"}},
		{"furthest behind goes first", []NodeID{"a"}, []Member{v("a"), lag("b", true, 1), lag("c", true, 9)}, Step{StepRemove, "c"}},
		{"the leader goes last", []NodeID{"b"}, []Member{v("a"), v("b"), v("c")}, Step{StepRemove, "c"}},
		{"the leader hands over", []NodeID{"b", "c"}, []Member{v("a"), lag("b", true, 2), lag("c", true, 1)}, Step{StepTransfer, "c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ReconcileMembership("a", c.desired, c.actual); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func planText(t *testing.T, s *State, node NodeID, local []uint64) string {
	t.Helper()
	text := ""
	for _, p := range Plan(s, node, local) {
		text += fmt.Sprintf("%d:%s", p.Group, p.Action)
		if p.Servers != nil {
			text += fmt.Sprint(p.Servers)
		}
		if (p.Stream == nil) != (p.Action == ActionQuarantine) {
			t.Errorf("%+v: stream %v", p, p.Stream)
		}
		text += " "
	}
	return text
}

func TestPlan(t *testing.T) {
	b := cluster(t, 4)
	place := func(ids ...int) []NodeID {
		var out []NodeID
		for _, i := range ids {
			out = append(out, nodeID(i))
		}
		return out
	}
	b.must(CreateStream{Name: "s", Settings: settings(2, 3), Placement: [][]NodeID{place(0, 1, 2), place(1, 2, 3)}})
	b.must(CreateStream{Name: "gone", Settings: settings(1, 1), Placement: [][]NodeID{place(0)}})
	plan := func(node int, local ...uint64) string { return planText(t, b.state(), nodeID(node), local) }
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	expect("new", plan(0), "1:bootstrap[node-00 node-01 node-02] 3:bootstrap[node-00] ")
	expect("bootstrap again after a crash", plan(3, 2), "2:bootstrap[node-01 node-02 node-03] ")
	b.must(ReportLeaders{Leaders: []LeaderReport{{1, nodeID(1), 1, ""}, {3, nodeID(0), 1, ""}}})
	expect("with a leader, on disk", plan(0, 1, 3), "1:run 3:run ")
	expect("with a leader, nothing on disk", plan(0), "1:wait 3:wait ")
	b.must(DeleteStream{Name: "gone"})
	expect("deleted, unknown, meta group", plan(0, 99, 3, 1, 0), "1:run 3:delete 99:quarantine ")
	expect("deleted, nothing on disk", plan(0, 1), "1:run ")

	// Group 1 moves from node 0 to node 3.
	b.must(SetReplicas{Group: 1, Replicas: place(3, 1, 2)})
	expect("the newcomer", plan(3), "1:wait 2:bootstrap[node-01 node-02 node-03] ")
	expect("the leaver, before any report", plan(0, 1), "1:run ")
	sh, _ := b.state().ShardByGroup(1)
	members := func(ids ...int) (m []Member) {
		for _, id := range place(ids...) {
			m = append(m, Member{id, true, 0})
		}
		return m
	}
	status := func(term, about uint64, m []Member) {
		b.must(ReplicaStatus{Statuses: []GroupStatus{{1, nodeID(1), term, m, about, ""}}})
	}
	status(2, sh.DesiredVersion, members(0, 1, 2))
	expect("the leaver, still a member", plan(0, 1), "1:run ")
	status(3, sh.DesiredVersion-1, members(1, 2, 3))
	expect("the leaver, a report about an earlier wish", plan(0, 1), "1:run ")
	status(4, sh.DesiredVersion, members(1, 2, 3))
	expect("the leaver, gone", plan(0, 1), "1:delete ")
	expect("the leaver, nothing on disk", plan(0), "")
	// The wish turns to another node: what was reported before proves nothing about node 3.
	b.must(SetReplicas{Group: 1, Replicas: place(0, 1, 2)})
	expect("back again", plan(0), "1:wait ")
	expect("the newcomer that shall go", plan(3, 1, 2), "1:run 2:bootstrap[node-01 node-02 node-03] ")

	// Bootstrap servers stay the initial ones.
	b.must(SetReplicas{Group: 2, Replicas: place(0, 1, 2)})
	expect("an initial replica that shall go", plan(3, 2), "1:wait 2:bootstrap[node-01 node-02 node-03] ")
	expect("a desired one that is not initial", plan(0, 1), "1:run 2:wait ")
}

func TestOnlyStorageNodesTakeReplicas(t *testing.T) {
	b := cluster(t, 3)
	front := register(3)
	front.Roles = []string{"ingest"}
	b.must(front)
	placement, err := Place(b.state(), allAlive(b.state()), settings(9, 3))
	if err != nil {
		t.Fatal(err)
	}
	if n := count(placement, func(r []NodeID) []NodeID { return r })[nodeID(3)]; n != 0 {
		t.Errorf("a node without the role storage got %d replicas", n)
	}
	b.create("s", 1, 3)
	b.settle(1)
	hints := allAlive(b.state())
	hints[nodeID(0)] = Hint{DeadSince: 1}
	if c := Repair(b.state(), hints, 1_000*minute); len(c) != 0 {
		t.Errorf("repair moves a replica to it: %+v", c)
	}
}
