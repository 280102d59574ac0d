package meta

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// bench is a store that commands are applied to one after the other.
type bench struct {
	t     tester
	store *Store
	index uint64

	unchecked bool // the test checks the invariants itself
}

// tester is what *testing.T, *testing.F and *rapid.T have in common here.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newBench(t tester) *bench { return &bench{t: t, store: NewStore()} }

// apply returns the result, failing the test on what would stop a replica and
// on a broken invariant.
func (b *bench) apply(c Command) (any, Events) {
	b.t.Helper()
	data, err := Encode(c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.index++
	result, events, err := b.store.Apply(data, b.index)
	if err != nil {
		b.t.Fatal(err)
	}
	if v := b.store.State().Version(); v != b.index {
		b.t.Fatalf("version %d after index %d", v, b.index)
	}
	if b.unchecked {
		return result, events
	}
	if err := b.store.State().check(); err != nil {
		b.t.Fatalf("after %s: %v", c.Type(), err)
	}
	return result, events
}

func (b *bench) must(c Command) any {
	b.t.Helper()
	result, _ := b.apply(c)
	if f, ok := result.(*fault.Error); ok {
		b.t.Fatalf("%s: %v", c.Type(), f)
	}
	return result
}

func (b *bench) state() *State { return b.store.State() }

func nodeID(i int) NodeID { return fmt.Sprintf("node-%02d", i) }

// cluster returns a store with n nodes in zones z0, z1, z2.
func cluster(t tester, n int) *bench {
	b := newBench(t)
	b.must(InitCluster{ClusterID: "c1", Name: "test", Time: 1})
	for i := range n {
		b.must(register(i))
	}
	return b
}

func register(i int) RegisterNode {
	return RegisterNode{
		ID: nodeID(i), Name: fmt.Sprintf("n%d", i), Incarnation: 1, Addresses: Addresses{Raft: fmt.Sprintf("10.0.0.%d:1", i)},
		Zone: fmt.Sprintf("z%d", i%3), Roles: []string{"storage"}, Labels: map[string]string{"k": "v"}, Time: int64(10 + i),
	}
}

func allAlive(s *State) Hints {
	h := Hints{}
	for _, n := range s.Nodes() {
		h[n.ID] = Hint{Alive: true}
	}
	return h
}

func settings(shards, replicas int) Settings {
	return Settings{Shards: shards, Replicas: replicas}.WithDefaults()
}

func (b *bench) create(name string, shards, replicas int) *Stream {
	b.t.Helper()
	s := settings(shards, replicas)
	placement, err := Place(b.state(), allAlive(b.state()), s)
	if err != nil {
		b.t.Fatal(err)
	}
	b.must(CreateStream{Name: name, Settings: s, Placement: placement, Time: 100})
	st, ok := b.state().StreamByName(name)
	if !ok {
		b.t.Fatalf("stream %s is not there", name)
	}
	return st
}

func ptr[T any](v T) *T { return &v }

type refusal struct {
	name  string
	c     Command
	kind  fault.Kind
	field string
	limit uint64
	is    error
}

// refuses applies each command and checks that it changes nothing.
func refuses(t *testing.T, b *bench, rows []refusal) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			before := withoutVersion(t, b.state())
			result, events := b.apply(r.c)
			f, ok := result.(*fault.Error)
			if !ok {
				t.Fatalf("accepted: %+v", result)
			}
			if f.Kind != r.kind || f.Field != r.field || f.Limit != r.limit || (r.is != nil && !errors.Is(f, r.is)) {
				t.Errorf("kind %s field %q limit %d: %v", f.Kind, f.Field, f.Limit, f)
			}
			if !events.Empty() || withoutVersion(t, b.state()) != before {
				t.Errorf("a refused command changed something: %+v", events)
			}
		})
	}
}

func withoutVersion(t tester, s *State) string {
	t.Helper()
	c := *s
	c.version = 0
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestNothingBeforeInitCluster(t *testing.T) {
	var rows []refusal
	for _, c := range []Command{
		register(0),
		SetCluster{},
		RemoveNode{ID: "x"},
		CreateStream{Name: "s"},
		UpdateStream{Name: "s"},
		DeleteStream{Name: "s"},
		ReportLeaders{},
		ReplicaStatus{},
		SetReplicas{},
	} {
		rows = append(rows, refusal{name: c.Type(), c: c, kind: fault.Unavailable})
	}
	refuses(t, newBench(t), rows)
}

func TestInitAndSetCluster(t *testing.T) {
	b := newBench(t)
	refuses(t, b, []refusal{
		{name: "no id", c: InitCluster{Name: "n"}, kind: fault.Invalid, field: "cluster_id", limit: NameCharsMax},
		{name: "bad name", c: InitCluster{ClusterID: "c", Name: "a b"}, kind: fault.Invalid, field: "name"},
	})
	want := ClusterResult{Version: b.index + 1, Cluster: Cluster{ID: "c", Name: "n", Created: 5, Settings: ClusterSettings{DeadGraceSeconds: 600}}}
	got, events := b.apply(InitCluster{ClusterID: "c", Name: "n", Time: 5})
	if diff := cmp.Diff(want, got); diff != "" || !events.Cluster {
		t.Errorf("events %+v (-want +got):\n%s", events, diff)
	}
	if _, events := b.apply(InitCluster{ClusterID: "c", Name: "n", Time: 6}); !events.Empty() {
		t.Errorf("not idempotent: %+v", events)
	}
	refuses(t, b, []refusal{
		{name: "another id", c: InitCluster{ClusterID: "d", Name: "n"}, kind: fault.Conflict},
		{name: "another name", c: InitCluster{ClusterID: "c", Name: "m"}, kind: fault.Conflict},
		{name: "no grace", c: SetCluster{DeadGraceSeconds: ptr(int64(0))}, kind: fault.Invalid, field: "dead_grace_seconds", limit: DeadGraceSecondsMax},
	})
	b.must(SetCluster{DeadGraceSeconds: ptr(int64(7)), RepairPaused: ptr(true)})
	if got := b.state().Cluster().Settings; got != (ClusterSettings{7, true}) {
		t.Errorf("settings %+v", got)
	}
	if _, events := b.apply(SetCluster{}); !events.Empty() {
		t.Errorf("nothing set, yet %+v", events)
	}
}

func TestRegisterAndRemoveNode(t *testing.T) {
	b := cluster(t, 2)
	n, _ := b.state().Node(nodeID(1))
	want := &Node{
		ID: "node-01", Name: "n1", Incarnation: 1, Addresses: Addresses{Raft: "10.0.0.1:1"}, Zone: "z1", Roles: []string{"storage"},
		Labels: map[string]string{"k": "v"}, State: NodeJoined, Registered: 11, Changed: 11,
	}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, events := b.apply(register(1)); !events.Empty() {
		t.Errorf("not idempotent: %+v", events)
	}
	moved := register(1)
	moved.Incarnation, moved.Addresses.Raft, moved.Roles, moved.Time = 2, "10.9.9.9:1", []string{"b", "a", "b"}, 50
	if _, events := b.apply(moved); !slices.Equal(events.Nodes, []NodeID{"node-01"}) {
		t.Errorf("events %+v", events)
	}
	n, _ = b.state().Node(nodeID(1))
	if n.Addresses.Raft != "10.9.9.9:1" || n.Registered != 11 || n.Changed != 50 || !slices.Equal(n.Roles, []string{"a", "b"}) {
		t.Errorf("after an update: %+v", n)
	}
	long := strings.Repeat("x", 300)
	bad := func(change func(*RegisterNode)) Command { c := register(5); change(&c); return c }
	refuses(t, b, []refusal{
		{name: "older incarnation", c: register(1), kind: fault.Conflict, is: ErrStaleIncarnation},
		{name: "no id", c: bad(func(c *RegisterNode) { c.ID = "" }), kind: fault.Invalid, field: "id", limit: NameCharsMax},
		{name: "no name", c: bad(func(c *RegisterNode) { c.Name = "" }), kind: fault.Invalid, field: "name", limit: NameCharsMax},
		{name: "no raft address", c: bad(func(c *RegisterNode) { c.Addresses.Raft = "" }), kind: fault.Invalid, field: "addresses.raft"},
		{name: "long zone", c: bad(func(c *RegisterNode) { c.Zone = long }), kind: fault.Invalid, field: "zone", limit: TextBytesMax},
		{name: "control character", c: bad(func(c *RegisterNode) { c.Labels = map[string]string{"a": "b\n"} }), kind: fault.Invalid, field: "labels"},
		{name: "many roles", c: bad(func(c *RegisterNode) { c.Roles = make([]string, 17) }), kind: fault.Invalid, field: "roles", limit: RolesMax},
		{name: "name of another", c: bad(func(c *RegisterNode) { c.ID, c.Name, c.Incarnation = nodeID(1), "n0", 9 }), kind: fault.Conflict, is: ErrNameTaken},
		{name: "remove unknown", c: RemoveNode{ID: "nobody"}, kind: fault.NotFound},
	})
	// A wiped disk: the same name under a new id.
	wiped := register(0)
	wiped.ID = "node-00b"
	result, events := b.apply(wiped)
	if r := result.(NodeResult); r.Replaced != nodeID(0) || !slices.Equal(events.Nodes, []NodeID{"node-00", "node-00b"}) {
		t.Errorf("result %+v, events %+v", r, events)
	}
	if n, _ := b.state().Node(nodeID(0)); n.State != NodeReplaced || n.ReplacedBy != "node-00b" {
		t.Errorf("the older one: %+v", n)
	}
	b.must(RemoveNode{ID: nodeID(1), Time: 60})
	if _, events := b.apply(RemoveNode{ID: nodeID(1), Time: 61}); !events.Empty() {
		t.Errorf("removing twice: %+v", events)
	}
	moved.Incarnation = 99
	refuses(t, b, []refusal{
		{name: "replaced comes back", c: register(0), kind: fault.Conflict, is: ErrNodeRetired},
		{name: "removed comes back", c: moved, kind: fault.Conflict, is: ErrNodeRetired},
	})
	// The name of a removed node is free.
	again := register(1)
	again.ID = "node-01b"
	if r := b.must(again).(NodeResult); r.Replaced != "" {
		t.Errorf("replaced %q", r.Replaced)
	}
}

func TestCreateStream(t *testing.T) {
	b := cluster(t, 3)
	st := b.create("orders", 4, 3)
	if st.ID != 1 || st.State != StreamCreating || st.Leaderless() != 4 || st.ShardCount() != 4 || st.Created != 100 {
		t.Errorf("stream %+v", st)
	}
	ranges := hashkey.SplitEven(4)
	for sh := range st.Shards() {
		if sh.Group != uint64(sh.Number)+1 || sh.Range != ranges[sh.Number] || sh.State != ShardOpen || len(sh.Initial) != 3 || sh.StreamID != 1 {
			t.Errorf("shard %+v", sh)
		}
		for _, key := range []hashkey.Key{sh.Range.Start, sh.Range.End} {
			if got, ok := b.state().ShardForHash(st.ID, key); !ok || got != sh {
				t.Errorf("key %s is routed to %+v, want shard %d", key, got, sh.Number)
			}
		}
		if got, ok := b.state().ShardByGroup(sh.Group); !ok || got != sh {
			t.Errorf("group %d is %+v", sh.Group, got)
		}
	}
	c := CreateStream{Name: "orders", Settings: settings(4, 3)}
	if r := b.must(c).(StreamResult); r.Changed || r.StreamID != 1 {
		t.Errorf("created again: %+v", r)
	}
	place := func(ids ...NodeID) [][]NodeID { return [][]NodeID{ids} }
	with := func(change func(*CreateStream)) Command {
		c := CreateStream{Name: "new", Settings: settings(1, 3), Placement: place("node-00", "node-01", "node-02")}
		change(&c)
		return c
	}
	set := func(change func(*Settings)) Command { return with(func(c *CreateStream) { change(&c.Settings) }) }
	b.must(register(3))
	b.must(RemoveNode{ID: nodeID(3)})
	refuses(t, b, []refusal{
		{name: "other settings", c: CreateStream{Name: "orders", Settings: settings(5, 3)}, kind: fault.Conflict},
		{name: "empty name", c: with(func(c *CreateStream) { c.Name = "" }), kind: fault.Invalid, field: "name", limit: 128},
		{name: "129 characters", c: with(func(c *CreateStream) { c.Name = strings.Repeat("a", 129) }), kind: fault.Invalid, field: "name", limit: 128},
		{name: "bad character", c: with(func(c *CreateStream) { c.Name = "a/b" }), kind: fault.Invalid, field: "name"},
		{name: "no shards", c: set(func(s *Settings) { s.Shards = 0 }), kind: fault.Invalid, field: "shards", limit: ShardsMax},
		{name: "10,001 shards", c: set(func(s *Settings) { s.Shards = 10_001 }), kind: fault.Invalid, field: "shards", limit: ShardsMax},
		{name: "2 replicas", c: set(func(s *Settings) { s.Replicas = 2 }), kind: fault.Invalid, field: "replicas", limit: 5},
		{name: "more replicas than nodes", c: set(func(s *Settings) { s.Replicas = 5 }), kind: fault.Invalid, field: "replicas", limit: 3},
		{name: "retention", c: set(func(s *Settings) { s.RetentionSeconds = 1 }), kind: fault.Invalid, field: "retention_seconds", limit: RetentionSecondsMax},
		{name: "record size", c: set(func(s *Settings) { s.MaxRecordBytes = RecordBytesMax + 1 }), kind: fault.Invalid, field: "max_record_bytes", limit: RecordBytesMax},
		{name: "negative bytes", c: set(func(s *Settings) { s.RetentionBytes = -1 }), kind: fault.Invalid, field: "retention_bytes", limit: 1 << 62},
		{name: "no placement", c: with(func(c *CreateStream) { c.Placement = nil }), kind: fault.Invalid, field: "placement"},
		{name: "too few nodes", c: with(func(c *CreateStream) { c.Placement = place("node-00") }), kind: fault.Invalid, field: "placement"},
		{name: "one node twice", c: with(func(c *CreateStream) { c.Placement = place("node-00", "node-01", "node-00") }), kind: fault.Invalid, field: "placement"},
		{name: "unknown node", c: with(func(c *CreateStream) { c.Placement = place("node-00", "node-01", "x") }), kind: fault.NotFound},
		{name: "removed node", c: with(func(c *CreateStream) { c.Placement = place("node-00", "node-01", "node-03") }), kind: fault.Conflict},
	})
}

func TestUpdateAndDeleteStream(t *testing.T) {
	b := cluster(t, 3)
	b.create("a", 2, 3)
	b.create("b", 1, 1)
	old := b.state()
	_, events := b.apply(UpdateStream{Name: "a", RetentionSeconds: ptr(int64(7200)), MaxRecordBytes: ptr(int64(5)), RecordsLimit: ptr(int64(9))})
	st, _ := b.state().StreamByName("a")
	want := settings(2, 3)
	want.RetentionSeconds, want.MaxRecordBytes, want.RecordsLimit = 7200, 5, 9
	if st.Settings != want || !slices.Equal(events.Streams, []uint64{1}) {
		t.Errorf("events %+v, settings %+v", events, st.Settings)
	}
	if was, _ := old.StreamByName("a"); was.Settings != settings(2, 3) {
		t.Error("an older state changed")
	}
	if r := b.must(UpdateStream{Name: "a", StreamID: 1, RetentionSeconds: ptr(int64(7200))}).(StreamResult); r.Changed {
		t.Error("an update to the same changed something")
	}
	refuses(t, b, []refusal{
		{name: "update unknown", c: UpdateStream{Name: "x"}, kind: fault.NotFound},
		{name: "update other id", c: UpdateStream{Name: "a", StreamID: 2}, kind: fault.Conflict},
		{name: "update bad value", c: UpdateStream{Name: "a", DedupWindowSeconds: ptr(int64(0))}, kind: fault.Invalid, field: "dedup_window_seconds", limit: DedupWindowSecondsMax},
		{name: "update of what replicas decide by", c: UpdateStream{Name: "a", DedupWindowSeconds: ptr(int64(60))}, kind: fault.Invalid, field: "dedup_window_seconds"},
		{name: "delete unknown", c: DeleteStream{Name: "x"}, kind: fault.NotFound},
		{name: "delete other id", c: DeleteStream{Name: "a", StreamID: 7}, kind: fault.Conflict},
	})
	_, events = b.apply(DeleteStream{Name: "a", Time: 200})
	if diff := cmp.Diff(Events{Streams: []uint64{1}, Groups: []uint64{1, 2}}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	s := b.state()
	if _, ok := s.StreamByName("a"); ok {
		t.Error("the name still leads to the stream")
	}
	if st, ok := s.StreamByID(1); !ok || st.State != StreamDeleting || st.Deleted != 200 {
		t.Errorf("tombstone %+v", st)
	}
	if _, ok := s.ShardByGroup(1); ok || !s.GroupDeleted(1) || !s.GroupDeleted(2) || s.GroupDeleted(3) || s.GroupDeleted(99) || s.GroupDeleted(MetaGroup) {
		t.Error("deleted groups are not told from others")
	}
	if r := b.must(DeleteStream{Name: "a", StreamID: 1}).(StreamResult); r.Changed || r.StreamID != 1 {
		t.Errorf("deleting twice by id: %+v", r)
	}
	st = b.create("a", 1, 3)
	if st.ID != 3 || st.Shard(0).Group != 4 {
		t.Errorf("created again with id %d and group %d: ids were used before", st.ID, st.Shard(0).Group)
	}
}

func TestStreamsByName(t *testing.T) {
	b := cluster(t, 1)
	for _, name := range []string{"m", "b", "z"} {
		b.create(name, 1, 1)
	}
	for after, want := range map[string]string{"": "bmz", "a": "bmz", "b": "mz", "c": "mz", "z": "", "zz": ""} {
		got := ""
		for st := range b.state().StreamsByName(after) {
			got += st.Name
		}
		if got != want {
			t.Errorf("after %q: %q, want %q", after, got, want)
		}
	}
}

// Every type of command has to be known by its own name.
func TestEveryCommandDecodesToItself(t *testing.T) {
	for typ, c := range exampleCommands() {
		if c.Type() != typ {
			t.Errorf("%T has type %q, want %q", c, c.Type(), typ)
		}
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Encode(back)
		if err != nil || string(again) != string(data) {
			t.Errorf("%s: error %v\n%s\n%s", typ, err, data, again)
		}
	}
	if got, want := len(exampleCommands()), 21; got != want {
		t.Errorf("%d examples, want %d", got, want)
	}
}

func sortedTypes() []string { return slices.Sorted(maps.Keys(exampleCommands())) }
