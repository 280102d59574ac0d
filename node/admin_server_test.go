package node

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// storeOf returns a control state with a number of nodes that have registered.
func storeOf(t *testing.T, nodes int) *meta.Store {
	t.Helper()
	s := meta.NewStore()
	commands := []meta.Command{meta.InitCluster{ClusterID: "c", Name: "test"}}
	for i := range nodes {
		id := fmt.Sprintf("node-%d", i)
		commands = append(commands, meta.RegisterNode{ID: id, Name: id, Incarnation: 1, Addresses: meta.Addresses{Raft: "127.0.0.1:1"}, Roles: []string{"storage"}})
	}
	for i, c := range commands {
		apply(t, s, c, uint64(i)+1)
	}
	return s
}

func apply(t *testing.T, s *meta.Store, c meta.Command, index uint64) {
	t.Helper()
	data, err := meta.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	result, _, err := s.Apply(data, index)
	if refused, ok := result.(error); ok || err != nil {
		t.Fatal(refused, err)
	}
}

// A stream that is created with defaults while the second and third node have
// still to register must not get a single replica for ever.
func TestDefaultReplicas(t *testing.T) {
	for _, c := range []struct {
		joined, expect, want int // want 0: not now
	}{{1, 1, 1}, {2, 2, 1}, {1, 3, 0}, {2, 3, 0}, {3, 3, 3}, {3, 1, 3}} {
		n := &Node{cfg: configs.Defaults()}
		n.cfg.Cluster.ExpectNodes = c.expect
		s, err := n.settingsFrom(storeOf(t, c.joined).State(), &pb.StreamSettings{})
		if c.want == 0 {
			if fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%d of %d: %d replicas, %v, want unavailable", c.joined, c.expect, s.Replicas, err)
			}
			continue
		}
		if err != nil || s.Replicas != c.want {
			t.Errorf("%d of %d: %d replicas, %v, want %d", c.joined, c.expect, s.Replicas, err, c.want)
		}
	}
}

// A DeleteStream whose answer was lost is proposed again. By then somebody may
// have created a stream of that name: it must stay.
func TestDeleteProposedTwiceSparesANewStream(t *testing.T) {
	s := storeOf(t, 1)
	create := meta.CreateStream{Name: "s", Settings: meta.Settings{Replicas: 1}.WithDefaults(), Placement: [][]string{{"node-0"}}}
	apply(t, s, create, 10)
	remove := deleteCommand(s.State(), "s", 1)
	apply(t, s, remove, 11)
	create.Time = 2
	apply(t, s, create, 12)
	apply(t, s, remove, 13)
	if _, ok := s.State().StreamByName("s"); !ok {
		t.Error("the second proposal deleted the stream that was created since")
	}
}

// limits.record_bytes_max bounds a stream when it is made and when it is changed, and the default.
func TestRecordBytesMaxBoundsStreams(t *testing.T) {
	n := &Node{cfg: configs.Defaults(), now: time.Now, metaStore: storeOf(t, 3)}
	n.cfg.Limits.RecordBytesMax = 64 * configs.KiB
	if s, err := n.settingsFrom(n.metaStore.State(), &pb.StreamSettings{}); err != nil || s.MaxRecordBytes != 64<<10 {
		t.Errorf("by default: %d, %v", s.MaxRecordBytes, err)
	}
	most := uint32(64<<10 + 1)
	if _, err := n.settingsFrom(n.metaStore.State(), &pb.StreamSettings{MaxRecordBytes: most}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("create: %v", err)
	}
	if _, err := (&adminServer{n: n}).UpdateStream(t.Context(), &pb.UpdateStreamRequest{Name: "s", MaxRecordBytes: &most}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("update: %v", err)
	}
}
