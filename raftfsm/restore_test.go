package raftfsm

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// brokenMachine cannot restore.
type brokenMachine struct{ listMachine }

func (*brokenMachine) Restore(io.Reader) error { return errors.New("too many open files") }

// TestSnapshotThatWasNotRestored: a snapshot that is on disk, but that the state machine did not take, is
// no base for entries.
func TestSnapshotThatWasNotRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 25, 1)
		n := c.nodes[c.ids[0]]
		n.open()
		if _, err := n.host.StartGroup(GroupOptions{ID: 1, FSM: &brokenMachine{}}); err != nil {
			t.Fatal(err)
		}
		leader, err := NewTransport(TransportOptions{
			NodeID: "leader", ClusterID: func() string { return "test" }, Listener: c.net.listen("leader"),
			Dial: c.net.dialer("leader"), Resolve: func(id string) (string, bool) { return id, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer leader.Close()
		g, _ := leader.join(1)
		defer g.leave()
		header := rpcHeader([]byte("leader"))
		servers := raft.Configuration{Servers: []raft.Server{{ID: "leader", Address: "leader"}, {ID: raft.ServerID(n.id), Address: raft.ServerAddress(n.id)}}}
		install := &raft.InstallSnapshotRequest{
			RPCHeader: header, SnapshotVersion: 1, Term: 2, LastLogIndex: 10, LastLogTerm: 2,
			Configuration: raft.EncodeConfiguration(servers), ConfigurationIndex: 1, Size: 2,
		}
		if err := g.InstallSnapshot(raft.ServerID(n.id), "", install, &raft.InstallSnapshotResponse{}, strings.NewReader("[]")); err == nil {
			t.Fatal("installed")
		}
		var a raft.AppendEntriesResponse
		err = g.AppendEntries(raft.ServerID(n.id), "", &raft.AppendEntriesRequest{
			RPCHeader: header, Term: 2, PrevLogEntry: 10, PrevLogTerm: 2, LeaderCommitIndex: 11,
			Entries: []*raft.Log{{Index: 11, Term: 2, Data: []byte("x")}},
		}, &a)
		time.Sleep(time.Second)
		if err != nil || a.Success {
			t.Errorf("%+v, %v: taken upon a snapshot that was not", a, err)
		}
		c.close()
	})
}

// pickyMachine takes no snapshot.
type pickyMachine struct{ listMachine }

func (*pickyMachine) Check(io.Reader) error { return errors.New("not a snapshot") }

// TestRefusedSnapshotReplacesNone: what the state machine would not take does not get the place of the newest snapshot.
func TestRefusedSnapshotReplacesNone(t *testing.T) {
	c := newCluster(t, 26, 1)
	n := c.nodes[c.ids[0]]
	n.open()
	g, err := n.host.StartGroup(GroupOptions{ID: 1, FSM: &pickyMachine{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSnapshot(t, g.stores.snapshots, 10, 2, "garbage"); err == nil {
		t.Error("taken")
	}
	if at, _ := g.stores.snapshots.position(); at != 0 {
		t.Errorf("the newest snapshot is at %d", at)
	}
}
