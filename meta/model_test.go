package meta

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// A model is what must hold whatever is proposed, kept in the simplest form.
type model struct {
	groups  map[uint64]string // every group ever seen, with its stream id and shard number
	streams map[uint64]string // every stream id ever seen, with its name
	names   map[string]uint64 // live streams
	terms   map[uint64]uint64 // highest term by live group
	retired map[NodeID]bool
}

func (m *model) observe(t *rapid.T, c Command, result any, s *State) {
	if err := s.check(); err != nil {
		t.Fatalf("after %+v: %v", c, err)
	}
	live := map[string]uint64{}
	for st := range s.Streams() {
		if was, ok := m.streams[st.ID]; ok && was != st.Name {
			t.Fatalf("stream id %d was %s and is %s", st.ID, was, st.Name)
		}
		m.streams[st.ID] = st.Name
		if _, twice := live[st.Name]; twice {
			t.Fatalf("two streams are named %s", st.Name)
		}
		live[st.Name] = st.ID
		for sh := range st.Shards() {
			owner := fmt.Sprintf("%d/%d", st.ID, sh.Number)
			if was, ok := m.groups[sh.Group]; ok && was != owner {
				t.Fatalf("group %d was %s and is %s", sh.Group, was, owner)
			}
			m.groups[sh.Group] = owner
			if sh.Term < m.terms[sh.Group] {
				t.Fatalf("the term of group %d went from %d to %d", sh.Group, m.terms[sh.Group], sh.Term)
			}
			m.terms[sh.Group] = sh.Term
		}
	}
	// The names follow from the commands alone.
	switch _, failed := result.(*fault.Error); c := c.(type) {
	case CreateStream:
		if !failed {
			m.withinLimits(t, c, result.(StreamResult), s)
			m.names[c.Name] = live[c.Name]
		}
	case DeleteStream:
		if r, ok := result.(StreamResult); ok && r.Changed {
			delete(m.names, c.Name)
		}
	}
	if diff := cmp.Diff(m.names, live); diff != "" {
		t.Fatalf("live streams after %+v (-want +got):\n%s", c, diff)
	}
	for _, n := range s.Nodes() {
		if m.retired[n.ID] && n.State == NodeJoined {
			t.Fatalf("node %s came back", n.ID)
		}
		m.retired[n.ID] = n.State != NodeJoined
	}
	for group, owner := range m.groups {
		if _, ok := s.ShardByGroup(group); ok == s.GroupDeleted(group) {
			t.Fatalf("group %d of %s is live: %v, and deleted: %v", group, owner, ok, s.GroupDeleted(group))
		}
	}
}

// withinLimits wants a stream that was created to keep to the limits of the command and of the nodes.
func (m *model) withinLimits(t *rapid.T, c CreateStream, r StreamResult, s *State) {
	if !r.Changed {
		return
	}
	if c.StreamsMax > 0 && s.StreamCount() > c.StreamsMax {
		t.Fatalf("%d streams, %d are allowed", s.StreamCount(), c.StreamsMax)
	}
	for _, replicas := range c.Placement {
		for _, id := range replicas {
			if n, _ := s.Node(id); n.ReplicasMax > 0 && s.HeldReplicas(id) > n.ReplicasMax {
				t.Fatalf("node %s holds %d replicas, it takes %d", id, s.HeldReplicas(id), n.ReplicasMax)
			}
		}
	}
}

func drawCommand(t *rapid.T, s *State, now int64) Command {
	name := func() string { return rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name") }
	node := func() NodeID { return nodeID(rapid.IntRange(0, 9).Draw(t, "node")) }
	group := func() uint64 { return rapid.Uint64Range(0, max(20, s.nextGroup)).Draw(t, "group") }
	term := func() uint64 { return rapid.Uint64Range(0, 6).Draw(t, "term") }
	hints := Hints{}
	for _, n := range s.Nodes() {
		hints[n.ID] = Hint{Alive: rapid.IntRange(0, 4).Draw(t, "alive") > 0, DeadSince: 1}
	}
	switch rapid.IntRange(0, 15).Draw(t, "command") {
	case 10, 11, 12:
		return drawReshard(t, s, hints, now)
	case 13:
		return drawScaling(t, s, now)
	case 0, 1:
		c := register(rapid.IntRange(0, 9).Draw(t, "node"))
		c.Name = fmt.Sprintf("n%d", rapid.IntRange(0, 6).Draw(t, "name"))
		c.Incarnation = rapid.Uint64Range(0, 3).Draw(t, "incarnation")
		c.ReplicasMax = rapid.IntRange(0, 12).Draw(t, "replicas max")
		return c
	case 2:
		return RemoveNode{ID: node(), Time: now}
	case 3, 4:
		c := CreateStream{Name: name(), Settings: settings(rapid.IntRange(1, 5).Draw(t, "shards"), rapid.SampledFrom([]int{1, 3}).Draw(t, "replicas")), Time: now}
		c.Placement, _ = Place(s, hints, c.Settings)
		c.StreamsMax = rapid.IntRange(0, 3).Draw(t, "streams max")
		return c
	case 5:
		return DeleteStream{Name: name(), TombstonesMax: rapid.IntRange(0, 3).Draw(t, "tombstones"), Time: now}
	case 6:
		return UpdateStream{Name: name(), RetentionBytes: ptr(rapid.Int64Range(-1, 3).Draw(t, "bytes")), Time: now}
	case 7:
		c := ReportLeaders{Time: now}
		for range rapid.IntRange(0, 5).Draw(t, "reports") {
			c.Leaders = append(c.Leaders, LeaderReport{Group: group(), Node: node(), Term: term()})
		}
		return c
	case 8:
		st := GroupStatus{Group: group(), Node: node(), Term: term(), DesiredVersion: rapid.Uint64Range(0, 50).Draw(t, "for")}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			st.Members = append(st.Members, Member{node(), rapid.Bool().Draw(t, "voter"), rapid.Uint64().Draw(t, "lag")})
		}
		return ReplicaStatus{Statuses: []GroupStatus{st}, Time: now}
	}
	if repairs := Repair(s, hints, now+1_000_000_000); len(repairs) > 0 {
		return repairs[0]
	}
	return SetReplicas{Group: group(), Replicas: []NodeID{node(), node()}, Time: now}
}

// drawReshard draws a command about reshards, more often than not one that can succeed.
func drawReshard(t *rapid.T, s *State, hints Hints, now int64) Command {
	number := rapid.Uint64Range(0, s.nextReshard).Draw(t, "reshard")
	if len(s.active) > 0 && rapid.IntRange(0, 4).Draw(t, "an active one") > 0 {
		number = rapid.SampledFrom(s.active).Draw(t, "active")
	}
	id := rapid.SampledFrom([]string{"", "one", "two", "three", fmt.Sprint("op", now)}).Draw(t, "id")
	stream, shard := rapid.Uint64Range(0, s.nextStream).Draw(t, "stream"), rapid.Uint32Range(0, 8).Draw(t, "shard")
	st := s.streams.get(stream)
	if st != nil {
		shard = rapid.SampledFrom(st.open).Draw(t, "open").number
	}
	switch rapid.IntRange(0, 9).Draw(t, "about a reshard") {
	case 0, 1:
		return SealReshard{Number: number, Time: now}
	case 2, 3:
		c := FinishReshard{Number: number, Time: now}
		if r, ok := s.Reshard(number); ok {
			c.Ends = make([]ShardEnd, len(r.Parents))
		}
		return c
	case 4:
		return AbortReshard{Number: number, Time: now}
	case 5:
		c := DropShards{StreamID: stream, Shards: []uint32{shard, rapid.Uint32Range(0, 8).Draw(t, "drop")}, Time: now}
		if st != nil {
			for sh := range st.Shards() {
				if sh.State == ShardClosed {
					c.Shards = append(c.Shards, sh.Number)
				}
			}
			c.Shards = c.Shards[2:]
		}
		return c
	case 6:
		if rapid.Bool().Draw(t, "cancel") {
			return CancelGoal{StreamID: stream, ID: id, Time: now}
		}
		return SetGoal{ID: id, StreamID: stream, Shards: rapid.IntRange(0, 6).Draw(t, "shards"), ShardsMax: rapid.IntRange(-1, 6).Draw(t, "shards max"), Time: now}
	}
	c := BeginReshard{ID: id, StreamID: stream, Parents: []uint32{shard}, ShardsMax: rapid.IntRange(0, 6).Draw(t, "shards max"), Time: now}
	settings := settings(1, 1)
	if st != nil {
		settings = st.Settings
		i := slices.IndexFunc(st.open, func(o openShard) bool { return o.number == shard })
		if i > 0 && rapid.Bool().Draw(t, "merge") {
			c.Parents = []uint32{st.open[i-1].number, shard}
		} else if parts := st.Shard(shard).Range.SplitEven(2); parts != nil {
			c.Bounds = []hashkey.Key{parts[1].Start}
		}
	}
	settings.Shards = len(c.Bounds) + 1
	c.Placement, _ = Place(s, hints, settings)
	return c
}

// drawScaling draws a command about scaling, or about documents.
func drawScaling(t *rapid.T, s *State, now int64) Command {
	stream := rapid.Uint64Range(0, s.nextStream).Draw(t, "stream")
	switch rapid.IntRange(0, 3).Draw(t, "about scaling") {
	case 0:
		return SetScaling{StreamID: stream, Scaling: CompleteScaling(Scaling{ShardsMax: rapid.IntRange(0, 4).Draw(t, "shards max"), SaltParts: rapid.IntRange(0, 3).Draw(t, "salt")}), Time: now}
	case 1:
		kind := rapid.SampledFrom([]ScalingKind{ScalingSplit, ScalingHeldBack, "other"}).Draw(t, "kind")
		return LogScaling{ScalingEvent{StreamID: stream, Time: now, Kind: kind, Reason: "because"}}
	}
	if rapid.Bool().Draw(t, "a document") {
		c := PutDocument{StreamID: stream, Name: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "name"), Remove: rapid.Bool().Draw(t, "remove"), Writer: fmt.Sprint(now)}
		if have := s.documents.Get(c.Name); stream == 0 && have != nil && rapid.Bool().Draw(t, "expected") {
			c.Expect = have.Version
		}
		return c
	}
	return SaltKey{StreamID: stream, Key: hashkey.Key{Lo: rapid.Uint64Range(0, 3).Draw(t, "key")}, Parts: rapid.IntRange(0, 3).Draw(t, "parts"), Time: now}
}

// Two copies take the same commands; at every point one may be replaced by what
// its snapshot holds. The copies never differ, old states never change, and the
// invariants hold.
func TestStateModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{groups: map[uint64]string{}, streams: map[uint64]string{}, names: map[string]uint64{}, terms: map[uint64]uint64{}, retired: map[NodeID]bool{}}
		one, two := NewStore(), NewStore()
		var kept []*State
		var keptBytes [][]byte
		index := uint64(0)
		apply := func(c Command) any {
			data, err := Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			index++
			wake := one.Watch(index - 1)
			result, events, err := one.Apply(data, index)
			if err != nil {
				t.Fatal(err)
			}
			<-wake
			result2, events2, err := two.Apply(data, index)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fmt.Sprintf("%+v %+v", result, events), fmt.Sprintf("%+v %+v", result2, events2)); diff != "" {
				t.Fatalf("two copies answered differently:\n%s", diff)
			}
			return result
		}
		apply(InitCluster{ClusterID: "c", Name: "n"})
		for i := range 4 {
			apply(register(i))
		}
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			c := drawCommand(t, one.State(), int64(1000+step))
			m.observe(t, c, apply(c), one.State())
			a, err := one.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := two.Snapshot(); err != nil || !bytes.Equal(a, b) {
				t.Fatalf("two copies differ (error %v) after %+v:\n%s", err, c, cmp.Diff(string(a), string(b)))
			}
			if rapid.IntRange(0, 9).Draw(t, "restore") == 0 {
				if err := two.Restore(a); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "keep") == 0 {
				kept, keptBytes = append(kept, one.State()), append(keptBytes, a)
			}
		}
		for i, s := range kept {
			if data, err := s.Encode(); err != nil || !bytes.Equal(data, keptBytes[i]) {
				t.Fatalf("a state that was kept changed (error %v):\n%s", err, cmp.Diff(string(keptBytes[i]), string(data)))
			}
		}
	})
}

// Routing agrees with a search through all open shards.
func TestShardForHashModel(t *testing.T) {
	b := cluster(t, 3)
	for _, shards := range []int{1, 2, 3, 7, 64, 1000} {
		st := b.create(fmt.Sprint("s", shards), shards, 1)
		rapid.Check(t, func(t *rapid.T) {
			key := hashkey.Key{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
			want := slices.IndexFunc(slices.Collect(st.Shards()), func(s *Shard) bool { return s.Range.Contains(key) })
			if got, ok := b.state().ShardForHash(st.ID, key); !ok || int(got.Number) != want {
				t.Fatalf("key %s goes to shard %+v, want %d", key, got, want)
			}
		})
	}
}
