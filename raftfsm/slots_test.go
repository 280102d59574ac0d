package raftfsm

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// slowMachine is a listMachine whose Apply waits while held is open.
type slowMachine struct {
	listMachine
	held chan struct{}
}

func (m *slowMachine) Apply(e []Entry) []any {
	<-m.held
	return m.listMachine.Apply(e)
}

// TestBusyGroupsDelayNobodysSnapshot: groups whose state machines are busy for long (one that fetches a
// log, say) do not keep the others from taking snapshots.
func TestBusyGroupsDelayNobodysSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 23, 1)
		c.options = func(o *HostOptions) { o.SnapshotEntries = 10 }
		n := c.nodes[c.ids[0]]
		n.open()
		held := make(chan struct{})
		for id := range uint64(snapshotWorkers) {
			if _, err := n.host.StartGroup(GroupOptions{ID: id + 1, FSM: &slowMachine{held: held}, Bootstrap: c.members()}); err != nil {
				t.Fatal(err)
			}
		}
		free := n.startGroup(100, c.members())
		time.Sleep(10 * time.Second)
		for id := range uint64(snapshotWorkers) {
			n.host.Group(id + 1).Propose([]byte("x"))
		}
		time.Sleep(time.Second)
		for id := range uint64(snapshotWorkers) {
			n.host.RequestSnapshot(id + 1) // as the journal does
		}
		time.Sleep(time.Second)
		for i := range 50 {
			if _, err := free.Propose(fmt.Appendf(nil, "%d", i)).Wait(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		if at, _ := free.stores.snapshots.position(); at == 0 {
			t.Error("no snapshot of an idle group in ten minutes, because two others are busy")
		}
		close(held)
		c.close()
	})
}
