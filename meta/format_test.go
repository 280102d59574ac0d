package meta

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/hashkey"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// exampleCommands holds one command of every type, with every field set.
func exampleCommands() map[string]Command {
	return map[string]Command{
		"init_cluster": InitCluster{ClusterID: "0d9fb1b1-1d5c-4a43-8d6b-9f3d1f5b7a11", Name: "prod", Time: 1_763_800_000_000},
		"set_cluster":  SetCluster{DeadGraceSeconds: ptr(int64(600)), RepairPaused: ptr(false), Time: 1_763_800_000_001},
		"register_node": RegisterNode{
			ID: "a", Name: "node-1", Incarnation: 3, Addresses: Addresses{"h:1", "h:2", "h:3", "h:4"}, Zone: "z",
			Roles: []string{"ingest", "storage"}, Labels: map[string]string{"b": "2", "a": "1"}, DiskClass: "ssd", Time: 2,
		},
		"remove_node": RemoveNode{ID: "a", Time: 3},
		"create_stream": CreateStream{
			Name: "orders", Settings: Settings{2, 3, 86400, 1 << 30, 1 << 20, 900, 1000, 1_000_000},
			Placement: [][]NodeID{{"a", "b", "c"}, {"b", "c", "a"}}, Time: 4,
		},
		"update_stream": UpdateStream{
			Name: "orders", StreamID: 1, RetentionSeconds: ptr(int64(7200)), RetentionBytes: ptr(int64(0)), MaxRecordBytes: ptr(int64(1)),
			DedupWindowSeconds: ptr(int64(60)), RecordsLimit: ptr(int64(5)), BytesLimit: ptr(int64(6)), Time: 5,
		},
		"delete_stream":  DeleteStream{Name: "orders", StreamID: 1, Time: 6},
		"report_leaders": ReportLeaders{Leaders: []LeaderReport{{1, "a", 2, "started"}, {2, "b", 3, ""}}, Time: 7},
		"set_replicas":   SetReplicas{Group: 1, Replicas: []NodeID{"a", "b"}, Previous: []NodeID{"a", "c"}, Time: 8},
		"begin_reshard": BeginReshard{
			ID: "split-7", StreamID: 1, Parents: []uint32{7}, Bounds: []hashkey.Key{{Hi: 1}}, Placement: [][]NodeID{{"a", "b", "c"}, {"b", "c", "a"}},
			Goal: "g-1", ShardsMax: 100, Reason: "by hand", Time: 10,
		},
		"seal_reshard":   SealReshard{Number: 1, Time: 11},
		"finish_reshard": FinishReshard{Number: 1, Ends: []ShardEnd{{Ordinal: 12, Time: 13}}, Time: 14},
		"abort_reshard":  AbortReshard{Number: 1, Reason: "no longer wanted", Time: 15},
		"drop_shards":    DropShards{StreamID: 1, Shards: []uint32{7}, Time: 16},
		"set_goal":       SetGoal{ID: "g-1", StreamID: 1, Shards: 16, ShardsMax: 100, Reason: "more to come", Time: 17},
		"cancel_goal":    CancelGoal{StreamID: 1, ID: "g-1", Reason: "not needed", Time: 18},
		"set_scaling": SetScaling{StreamID: 1, Scaling: Scaling{
			Mode: ScalingAdvise, OnDemand: true, BytesPerSecond: 1, RecordsPerSecond: 2, SplitSeconds: 30, MergeSeconds: 40, MergePercent: 50, CooldownSeconds: 60,
			ShardsMin: 7, ShardsMax: 8, ReshardsPerHour: 9, ShardHoursPerDay: 10, SaltParts: 11,
		}, Reason: "growth", Time: 19},
		"log_scaling":    LogScaling{ScalingEvent{StreamID: 1, Time: 20, Kind: ScalingHotKey, Shards: []uint32{7}, Reshard: "auto-1", Key: "18446744073709551616", Reason: "hot"}},
		"salt_key":       SaltKey{StreamID: 1, Key: hashkey.Key{Hi: 1}, Parts: 4, Reason: "hot", Time: 21},
		"put_document":   PutDocument{StreamID: 1, Name: "tags", Value: []byte(`{"a":"b"}`), Expect: 22, Writer: "w-1"},
		"replica_status": ReplicaStatus{Statuses: []GroupStatus{{1, "a", 2, []Member{{"a", true, 0}, {"b", false, 7}}, 9, "started"}}, Time: 9},
	}
}

// exampleStore has something in every list of a snapshot.
func exampleStore(t tester) *bench {
	b := cluster(t, 4)
	b.create("orders", 2, 3)
	b.create("gone", 2, 1)
	b.create("logs", 1, 1)
	b.must(DeleteStream{Name: "gone", Time: 300})
	b.must(ReportLeaders{Leaders: []LeaderReport{{1, nodeID(0), 1, ""}, {2, nodeID(1), 1, ""}, {1, nodeID(1), 2, "node died"}}, Time: 301})
	sh, _ := b.state().ShardByGroup(2)
	b.must(ReplicaStatus{Statuses: []GroupStatus{{2, nodeID(1), 1, []Member{{nodeID(0), true, 0}, {nodeID(1), true, 4}, {nodeID(3), false, LagUnknown}}, sh.DesiredVersion, ""}}, Time: 302})
	b.must(SetReplicas{Group: 1, Replicas: []NodeID{nodeID(1), nodeID(2), nodeID(3)}, Time: 303})
	b.must(RemoveNode{ID: nodeID(0), Time: 304})
	return b
}

// secondCommands holds the commands whose version 2 has more fields, with these set.
func secondCommands() []Command {
	node := exampleCommands()["register_node"].(RegisterNode)
	node.ReplicasMax = 2000
	create := exampleCommands()["create_stream"].(CreateStream)
	create.StreamsMax = 10_000
	remove := exampleCommands()["delete_stream"].(DeleteStream)
	remove.TombstonesMax = 1000
	document := exampleCommands()["put_document"].(PutDocument)
	document.Remember = true
	return []Command{node, create, remove, document}
}

// thirdCommands holds the commands whose version 3 has more fields, with these set.
func thirdCommands() []Command {
	create := secondCommands()[1].(CreateStream)
	policy := CompleteScaling(Scaling{OnDemand: true})
	create.Writer, create.Scaling, create.Documents = "w-1", &policy, []NewDocument{{"tags", []byte(`{"a":"b"}`)}, {"empty", []byte{}}}
	return []Command{create}
}

// secondStore has what a snapshot of version 2 holds beyond one of version 1.
func secondStore(t tester) *bench {
	b := exampleStore(t)
	c := register(1)
	c.ReplicasMax, c.Time = 500, 305
	b.must(c)
	b.create("late", 1, 1)
	b.must(DeleteStream{Name: "late", TombstonesMax: 1, Time: 306})
	return b
}

// thirdStore has what a snapshot of version 3 holds beyond one of version 2: reshards in every
// phase, shards in every state, a goal, and shards that are gone.
func thirdStore(t tester) *bench {
	b := secondStore(t)
	st := b.create("parts", 3, 1)
	b.lead(st.ID, 0, 1, 2)
	b.reshard(BeginReshard{ID: "one", StreamID: st.ID, Parents: []uint32{0}, Bounds: []hashkey.Key{key(1)}, Reason: "by hand", Time: 400}, ShardEnd{Ordinal: 5, Time: 399})
	b.reshard(BeginReshard{ID: "two", StreamID: st.ID, Parents: []uint32{4, 1}, Time: 410}, ShardEnd{Ordinal: 6, Time: 409})
	b.must(DropShards{StreamID: st.ID, Shards: []uint32{0}, Time: 420})
	b.begin(BeginReshard{ID: "three", StreamID: st.ID, Parents: []uint32{2}, Bounds: []hashkey.Key{hashkey.Max}, Time: 430})
	b.must(AbortReshard{Number: 3, Reason: "a mistake", Time: 431})
	b.must(SetGoal{ID: "even", StreamID: st.ID, Shards: 4, Reason: "tidy up", Time: 440})
	b.begin(BeginReshard{ID: "four", StreamID: st.ID, Parents: []uint32{2}, Bounds: []hashkey.Key{hashkey.SplitEven(4)[3].Start}, Goal: "even", Time: 441})
	b.begin(BeginReshard{ID: "five", StreamID: st.ID, Parents: []uint32{5}, Bounds: []hashkey.Key{hashkey.SplitEven(4)[1].Start}, Goal: "even", Time: 442})
	b.lead(st.ID, 10, 11)
	b.must(SealReshard{Number: 5, Time: 443})
	b.must(SetScaling{StreamID: st.ID, Scaling: CompleteScaling(Scaling{SaltParts: 4, ShardHoursPerDay: 100}), Reason: "growth", Time: 450})
	b.must(LogScaling{ScalingEvent{StreamID: st.ID, Time: 451, Kind: ScalingSplit, Shards: []uint32{2}, Reshard: "four", Reason: "full"}})
	b.must(SaltKey{StreamID: st.ID, Key: key(3), Parts: 4, Reason: "hot", Time: 452})
	other := b.create("goals", 1, 1)
	b.lead(other.ID, 0)
	b.must(SetGoal{ID: "first", StreamID: other.ID, Shards: 1, Time: 460})
	b.must(SetGoal{ID: "second", StreamID: other.ID, Shards: 2, Time: 461})
	return b
}

// fourthStore has what a snapshot of version 4 holds beyond one of version 3: documents of the cluster and of streams, and none of streams that are gone.
func fourthStore(t tester) *bench {
	b := thirdStore(t)
	st, _ := b.state().StreamByName("parts")
	gone := b.create("briefly", 1, 1)
	for i, c := range []PutDocument{
		{Name: "b", Value: []byte("of the cluster")},
		{Name: "a", Value: []byte{}},
		{StreamID: st.ID, Name: "tags", Value: []byte(`{"a":"b"}`)},
		{StreamID: gone.ID, Name: "lost", Value: []byte{1}},
		{StreamID: st.ID, Name: "not for long", Value: []byte{2}},
	} {
		c.Writer = fmt.Sprint("w-", i)
		b.must(c)
	}
	st, _ = b.state().StreamByName("parts")
	b.must(PutDocument{StreamID: st.ID, Name: "not for long", Remove: true, Expect: st.Documents().Get("not for long").Version, Writer: "w-5"})
	b.must(DeleteStream{Name: "briefly", Time: 470})
	return b
}

// fifthStore has what a snapshot of version 5 holds beyond one of version 4: documents that know who changed them before.
func fifthStore(t tester) *bench {
	b := fourthStore(t)
	st, _ := b.state().StreamByName("parts")
	b.must(PutDocument{Name: "b", Value: []byte("changed"), Expect: b.state().Documents().Get("b").Version, Writer: "w-6", Remember: true})
	b.must(PutDocument{StreamID: st.ID, Name: "tags", Value: []byte(`{}`), Expect: st.Documents().Get("tags").Version, Writer: "w-7", Remember: true})
	return b
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: the format changed; old logs and snapshots must stay readable (-want +got):\n%s", path, diff)
	}
}

func TestCommandGolden(t *testing.T) {
	var out bytes.Buffer
	for _, typ := range sortedTypes() {
		data, err := Encode(exampleCommands()[typ])
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
		out.WriteByte('\n')
	}
	golden(t, "commands_v1.golden", out.Bytes())
	out.Reset()
	for _, c := range secondCommands() {
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(data, '\n'))
	}
	golden(t, "commands_v2.golden", out.Bytes())
	out.Reset()
	for _, c := range thirdCommands() {
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(data, '\n'))
	}
	golden(t, "commands_v3.golden", out.Bytes())
}

func TestSnapshotGolden(t *testing.T) {
	snapshotGolden(t, exampleStore(t), "snapshot_v1.golden")
	snapshotGolden(t, secondStore(t), "snapshot_v2.golden")
	snapshotGolden(t, thirdStore(t), "snapshot_v3.golden")
	snapshotGolden(t, fourthStore(t), "snapshot_v4.golden")
	snapshotGolden(t, fifthStore(t), "snapshot_v5.golden")
}

func snapshotGolden(t *testing.T, b *bench, name string) {
	t.Helper()
	data, err := b.store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, name, data)
	other := NewStore()
	wake := other.Watch(0)
	if err := other.Restore(data); err != nil {
		t.Fatal(err)
	}
	<-wake
	again, err := other.Snapshot()
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("error %v; restored and encoded again (-want +got):\n%s", err, cmp.Diff(string(data), string(again)))
	}
	if other.State().Version() != b.index {
		t.Errorf("version %d, want %d", other.State().Version(), b.index)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, data string
		err        error
	}{
		{"nothing", ``, ErrMalformedCommand},
		{"no type", `{"v":1,"body":{}}`, ErrMalformedCommand},
		{"no version", `{"type":"remove_node","body":{}}`, ErrMalformedCommand},
		{"two values", `{"v":1,"type":"remove_node","body":{"id":"a","time":1}} {}`, ErrMalformedCommand},
		{"unknown field outside", `{"v":1,"type":"remove_node","x":1,"body":{"id":"a","time":1}}`, ErrMalformedCommand},
		{"unknown field inside", `{"v":1,"type":"remove_node","body":{"id":"a","time":1,"x":1}}`, ErrMalformedCommand},
		{"no body", `{"v":1,"type":"remove_node"}`, ErrMalformedCommand},
		{"placement out of range", `{"v":1,"type":"create_stream","body":{"name":"a","settings":{},"nodes":["a"],"placement":[[1]],"time":1}}`, ErrMalformedCommand},
		{"too long", strings.Repeat(" ", CommandBytesMax+1), ErrMalformedCommand},
		{"unknown type", `{"v":1,"type":"split_shard","body":{}}`, ErrUnknownCommand},
		{"newer version", `{"v":2,"type":"remove_node","body":{"later":1}}`, ErrNewerCommand},
		{"newer version of one that has two", `{"v":3,"type":"delete_stream","body":{"later":1}}`, ErrNewerCommand},
		{"newer version of one that has three", `{"v":4,"type":"create_stream","body":{"later":1}}`, ErrNewerCommand},
		{"field of version 3 in version 2", `{"v":2,"type":"create_stream","body":{"name":"a","settings":{},"nodes":[],"placement":[],"writer":"w","time":1}}`, ErrMalformedCommand},
		{"field of version 2 in version 1", `{"v":1,"type":"delete_stream","body":{"name":"a","tombstones_max":1,"time":1}}`, ErrMalformedCommand},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Decode([]byte(c.data)); !errors.Is(err, c.err) {
				t.Errorf("command %+v, error %v, want %v", got, err, c.err)
			}
			b := cluster(t, 1)
			before := b.state()
			if _, _, err := b.store.Apply([]byte(c.data), b.index+1); !errors.Is(err, c.err) || b.state() != before {
				t.Errorf("apply: error %v; changed: %v", err, b.state() != before)
			}
		})
	}
}

func TestIgnorableCommandsAreSteppedOver(t *testing.T) {
	for _, data := range []string{
		`{"v":1,"type":"set_colour","ignorable":true,"body":{"colour":"red"}}`,
		`{"v":9,"type":"remove_node","ignorable":true,"body":{"later":1}}`,
	} {
		b := cluster(t, 1)
		before := withoutVersion(t, b.state())
		result, events, err := b.store.Apply([]byte(data), b.index+1)
		if err != nil || result != nil || !events.Empty() || withoutVersion(t, b.state()) != before || b.state().Version() != b.index+1 {
			t.Errorf("%s: result %v, events %+v, error %v", data, result, events, err)
		}
	}
}

func TestApplyWantsAscendingIndexes(t *testing.T) {
	b := cluster(t, 1)
	data, err := Encode(RemoveNode{ID: nodeID(0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{0, b.index - 1, b.index} {
		if _, _, err := b.store.Apply(data, index); !errors.Is(err, ErrIndexOrder) {
			t.Errorf("index %d after %d: %v", index, b.index, err)
		}
	}
	if _, _, err := b.store.Apply(data, b.index+100); err != nil {
		t.Errorf("a gap left by entries that are no commands: %v", err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	b := exampleStore(t)
	good, err := b.store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(good, []byte("\n"))
	edit := func(old, new string) []byte {
		if !bytes.Contains(body, []byte(old)) {
			t.Fatalf("the snapshot does not contain %s", old)
		}
		changed := bytes.Replace(body, []byte(old), []byte(new), 1)
		return append(snapshotHeader(SnapshotVersion, changed), changed...)
	}
	later := bytes.Replace(body, []byte(`,"state":"joined"`), []byte(`,"replicas_max":5,"state":"joined"`), 1)
	flip := func(at int) []byte {
		c := bytes.Clone(good)
		c[at] ^= 4
		return c
	}
	for _, c := range []struct {
		name string
		data []byte
		err  error
	}{
		{"nothing", nil, ErrCorruptSnapshot},
		{"cut", good[:len(good)-1], ErrCorruptSnapshot},
		{"longer", append(bytes.Clone(good), 'x'), ErrCorruptSnapshot},
		{"header only", snapshotHeader(1, nil), ErrCorruptSnapshot},
		{"flipped bit in the version", flip(len(snapshotMagic) + 1), ErrCorruptSnapshot},
		{"flipped bit in the body", flip(len(good) / 2), ErrCorruptSnapshot},
		{"newer", append(snapshotHeader(SnapshotVersion+1, body), body...), ErrNewerSnapshot},
		{"field of a later version", append(snapshotHeader(1, later), later...), ErrCorruptSnapshot},
		{"unknown field", edit(`{"version"`, `{"x":1,"version"`), ErrCorruptSnapshot},
		{"gap in the key space", edit(`"start":"0"`, `"start":"1"`), ErrCorruptSnapshot},
		{"group used twice", edit(`"first":3,"count":2`, `"first":2,"count":2`), ErrCorruptSnapshot},
		{"next group in use", edit(`"next_group":6`, `"next_group":5`), ErrCorruptSnapshot},
		{"next stream in use", edit(`"next_stream":4`, `"next_stream":2`), ErrCorruptSnapshot},
		{"one name twice", edit(`"name":"logs"`, `"name":"orders"`), ErrCorruptSnapshot},
		{"creating with all leaders", edit(`"state":"active"`, `"state":"creating"`), ErrCorruptSnapshot},
		{"node out of range", edit(`"initial":[0,`, `"initial":[9,`), ErrCorruptSnapshot},
		{"failover from the future", edit(`"next_failover":2`, `"next_failover":1`), ErrCorruptSnapshot},
		{"node order", edit(`"id":"node-01"`, `"id":"node-04"`), ErrCorruptSnapshot},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := b.state()
			if err := b.store.Restore(c.data); !errors.Is(err, c.err) || b.state() != before {
				t.Errorf("error %v, want %v; changed: %v", err, c.err, b.state() != before)
			}
		})
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, typ := range sortedTypes() {
		data, err := Encode(exampleCommands()[typ])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range append(secondCommands(), thirdCommands()...) {
		data, err := Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"v":1,"type":"x","ignorable":true,"body":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrMalformedCommand) && !errors.Is(err, ErrUnknownCommand) && !errors.Is(err, ErrNewerCommand) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		b := exampleStore(t)
		result, _, err := b.store.Apply(data, b.index+1)
		if err != nil {
			t.Fatalf("decoded, not applied: %v", err)
		}
		if err := b.state().check(); err != nil {
			t.Fatalf("%+v (%v) broke an invariant: %v", c, result, err)
		}
		if c == nil {
			return
		}
		once, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := Encode(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("error %v\n%s\n%s", err, once, twice)
		}
	})
}

// The fuzzer sees the body only; a checksum it would never guess.
func FuzzDecodeSnapshot(f *testing.F) {
	for _, b := range []*bench{exampleStore(f), secondStore(f), newBench(f)} {
		data, err := b.store.Snapshot()
		if err != nil {
			f.Fatal(err)
		}
		header, body, _ := bytes.Cut(data, []byte("\n"))
		f.Add(body, true)
		f.Add(header, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, body bool) {
		if body {
			data = append(snapshotHeader(SnapshotVersion, data), data...)
		}
		s, err := DecodeState(data)
		if err != nil {
			if !errors.Is(err, ErrCorruptSnapshot) && !errors.Is(err, ErrNewerSnapshot) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		once, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeState(once)
		if err != nil {
			t.Fatal(fmt.Errorf("what was read cannot be written and read again: %w", err))
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("error %v (-once +twice):\n%s", err, cmp.Diff(string(once), string(twice)))
		}
	})
}
