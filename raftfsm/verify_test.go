package raftfsm

import (
	"slices"
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
		go func() { verified <- old.host.Group(1).VerifyLeader() }()
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
