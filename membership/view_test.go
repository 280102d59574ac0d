package membership

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

func testView(t *testing.T) *view {
	t.Helper()
	v, err := newView(Meta{NodeID: "self", Name: "self"}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func peer(t *testing.T, m Meta, port uint16) *memberlist.Node {
	t.Helper()
	data, err := EncodeMeta(m)
	if err != nil {
		t.Fatal(err)
	}
	return &memberlist.Node{Name: m.NodeID, Addr: net.IPv4(10, 0, 0, 1), Port: port, Meta: data}
}

func TestEventsKeepTheLatestPerNode(t *testing.T) {
	v := testView(t)
	for i := range 1000 {
		v.NotifyUpdate(peer(t, Meta{NodeID: fmt.Sprintf("n%d", i%3), Zone: fmt.Sprint(i)}, uint16(1+i%3)))
	}
	v.NotifyLeave(&memberlist.Node{Name: "n1"})
	v.NotifyLeave(&memberlist.Node{Name: "never seen"})
	<-v.changed
	var got []string
	for _, e := range v.take() {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Node.NodeID, " ", e.Node.Zone, " ", e.Node.State))
	}
	want := []string{"changed n0 999 alive", "changed n1 997 dead", "changed n2 998 alive"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if more := v.take(); len(more) != 0 {
		t.Errorf("taken twice: %v", more)
	}
}

func TestLostNodesAreBounded(t *testing.T) {
	v := testView(t)
	for i := range 2 * lostNodesMax {
		p := peer(t, Meta{NodeID: fmt.Sprintf("n%06d", i), Name: fmt.Sprint(i)}, 1)
		v.NotifyJoin(p)
		v.NotifyLeave(p)
	}
	if len(v.known) != lostNodesMax || v.lost != lostNodesMax || len(v.pending) != lostNodesMax {
		t.Errorf("%d known, %d lost, %d pending, want %d of each", len(v.known), v.lost, len(v.pending), lostNodesMax)
	}
	if _, ok := v.node(fmt.Sprintf("n%06d", 2*lostNodesMax-1)); !ok {
		t.Error("the latest was forgotten")
	}
}

func TestNameConflictIsReportedOncePerPairAndAgainAfterItEnded(t *testing.T) {
	v := testView(t)
	a, b := peer(t, Meta{NodeID: "a", Name: "twin"}, 1), peer(t, Meta{NodeID: "b", Name: "twin"}, 2)
	conflicts := func() int {
		n := 0
		for _, e := range v.take() {
			if e.Kind == EventNameConflict {
				n++
			}
		}
		return n
	}
	v.NotifyJoin(a)
	v.NotifyJoin(b)
	if n := conflicts(); n != 1 {
		t.Errorf("%d conflicts, want 1", n)
	}
	v.NotifyUpdate(a)
	v.NotifyUpdate(b)
	if n := conflicts(); n != 0 {
		t.Errorf("%d conflicts while it stands, want 0", n)
	}
	v.NotifyLeave(a)
	v.NotifyJoin(a)
	if n := conflicts(); n != 1 {
		t.Errorf("%d conflicts after it came back, want 1", n)
	}
	// A wiped node comes back at its address under a new id before its death was noticed.
	v.NotifyJoin(peer(t, Meta{NodeID: "c", Name: "other"}, 7))
	v.NotifyJoin(peer(t, Meta{NodeID: "d", Name: "other"}, 7))
	if n := conflicts(); n != 0 {
		t.Errorf("%d conflicts for a wiped node, want 0", n)
	}
}

func TestNotifyAliveRefusesNonsense(t *testing.T) {
	v := testView(t)
	lies := peer(t, Meta{NodeID: "a"}, 1)
	lies.Name = "b"
	for _, p := range []*memberlist.Node{lies, {Name: "x", Meta: []byte("{")}, {Name: "x"}, {Name: "x", Meta: []byte(`{"v":9,"i":"x"}`)}} {
		if err := v.NotifyAlive(p); !errors.Is(err, ErrMetaInvalid) {
			t.Errorf("%s: %v", p.Meta, err)
		}
		v.NotifyJoin(p)
	}
	if len(v.known) != 0 {
		t.Errorf("known: %v", v.known)
	}
	if err := v.setSelf(Meta{NodeID: "self", ClusterID: "one"}); err != nil {
		t.Fatal(err)
	}
	if err := v.NotifyAlive(peer(t, Meta{NodeID: "a", ClusterID: "two"}, 1)); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("other cluster: %v", err)
	}
}

func TestMetaGolden(t *testing.T) {
	m := Meta{
		NodeID: "5f0c6c5e-0f43-4b6e-9d0e-0b8c5a1f2d3e", Name: "node-1", ClusterID: "0d9fb1b1-1d5c-4a43-8d6b-9f3d1f5b7a11", Incarnation: 7,
		RaftAddr: "10.0.0.1:7401", GRPCAddr: "10.0.0.1:7400", HTTPAddr: "10.0.0.1:7403", Zone: "a", Roles: []string{"ingest", "storage"},
		DiskClass: "ssd", Bootstrapped: true, Full: true, Leaving: true, Format: 1,
	}
	want := `{"v":1,"i":"5f0c6c5e-0f43-4b6e-9d0e-0b8c5a1f2d3e","n":"node-1","c":"0d9fb1b1-1d5c-4a43-8d6b-9f3d1f5b7a11","k":7,` +
		`"r":"10.0.0.1:7401","g":"10.0.0.1:7400","h":"10.0.0.1:7403","z":"a","o":["ingest","storage"],"d":"ssd","b":true,"u":true,"l":true,"f":1}`
	got, err := EncodeMeta(m)
	if err != nil || string(got) != want {
		t.Fatalf("error %v, got\n%s\nwant\n%s", err, got, want)
	}
	back, err := DecodeMeta(got)
	if diff := cmp.Diff(m, back); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if _, err := DecodeMeta([]byte(`{"v":1,"i":"x","later":[1]}`)); err != nil {
		t.Errorf("an addition of a later release: %v", err)
	}
}

func TestRepeatedComplaintsGoToDebug(t *testing.T) {
	var out bytes.Buffer
	l := newLineLogger(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info}))
	for i := range 50 {
		l.Printf("[ERR] memberlist: stranger 10.0.0.%d", i)
		l.Printf("[DEBUG] memberlist: detail %d", i)
		l.Printf("[INFO] memberlist: detail %d", i)
	}
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "[ERROR]") {
		t.Errorf("%d lines:\n%s", got, out.String())
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add([]byte(`{"v":1,"i":"x","n":"y","o":["a"]}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMeta(data)
		if err != nil {
			if !errors.Is(err, ErrMetaInvalid) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		again, err := EncodeMeta(m)
		if errors.Is(err, ErrMetaTooLarge) {
			return // escapes and the omitted version can make it longer
		}
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeMeta(again)
		if err != nil || !cmp.Equal(m, back, cmp.Comparer(func(a, b []string) bool { return len(a) == len(b) && strings.Join(a, ",") == strings.Join(b, ",") })) {
			t.Fatalf("error %v, %+v became %+v", err, m, back)
		}
	})
}

// What a node has to say later must fit from the start: its cluster's id most of all.
func TestMetaLeavesRoomForTheClusterID(t *testing.T) {
	m := Meta{NodeID: strings.Repeat("i", 36), Name: strings.Repeat("n", 128), Zone: "", Format: 1}
	for range 512 {
		m.Zone += "z"
		v, err := newView(m, hclog.NewNullLogger())
		if err != nil {
			if !errors.Is(err, ErrMetaTooLarge) {
				t.Fatal(err)
			}
			return
		}
		later := m
		later.ClusterID, later.Bootstrapped, later.Full = strings.Repeat("c", 36), true, true
		if err := v.setSelf(later); err != nil {
			t.Fatalf("a zone of %d bytes is taken at the start, and then: %v", len(m.Zone), err)
		}
	}
}
