package raftfsm

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestReturnedFollowerIsServedSoon takes a follower away for longer and longer, under load. When it is back it has everything within
// moments, however long it was away.
func TestReturnedFollowerIsServedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 11, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		written := 0
		for _, away := range []time.Duration{3 * time.Second, 9 * time.Second, 40 * time.Second} {
			l := c.leader(1)
			victim := c.followerOf(l)
			victim.kill()
			for end := time.Now().Add(away); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				proposeMany(t, l.host.Group(1), written, written+1)
				written++
			}
			victim.run(nil)
			back := time.Now()
			c.agree(1, written)
			if took := time.Since(back); took > 2*time.Second {
				t.Errorf("a follower that was away for %v had everything %v after its return", away, took)
			}
		}
		c.close()
	})
}

// TestSecondFaultAfterAReturn takes the other follower away a second and a half after one has come back: the two that are there go on.
func TestSecondFaultAfterAReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 12, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		first := c.followerOf(l)
		first.kill()
		written := 0
		for range 60 {
			proposeMany(t, l.host.Group(1), written, written+1)
			written++
			time.Sleep(100 * time.Millisecond)
		}
		first.run(nil)
		time.Sleep(1500 * time.Millisecond)
		for _, id := range c.ids {
			if id != l.id && id != first.id {
				c.nodes[id].kill()
			}
		}
		start := time.Now()
		proposeMany(t, l.host.Group(1), written, written+1)
		if took := time.Since(start); took > time.Second {
			t.Errorf("two of three nodes committed nothing for %v", took)
		}
		c.close()
	})
}

// TestHandOverToADeadFollowerEnds: what waits for the follower gives way, or entries would be refused until it is back.
func TestHandOverToADeadFollowerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 13, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		victim := c.followerOf(l)
		victim.kill()
		proposeMany(t, l.host.Group(1), 0, 1)
		for range 3 {
			time.Sleep(5 * time.Second)
			if err := l.host.Group(1).TransferLeadership(victim.id); err == nil {
				t.Error("a node that is dead has taken over")
			}
		}
		time.Sleep(5 * time.Second)
		proposeMany(t, l.host.Group(1), 1, 2)
		c.close()
	})
}

// TestShortAbsence: a connection that cannot be opened once is tried again, also while another to the same node is open.
func TestShortAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		a, b := memTransport(t, n, "a"), memTransport(t, n, "b")
		defer a.Close()
		defer b.Close()
		p, stop := a.peer("b"), make(chan struct{})
		if _, err := p.lane(laneControl, stop); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock() // as after an attempt that failed
		p.lanes[laneBulk].err, p.lanes[laneBulk].next = errTimeout, time.Now().Add(backoffMax)
		p.mu.Unlock()
		start := time.Now()
		if err := p.awaitLane(laneBulk, time.Minute, stop); err != nil || time.Since(start) > 2*backoffMax {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

// followerOf returns a running node that does not lead.
func (c *testCluster) followerOf(l *testNode) *testNode {
	for _, id := range c.ids {
		if n := c.nodes[id]; n != l && n.host != nil {
			return n
		}
	}
	c.t.Fatal("there is no follower")
	return nil
}
