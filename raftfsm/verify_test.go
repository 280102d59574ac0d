package raftfsm

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestOldAnswersDoNotVerifyALeader: the answer to a heartbeat that was sent before the question says
// nothing about who leads now.
func TestOldAnswersDoNotVerifyALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 24, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		old := c.leader(1)
		proposeMany(t, old.host.Group(1), 0, 3)
		c.agree(1, 3)
		at := slices.Index(c.ids, old.id)
		next, third := c.nodes[c.ids[(at+1)%3]], c.nodes[c.ids[(at+2)%3]]
		c.net.stall(next.id, old.id, true)
		c.net.stall(third.id, old.id, true)
		time.Sleep(250 * time.Millisecond) // heartbeats of the old leader are answered; the answers are under way
		if !next.host.Group(1).campaign(old.id, nil) {
			t.Fatal("no campaign")
		}
		time.Sleep(20 * time.Millisecond)
		if !next.host.Group(1).IsLeader() {
			t.Fatal("not elected")
		}
		proposeMany(t, next.host.Group(1), 3, 4) // acknowledged by the new leader
		if !old.host.Group(1).IsLeader() {
			t.Fatal("the old leader knows already")
		}
		verified := make(chan error, 1)
		go func() {
			_, err := old.host.Group(1).ReadIndex()
			verified <- err
		}()
		time.Sleep(time.Millisecond)
		c.net.stall(third.id, old.id, false)
		if err := <-verified; err == nil {
			t.Errorf("the old leader is verified with %d of 4 commands", len(old.machines[1].list()))
		}
		c.net.stall(next.id, old.id, false)
		c.agree(1, 4)
		c.close()
	})
}

// heldMachine is a listMachine that applies nothing while it is held.
type heldMachine struct {
	listMachine
	held atomic.Pointer[chan struct{}]
}

// Apply implements StateMachine.
func (m *heldMachine) Apply(entries []Entry) []any {
	if until := m.held.Load(); until != nil {
		<-*until
	}
	return m.listMachine.Apply(entries)
}

// TestReadIndexIsWhatOthersHaveApplied holds up the leader's state machine: what a follower has applied meanwhile, the leader has
// to apply before it may say what there is.
func TestReadIndexIsWhatOthersHaveApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 25, 3, 1)
		machines := map[string]*heldMachine{}
		for _, id := range c.ids {
			n := c.nodes[id]
			n.open()
			m := &heldMachine{}
			machines[id], n.machines[1] = m, &m.listMachine
			if _, err := n.host.StartGroup(GroupOptions{ID: 1, FSM: m, Bootstrap: c.members()}); err != nil {
				t.Fatal(err)
			}
		}
		l := c.leader(1)
		g := l.host.Group(1)
		proposeMany(t, g, 0, 3)
		c.agree(1, 3)
		release := make(chan struct{})
		machines[l.id].held.Store(&release)
		late := g.Propose([]byte("late"))
		time.Sleep(5 * time.Second)
		for _, id := range c.ids {
			if got, want := len(c.nodes[id].machines[1].list()), 4; id != l.id && got != want {
				t.Fatalf("%s has applied %d commands, want %d", id, got, want)
			}
		}
		index, err := g.ReadIndex()
		if err != nil || index <= g.AppliedIndex() {
			t.Errorf("index %d, %v: the leader has applied up to %d, which lacks a command that others show", index, err, g.AppliedIndex())
		}
		machines[l.id].held.Store(nil)
		close(release)
		if _, err := late.Wait(); err != nil {
			t.Fatal(err)
		}
		if g.AppliedIndex() < index {
			t.Errorf("applied up to %d with all there is, which is to reach %d", g.AppliedIndex(), index)
		}
		// What a new leader writes to begin with never reaches the state machine: nobody may wait for that.
		if err := g.TransferLeadership(""); err != nil {
			t.Fatal(err)
		}
		g = c.leader(1).host.Group(1)
		if index, err = g.ReadIndex(); err != nil || index > g.AppliedIndex() || g.CommitIndex() <= g.AppliedIndex() {
			t.Errorf("index %d, %v; applied up to %d, committed up to %d", index, err, g.AppliedIndex(), g.CommitIndex())
		}
		c.close()
	})
}
