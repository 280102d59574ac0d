package raftfsm

import (
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestSnapshotBeyondWhatTheLeaderKnows: a follower takes a snapshot and forgets entries whose answers
// the leader never got. The leader goes on from before them.
func TestSnapshotBeyondWhatTheLeaderKnows(t *testing.T) {
	for name, leaderToo := range map[string]bool{"leader without snapshot": false, "leader with an older snapshot": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 21, 3, 1)
				c.options = func(o *HostOptions) { o.TrailingLogs = 2; o.SnapshotEntries = 1 << 40 }
				for _, id := range c.ids {
					c.nodes[id].run(c.members())
				}
				l := c.leader(1)
				proposeMany(t, l.host.Group(1), 0, 20)
				c.agree(1, 20)
				if leaderToo {
					if err := l.host.Group(1).Snapshot(); err != nil {
						t.Fatal(err)
					}
				}
				victim := c.nodes[c.ids[(slices.Index(c.ids, l.id)+1)%3]]
				c.net.stall(victim.id, l.id, true) // answers are lost, requests arrive
				proposeMany(t, l.host.Group(1), 20, 60)
				c.agree(1, 60)
				if err := victim.host.Group(1).Snapshot(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(40 * time.Second)
				c.net.stall(victim.id, l.id, false)
				time.Sleep(10 * time.Second)
				if !l.host.Group(1).IsLeader() {
					t.Fatal("another leader")
				}
				proposeMany(t, l.host.Group(1), 60, 61)
				time.Sleep(5 * time.Minute)
				if n := len(victim.machines[1].list()); n != 61 {
					t.Errorf("five minutes after the network healed the follower has %d entries of 61", n)
				}
				c.close()
			})
		})
	}
}

// TestMetaLearnerWhoseFirstAnswerIsLost: a new member of the meta group has a snapshot and, in its log,
// only what came after it; the leader did not hear that it has that.
func TestMetaLearnerWhoseFirstAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 22, 4)
		dir := t.TempDir()
		c.options = func(o *HostOptions) {
			o.TrailingLogs, o.SnapshotEntries, o.BoltDir = 2, 1<<40, dir+"/"+o.NodeID
			if err := os.MkdirAll(o.BoltDir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for i, id := range c.ids {
			n := c.nodes[id]
			n.open()
			n.machines[0] = &listMachine{}
			o := GroupOptions{ID: 0, FSM: n.machines[0]}
			if i < 3 {
				o.Bootstrap = c.members()[:3]
			}
			if _, err := n.host.StartMeta(o); err != nil {
				t.Fatal(err)
			}
		}
		l, learner := c.leader(0), c.nodes[c.ids[3]]
		proposeMany(t, l.host.Group(0), 0, 20)
		if err := l.host.Group(0).Snapshot(); err != nil {
			t.Fatal(err)
		}
		if err := l.host.Group(0).AddLearner(learner.id); err != nil {
			t.Fatal(err)
		}
		proposeMany(t, l.host.Group(0), 20, 22)
		c.agree(0, 22)
		if err := learner.host.Group(0).Snapshot(); err != nil {
			t.Fatal(err)
		}
		c.net.stall(learner.id, l.id, true) // answers are lost, requests arrive
		proposeMany(t, l.host.Group(0), 22, 40)
		c.agree(0, 40)
		if err := learner.host.Group(0).Snapshot(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		c.net.stall(learner.id, l.id, false)
		time.Sleep(10 * time.Second)
		proposeMany(t, l.host.Group(0), 40, 41)
		time.Sleep(5 * time.Minute)
		if n := len(learner.machines[0].list()); n != 41 {
			t.Errorf("five minutes after the network healed the learner has %d entries of 41", n)
		}
		c.close()
	})
}
