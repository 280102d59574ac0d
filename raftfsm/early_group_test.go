package raftfsm

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/vfs"
)

// slowSnapshots is a listMachine whose snapshots are written when gate is closed.
type slowSnapshots struct {
	listMachine
	gate chan struct{}
}

type slowSnapshot struct {
	Snapshot
	gate chan struct{}
}

func (s slowSnapshot) Persist(w io.Writer) error {
	<-s.gate
	return s.Snapshot.Persist(w)
}

func (m *slowSnapshots) Snapshot() (Snapshot, error) {
	s, err := m.listMachine.Snapshot()
	return slowSnapshot{s, m.gate}, err
}

// TestCompactionKeepsEarlyEntries: a snapshot of all that is durable comes to its end while more entries
// than the log keeps behind it are under way. What goes then is a prefix, not everything.
func TestCompactionKeepsEarlyEntries(t *testing.T) {
	for _, burst := range []int{3, DefaultTrailingLogs} {
		t.Run(fmt.Sprint(burst), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 31, 1, 1)
				c.options = func(o *HostOptions) { o.TrailingLogs, o.SnapshotEntries = uint64(burst), 1<<40 }
				n := c.nodes[c.ids[0]]
				n.open()
				m := &slowSnapshots{gate: make(chan struct{})}
				g, err := n.host.StartGroup(GroupOptions{ID: 1, FSM: m, Bootstrap: c.members()})
				if err != nil {
					t.Fatal(err)
				}
				for !g.IsLeader() {
					time.Sleep(10 * time.Millisecond)
				}
				proposeMany(t, g, 0, 300)
				taken := make(chan error, 1)
				go func() { taken <- g.Snapshot() }()
				synctest.Wait() // the state is captured
				n.fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true})
				var futures []Future
				for i := range burst {
					futures = append(futures, g.Propose(fmt.Appendf(nil, "early %d", i)))
				}
				synctest.Wait()
				close(m.gate)
				synctest.Wait()
				n.fault.Release()
				for _, f := range futures {
					if _, err := f.Wait(); err != nil {
						t.Fatal(err)
					}
				}
				if err := <-taken; err != nil {
					t.Fatal(err)
				}
				if _, last := n.journal.Bounds(1); last != g.LastIndex() {
					t.Errorf("the journal ends at %d, the log at %d", last, g.LastIndex())
				}
				n.stop()
				n.open()
				again := &listMachine{}
				if _, err := n.host.StartGroup(GroupOptions{ID: 1, FSM: again}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if got := len(again.list()); got != 300+burst {
					t.Errorf("%d of %d acknowledged entries are left after a restart", got, 300+burst)
				}
				c.close()
			})
		})
	}
}

// TestGroupStopsAfterItsEarlyEntries: a group that is started again must find in the journal what it had handed over.
func TestGroupStopsAfterItsEarlyEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 32, 3, 1, 2)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		proposeMany(t, l.host.Group(1), 0, 10)
		c.agree(1, 10)
		c.net.isolate(l.id, c.ids, true)
		l.fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true})
		for range 3 {
			go func() { _, _ = l.host.Group(1).Propose([]byte("early")).Wait() }()
		}
		synctest.Wait()
		time.AfterFunc(time.Second, l.fault.Release)
		l.host.StopGroup(1)
		g := l.startGroup(1, nil)
		if _, last := l.journal.Bounds(1); last != g.LastIndex() {
			t.Errorf("the group begins with %d entries, the journal has %d", g.LastIndex(), last)
		}
		c.net.isolate(l.id, c.ids, false)
		proposeMany(t, c.leader(1).host.Group(1), 10, 15)
		time.Sleep(20 * time.Second)
		for _, id := range c.groups {
			if err := l.host.Group(id).Failure(); err != nil {
				t.Errorf("group %d: %v", id, err)
			}
		}
		c.close()
	})
}

// TestLeaderAnswersUnderLoad: there are always entries under way then, and the answer to a request waits only for
// those that were when it was made.
func TestLeaderAnswersUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 33, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		l.fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Times: vfs.Forever, Delay: 2 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		for range 8 {
			go func() {
				for ctx.Err() == nil {
					_, _ = l.host.Group(1).Propose([]byte("load")).Wait()
				}
			}()
			time.Sleep(300 * time.Microsecond)
		}
		time.Sleep(time.Second)
		trans := l.host.Group(1).current.Load().trans
		answered := make(chan struct{})
		go func() {
			trans.deliver(inbound{command: &raft.RequestPreVoteRequest{RPCHeader: rpcHeader([]byte("node-0")), Term: 1}})
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(time.Second):
			t.Error("no answer within a second")
		}
		cancel()
		<-answered
		c.close()
	})
}
