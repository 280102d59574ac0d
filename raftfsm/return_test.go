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
