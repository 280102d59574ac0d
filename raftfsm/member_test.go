package raftfsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
)

// proposeMany proposes numbered commands and waits for all.
func proposeMany(t *testing.T, g *Group, from, to int) {
	t.Helper()
	var futures []Future
	for i := from; i < to; i++ {
		futures = append(futures, g.Propose(fmt.Appendf(nil, "%d", i)))
	}
	for _, f := range futures {
		if _, err := f.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEmptyReplicaLearnsFromSnapshotAndReplacesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4, 4, 1)
		c.options = func(o *HostOptions) { o.TrailingLogs = 10; o.SnapshotEntries = 1 << 40 }
		for _, id := range c.ids[:3] {
			c.nodes[id].run(c.members()[:3])
		}
		l := c.leader(1)
		proposeMany(t, l.host.Group(1), 0, 300)
		if err := l.host.Group(1).Snapshot(); err != nil {
			t.Fatal(err)
		}
		if first, _ := l.journal.Bounds(1); first < 200 {
			t.Fatalf("the snapshot left the log from %d", first)
		}
		fresh := c.nodes[c.ids[3]]
		fresh.run(nil)
		if err := l.host.Group(1).AddLearner(fresh.id); err != nil {
			t.Fatal(err)
		}
		proposeMany(t, l.host.Group(1), 300, 310)
		c.agree(1, 310)
		servers, err := l.host.Group(1).Servers()
		if err != nil || !slices.Contains(servers, Server{ID: fresh.id}) {
			t.Fatalf("no learner in %v, %v", servers, err)
		}
		if err := l.host.Group(1).AddVoter(fresh.id); err != nil {
			t.Fatal(err)
		}
		if err := l.host.Group(1).Remove(l.id); err != nil { // the leader itself
			t.Fatal(err)
		}
		old := l
		if err := old.host.DeleteGroup(1); err != nil {
			t.Fatal(err)
		}
		if ids, err := old.host.StoredGroups(); err != nil || len(ids) != 0 {
			t.Errorf("left behind: groups %v, %v", ids, err)
		}
		delete(old.machines, 1)
		l = c.leader(1)
		var before uint64
		for range 3 { // the leader may change by itself in between
			_, before = l.host.Group(1).Leader()
			if l.host.Group(1).TransferLeadership(fresh.id) == nil {
				break
			}
			l = c.leader(1)
		}
		if l = c.leader(1); l != fresh {
			t.Errorf("%s leads after the transfer", l.id)
		}
		if _, term := fresh.host.Group(1).Leader(); term == before+1 && fresh.host.Group(1).LeadReason(term) != ReasonHandedOver {
			t.Errorf("it leads because %s", fresh.host.Group(1).LeadReason(term))
		}
		proposeMany(t, l.host.Group(1), 310, 320)
		c.agree(1, 320)
		c.close()
	})
}

// TestPreVoteIsActive cuts one follower off: it campaigns all the time and must not raise the
// term, so that its return disturbs nobody.
func TestPreVoteIsActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		_, before := l.host.Group(1).Leader()
		follower := c.ids[(slices.Index(c.ids, l.id)+1)%3]
		c.net.isolate(follower, c.ids, true)
		time.Sleep(30 * time.Second)
		_, cut := c.nodes[follower].host.Group(1).Leader()
		c.net.isolate(follower, c.ids, false)
		time.Sleep(10 * time.Second)
		leader, after := l.host.Group(1).Leader()
		if cut != before || after != before || leader != l.id {
			t.Errorf("term %d, %d while cut off, %d after; leader %s, was %s", before, cut, after, leader, l.id)
		}
		if reason := l.host.Group(1).LeadReason(after); reason != ReasonSilent {
			t.Errorf("the first leader leads because %s", reason)
		}
		c.close()
	})
}

// TestDeadLeaderIsReplacedEarly kills the leader's process: the refused redial starts an election
// long before the election timeout, in one term.
func TestDeadLeaderIsReplacedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 6, 3, 1, 2, 3, 4, 5, 6, 7, 8)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		led := map[uint64]uint64{}
		var victim *testNode
		for _, g := range c.groups {
			l := c.leader(g)
			if victim == nil {
				victim = l
			}
			if l == victim {
				_, led[g] = l.host.Group(g).Leader()
			}
		}
		start := time.Now()
		victim.kill()
		for g := range led {
			c.leader(g)
		}
		if took := time.Since(start); took > 600*time.Millisecond {
			t.Errorf("%d groups had no leader for %v", len(led), took)
		}
		for g, term := range led {
			group := c.leader(g).host.Group(g)
			_, now := group.Leader()
			if now > term+2 {
				t.Errorf("group %d went from term %d to %d", g, term, now)
			}
			if reason := group.LeadReason(now); reason != ReasonRefused {
				t.Errorf("group %d was taken over because %s", g, reason)
			}
		}
		c.close()
	})
}

// TestDeadLeaderIsReplacedEarlyByWhoHasItsEntries kills a leader whose last entry has not reached
// the replica that campaigns first. That one cannot win; the other must not leave it at that.
func TestDeadLeaderIsReplacedEarlyByWhoHasItsEntries(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, seed, 3, 1)
			for _, id := range c.ids {
				c.nodes[id].run(c.members())
			}
			l := c.leader(1)
			proposeMany(t, l.host.Group(1), 0, 1)
			c.agree(1, 1)
			var first string
			for _, id := range c.ids {
				if rank, ok := campaignRank(1, id, l.id, c.members()); ok && rank == 0 && id != l.id {
					first = id
				}
			}
			c.net.stall(l.id, first, true)
			proposeMany(t, l.host.Group(1), 1, 2)
			start := time.Now()
			c.net.kill(l.id)
			c.net.drop(l.id, first)
			c.net.stall(l.id, first, false)
			l.kill()
			if next := c.leader(1); next.id == first {
				t.Errorf("%s leads without the last entry", first)
			}
			if took := time.Since(start); took > 400*time.Millisecond {
				t.Errorf("seed %d: no leader for %v", seed, took)
			}
			c.close()
		})
	}
}

// TestLostConnectionsElectNobody breaks every connection of the leader without ending it.
func TestLostConnectionsElectNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 7, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		_, before := l.host.Group(1).Leader()
		for range 5 {
			c.net.mu.Lock()
			var conns []*memConn
			for k := range c.net.conns {
				conns = append(conns, k)
			}
			c.net.mu.Unlock()
			for _, k := range conns {
				_ = k.Close()
			}
			time.Sleep(300 * time.Millisecond)
		}
		if leader, after := l.host.Group(1).Leader(); after != before || leader != l.id {
			t.Errorf("leader %s term %d, then %s term %d", l.id, before, leader, after)
		}
		proposeMany(t, l.host.Group(1), 0, 10)
		c.close()
	})
}

func TestJournalFailureStopsAllGroupsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 8, 3, 1, 2)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		proposeMany(t, l.host.Group(1), 0, 10)
		l.fault.Add(vfs.Rule{Ops: vfs.OpSync, Err: errors.New("disk gone")})
		_, err := l.host.Group(1).Propose([]byte("lost")).Wait()
		if fault.KindOf(err) != fault.Unavailable && fault.KindOf(err) != fault.NotLeader {
			t.Errorf("proposal on a failed disk: %v", err)
		}
		time.Sleep(time.Second)
		if len(l.failures) != 1 {
			t.Fatalf("OnFailure was called %d times", len(l.failures))
		}
		for _, g := range c.groups {
			if _, err := l.host.Group(g).Propose([]byte("x")).Wait(); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("group %d after the failure: %v", g, err)
			}
		}
		if _, err := l.host.StartGroup(GroupOptions{ID: 99, FSM: &listMachine{}}); err == nil {
			t.Error("a group started on a failed journal")
		}
		delete(l.machines, 1)
		delete(l.machines, 2)
		proposeMany(t, c.leader(1).host.Group(1), 10, 20)
		c.agree(1, 20)
		c.close()
	})
}

func TestUnknownCommandStopsOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 9, 3, 1, 2)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		l.machines[1].mu.Lock()
		l.machines[1].stop = "new kind"
		l.machines[1].mu.Unlock()
		if _, err := l.host.Group(1).Propose([]byte("new kind")).Wait(); err == nil {
			t.Error("no error from the replica that stops")
		}
		time.Sleep(time.Second)
		if _, err := l.host.Group(1).Propose([]byte("x")).Wait(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "unknown command") {
			t.Errorf("after the stop: %v", err)
		}
		delete(l.machines, 1)
		proposeMany(t, c.leader(1).host.Group(1), 0, 5)
		c.agree(1, 6)
		c.leader(2) // the other group goes on, on all nodes
		c.close()
	})
}

// TestLongerLogThanInstalledSnapshot gives a follower a long tail that was never committed, then
// a snapshot from beyond the fork but before the tail's end.
func TestLongerLogThanInstalledSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 10, 3, 1)
		c.options = func(o *HostOptions) { o.TrailingLogs = 2; o.SnapshotEntries = 1 << 40 }
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		proposeMany(t, l.host.Group(1), 0, 20)
		c.agree(1, 20)
		last := l.host.Group(1).LastIndex()
		_, term := l.host.Group(1).Leader()
		victim := c.nodes[c.ids[(slices.Index(c.ids, l.id)+1)%3]]
		victim.stop()
		// What an old leader leaves that appended without a majority.
		c.nodes[victim.id].open()
		var tail []journal.Entry
		for i := range uint64(100) {
			tail = append(tail, journal.Entry{Index: last + 1 + i, Term: term, Type: uint8(raft.LogCommand), Data: []byte("never committed")})
		}
		if err := victim.journal.Append(1, tail, last); err != nil {
			t.Fatal(err)
		}
		// Another term, so that the tail is a fork.
		third := c.ids[(slices.Index(c.ids, l.id)+2)%3]
		if err := l.host.Group(1).TransferLeadership(third); err != nil {
			t.Fatal(err)
		}
		l = c.leader(1)
		proposeMany(t, l.host.Group(1), 20, 50)
		for _, id := range c.ids {
			if n := c.nodes[id]; n != victim {
				if err := n.host.Group(1).Snapshot(); err != nil {
					t.Fatal(err)
				}
			}
		}
		victim.startGroup(1, nil)
		proposeMany(t, l.host.Group(1), 50, 60)
		if list := c.agree(1, 60); len(list) != 60 {
			t.Errorf("%d entries", len(list))
		}
		c.close()
	})
}

// TestLeaderSendsHalfAsManyHeartbeats: the leader alone has the longer timeout, from which the library
// takes the time between heartbeats.
func TestLeaderSendsHalfAsManyHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 9, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		check := func(l *testNode) {
			t.Helper()
			for _, id := range c.ids {
				want := DefaultHeartbeat
				if id == l.id {
					want = 2 * DefaultHeartbeat
				}
				if got := c.nodes[id].host.Group(1).current.Load().raft.ReloadableConfig().HeartbeatTimeout; got != want {
					t.Errorf("%s, leader %s: %s, want %s", id, l.id, got, want)
				}
			}
		}
		l := c.leader(1)
		check(l)
		if err := l.host.Group(1).TransferLeadership(""); err != nil {
			t.Fatal(err)
		}
		next := c.leader(1)
		if next == l {
			t.Fatal("it leads still")
		}
		check(next)
		c.close()
	})
}

func TestBeat(t *testing.T) {
	for _, c := range []struct{ heartbeat, lease, want time.Duration }{
		{time.Second, time.Second, 2 * time.Second},
		{time.Second, 500 * time.Millisecond, 1250 * time.Millisecond}, // two heartbeats within the lease
		{time.Second, 100 * time.Millisecond, time.Second},
	} {
		if got := (Timing{Heartbeat: c.heartbeat, LeaderLease: c.lease}).beat(); got != c.want {
			t.Errorf("heartbeat %s, lease %s: %s, want %s", c.heartbeat, c.lease, got, c.want)
		}
	}
}
