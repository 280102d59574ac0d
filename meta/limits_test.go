package meta

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
)

// limited returns a store with nodes that take so many replicas each.
func limited(t tester, most ...int) *bench {
	b := cluster(t, len(most))
	for i, n := range most {
		c := register(i)
		c.ReplicasMax = n
		b.must(c)
	}
	return b
}

func held(s *State) []int {
	var counts []int
	for _, n := range s.Nodes() {
		counts = append(counts, s.HeldReplicas(n.ID))
	}
	return counts
}

func TestPlaceKeepsToTheLimitOfReplicas(t *testing.T) {
	for _, c := range []struct {
		name             string
		most             []int
		shards, replicas int
		fit              int // shards of those; less than shards is a refusal
		limit            uint64
	}{
		{"no limits", []int{0, 0, 0}, 50, 3, 50, 0},
		{"exactly full", []int{10, 10, 10}, 10, 3, 10, 30},
		{"one too many", []int{10, 10, 10}, 11, 3, 10, 30},
		{"the smallest node decides", []int{10, 4, 10}, 5, 3, 4, 24},
		{"a full node is passed over", []int{10, 2, 10, 10}, 10, 3, 10, 32},
		{"no room at all", []int{1, 1, 1}, 2, 3, 1, 3},
		{"single replicas fill every node", []int{3, 1, 2}, 6, 1, 6, 6},
		{"a node without a limit takes the rest", []int{1, 0, 1}, 9, 1, 9, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := limited(t, c.most...).state()
			placement, err := Place(s, allAlive(s), settings(c.shards, c.replicas))
			if c.fit == c.shards {
				if err != nil {
					t.Fatal(err)
				}
				n := count(placement, func(r []NodeID) []NodeID { return r })
				for i, most := range c.most {
					if most > 0 && n[nodeID(i)] > most {
						t.Errorf("node %d gets %d replicas, it takes %d", i, n[nodeID(i)], most)
					}
				}
				return
			}
			f := fault.As(err)
			if f == nil || f.Kind != fault.LimitReached || f.Field != "shard_replicas" || f.Limit != c.limit {
				t.Fatalf("%+v", f)
			}
			for _, says := range []string{
				fmt.Sprintf("need %d shard replicas", c.shards*c.replicas), fmt.Sprintf("hold 0 of %d", c.limit),
				fmt.Sprintf("%d such shards would fit", c.fit), "limits.shard_replicas_max",
			} {
				if !strings.Contains(f.Message, says) {
					t.Errorf("%q does not say %q", f.Message, says)
				}
			}
			if _, err := Place(s, allAlive(s), settings(c.fit, c.replicas)); err != nil {
				t.Errorf("what is said to fit does not: %v", err)
			}
		})
	}
}

// Dead nodes with room do not make up for living ones that are full: the stream could not start.
func TestPlaceWantsALivingMajorityWithRoom(t *testing.T) {
	b := limited(t, 1, 1, 5, 5)
	b.must(CreateStream{Name: "s", Settings: settings(2, 1), Placement: [][]NodeID{{nodeID(0)}, {nodeID(1)}}})
	hints := Hints{nodeID(0): {Alive: true}, nodeID(1): {Alive: true}, nodeID(2): {DeadSince: 1}, nodeID(3): {DeadSince: 1}}
	if _, err := Place(b.state(), hints, settings(1, 1)); fault.KindOf(err) != fault.LimitReached {
		t.Errorf("the living nodes are full: %v", err)
	}
	hints[nodeID(2)] = Hint{Alive: true}
	if placement, err := Place(b.state(), hints, settings(1, 1)); err != nil || placement[0][0] != nodeID(2) {
		t.Errorf("one living node has room: %v, %v", placement, err)
	}
}

func TestCreateStreamKeepsToLimits(t *testing.T) {
	b := limited(t, 2, 2, 2)
	b.create("a", 1, 3)
	placed := func(n int) [][]NodeID {
		return slices.Repeat([][]NodeID{{nodeID(0), nodeID(1), nodeID(2)}}, n)
	}
	refuses(t, b, []refusal{
		{"a node above its limit", CreateStream{Name: "b", Settings: settings(2, 3), Placement: placed(2)}, fault.LimitReached, "shard_replicas", 2, nil},
		{"a stream too many", CreateStream{Name: "b", Settings: settings(1, 3), Placement: placed(1), StreamsMax: 1}, fault.LimitReached, "streams", 1, nil},
		{"a limit out of range", CreateStream{Name: "b", Settings: settings(1, 3), Placement: placed(1), StreamsMax: -1}, fault.Invalid, "streams_max", StreamsMax, nil},
		{"a node's limit out of range", RegisterNode{ID: "x", Name: "x", Addresses: Addresses{Raft: "h:1"}, ReplicasMax: -1}, fault.Invalid, "replicas_max", NodeReplicasMax, nil},
		{"tombstones out of range", DeleteStream{Name: "a", TombstonesMax: -1}, fault.Invalid, "tombstones_max", TombstonesMax, nil},
	})
	if r := b.must(CreateStream{Name: "a", Settings: settings(1, 3), Placement: placed(1), StreamsMax: 1}).(StreamResult); r.Changed {
		t.Error("the stream that exists was created again")
	}
	b.must(CreateStream{Name: "b", Settings: settings(1, 3), Placement: placed(1), StreamsMax: 2})
	b.must(DeleteStream{Name: "a"})
	if diff := cmp.Diff([]int{1, 1, 1}, held(b.state())); diff != "" {
		t.Errorf("after one of two was deleted (-want +got):\n%s", diff)
	}
	b.must(CreateStream{Name: "c", Settings: settings(1, 3), Placement: placed(1), StreamsMax: 2})
}

// A replica that moves counts on both nodes until the old one has left the group.
func TestMovingReplicasCountTwice(t *testing.T) {
	b := limited(t, 9, 9, 9, 9)
	b.must(CreateStream{Name: "s", Settings: settings(1, 3), Placement: [][]NodeID{{nodeID(0), nodeID(1), nodeID(2)}}})
	b.must(SetReplicas{Group: 1, Replicas: []NodeID{nodeID(1), nodeID(2), nodeID(3)}})
	if diff := cmp.Diff([]int{1, 1, 1, 1}, held(b.state())); diff != "" {
		t.Errorf("on the way (-want +got):\n%s", diff)
	}
	sh, _ := b.state().ShardByGroup(1)
	b.must(ReplicaStatus{Statuses: []GroupStatus{{1, nodeID(1), 1, []Member{{nodeID(1), true, 0}, {nodeID(2), true, 0}, {nodeID(3), true, 0}}, sh.DesiredVersion, ""}}})
	if diff := cmp.Diff([]int{0, 1, 1, 1}, held(b.state())); diff != "" {
		t.Errorf("arrived (-want +got):\n%s", diff)
	}
	if b.state().HeldReplicas("nobody") != 0 {
		t.Error("an unknown node holds replicas")
	}
}

func TestRepairTakesAFullNodeOnlyIfNoOtherCanBe(t *testing.T) {
	for _, c := range []struct {
		name string
		most []int // of the five nodes
		want NodeID
	}{
		// Node 3 is in the zone of the lost replica and would be chosen by zone and load.
		{"room everywhere", []int{0, 0, 0, 2, 2}, nodeID(3)},
		{"the better one is full", []int{0, 0, 0, 1, 2}, nodeID(4)},
		{"all are full", []int{0, 0, 0, 1, 1}, nodeID(3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := limited(t, c.most...)
			b.must(CreateStream{Name: "s", Settings: settings(1, 3), Placement: [][]NodeID{{nodeID(0), nodeID(1), nodeID(2)}}})
			b.must(CreateStream{Name: "t", Settings: settings(2, 1), Placement: [][]NodeID{{nodeID(3)}, {nodeID(4)}}})
			b.must(RemoveNode{ID: nodeID(0)})
			got := Repair(b.state(), allAlive(b.state()), 1)
			if len(got) != 1 || !slices.Contains(got[0].Replicas, c.want) {
				t.Fatalf("%+v, want a replica on %s", got, c.want)
			}
			b.must(got[0])
		})
	}
}

func TestTombstonesAreBounded(t *testing.T) {
	b := cluster(t, 1)
	names := func() (names []string) {
		for st := range b.state().DeletedStreams() {
			names = append(names, st.Name)
		}
		return names
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		b.create(name, 2, 1)
	}
	for i, name := range []string{"b", "a", "d"} {
		b.must(DeleteStream{Name: name, TombstonesMax: 1, Time: int64(200 + i)})
	}
	if diff := cmp.Diff([]string{"d"}, names()); diff != "" {
		t.Errorf("tombstones (-want +got):\n%s", diff)
	}
	s := b.state()
	if diff := cmp.Diff([]NumberRange{{1, 4}}, s.forgotten); diff != "" {
		t.Errorf("groups of a and b join (-want +got):\n%s", diff)
	}
	var got []string
	for _, p := range Plan(s, nodeID(0), []uint64{1, 4, 5, 7, 10, 11}) {
		got = append(got, fmt.Sprintf("%d %s", p.Group, p.Action))
	}
	want := []string{"1 delete", "4 delete", "5 bootstrap", "6 bootstrap", "7 delete", "9 bootstrap", "10 bootstrap", "11 quarantine"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if r := b.must(DeleteStream{Name: "a", StreamID: 1, Time: 300}).(StreamResult); r.Changed || r.StreamID != 1 {
		t.Errorf("deleting a forgotten stream again: %+v", r)
	}
	b.must(DeleteStream{Name: "c", Time: 301}) // a proposer of version 1 keeps all
	if diff := cmp.Diff([]string{"c", "d"}, names()); diff != "" {
		t.Errorf("tombstones (-want +got):\n%s", diff)
	}
	b.must(DeleteStream{Name: "e", TombstonesMax: 1, Time: 302})
	if diff := cmp.Diff([]NumberRange{{1, 8}}, b.state().forgotten); diff != "" {
		t.Errorf("all but the last (-want +got):\n%s", diff)
	}
}

// The ranges of forgotten groups are read back, and refused where they contradict the rest.
func TestForgottenGroupsInSnapshots(t *testing.T) {
	good, err := secondStore(t).store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	const as = `"forgotten":[{"first":3,"count":2}]`
	_, body, _ := strings.Cut(string(good), "\n")
	if !strings.Contains(body, as) {
		t.Fatalf("the snapshot does not contain %s:\n%s", as, body)
	}
	for _, ranges := range []string{
		`{"first":3,"count":1},{"first":4,"count":1}`, // touch
		`{"first":4,"count":1},{"first":3,"count":1}`, // out of order
		`{"first":2,"count":3}`,                       // one that lives
		`{"first":3,"count":3}`,
		`{"first":3,"count":0}`,
		`{"first":0,"count":1}`,
		`{"first":7,"count":1}`, // not given out yet
		`{"first":3,"count":18446744073709551615}`,
	} {
		bad := []byte(strings.Replace(body, as, `"forgotten":[`+ranges+`]`, 1))
		if _, err := DecodeState(append(snapshotHeader(SnapshotVersion, bad), bad...)); err == nil {
			t.Errorf("forgotten groups %s are taken", ranges)
		}
	}
}
