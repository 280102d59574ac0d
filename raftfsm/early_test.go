package raftfsm

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
)

// TestNothingCountsBeforeTheLeaderHasWritten holds up the leader's disk: followers have an entry on
// theirs meanwhile, but nobody applies it and nobody is answered.
func TestNothingCountsBeforeTheLeaderHasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 21, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		proposeMany(t, l.host.Group(1), 0, 10)
		c.agree(1, 10)
		before := l.host.Group(1).LastIndex()
		l.fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true})
		answered := make(chan error, 1)
		go func() {
			_, err := l.host.Group(1).Propose([]byte("early")).Wait()
			answered <- err
		}()
		time.Sleep(10 * time.Second) // several commit timeouts and heartbeats
		for _, id := range c.ids {
			n := c.nodes[id]
			if n != l && n.host.Group(1).LastIndex() != before+1 {
				t.Errorf("%s did not get the entry while the leader wrote it", id)
			}
			if slices.Contains(n.machines[1].list(), "early") {
				t.Errorf("%s has applied what the leader may still lose", id)
			}
		}
		if len(answered) != 0 {
			t.Error("answered before the leader had written")
		}
		l.fault.Release()
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if got := c.agree(1, 11); got[10] != "early" {
			t.Errorf("agreed upon %v", got)
		}
		c.close()
	})
}

// TestEarlyEntriesGiveWay cuts a leader off with entries that its disk does not have yet; they are
// replaced by another leader's, and the former one joins in again.
func TestEarlyEntriesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 22, 3, 1)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(1)
		proposeMany(t, l.host.Group(1), 0, 10)
		c.agree(1, 10)
		c.net.isolate(l.id, c.ids, true)
		l.fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true})
		for range 5 {
			go func() { _, _ = l.host.Group(1).Propose([]byte("lost")).Wait() }()
		}
		time.Sleep(5 * time.Second)
		var n *testNode
		for _, id := range c.ids {
			if m := c.nodes[id]; m != l && m.host.Group(1).IsLeader() {
				n = m
			}
		}
		if n == nil {
			t.Fatal("the others have no leader")
		}
		for i := range 5 {
			if _, err := n.host.Group(1).Propose([]byte{byte('a' + i)}).Wait(); err != nil {
				t.Fatal(err)
			}
		}
		c.net.isolate(l.id, c.ids, false)
		time.Sleep(30 * time.Second) // the library's pauses between attempts grow with their number
		if got := l.machines[1].list(); len(got) != 10 {
			t.Errorf("with its disk held up the former leader has applied %v", got)
		}
		l.fault.Release()
		if got := c.agree(1, 15); !slices.Equal(got[10:], []string{"a", "b", "c", "d", "e"}) {
			t.Errorf("agreed upon %v", got)
		}
		time.Sleep(time.Minute) // until the last append that was held up has come to its end
		if err := l.host.Group(1).Failure(); err != nil {
			t.Error(err)
		}
		c.close()
	})
}

// TestFollowerConfirmsOnlyWhatItsDiskHas: a former leader may be asked whether it has an entry that it
// has handed to its journal and that is not durable.
func TestFollowerConfirmsOnlyWhatItsDiskHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newMemNet()
		tr, err := NewTransport(TransportOptions{
			NodeID: "a", ClusterID: func() string { return "test" }, Listener: net.listen("a"),
			Dial: net.dialer("a"), Resolve: func(id string) (string, bool) { return id, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		g, err := tr.join(1)
		if err != nil {
			t.Fatal(err)
		}
		e := &early{}
		e.add([]journal.Entry{{Index: 7}}, 0)
		g.early.Store(e)
		go func() {
			rpc := <-g.consumer
			rpc.RespChan <- raft.RPCResponse{Response: &raft.AppendEntriesResponse{Success: true}}
		}()
		confirmed := make(chan raft.RPCResponse, 1)
		go func() { confirmed <- g.deliver(inbound{command: &raft.AppendEntriesRequest{}}) }()
		synctest.Wait()
		if len(confirmed) != 0 {
			t.Error("confirmed before the entry was durable")
		}
		e.settle(1, 0, nil)
		if a := <-confirmed; a.Error != nil {
			t.Error(a.Error)
		}
		e.add([]journal.Entry{{Index: 8}}, 0)
		e.settle(1, 0, errors.New("disk gone"))
		go func() {
			rpc := <-g.consumer
			rpc.RespChan <- raft.RPCResponse{Response: &raft.AppendEntriesResponse{Success: true}}
		}()
		if a := g.deliver(inbound{command: &raft.AppendEntriesRequest{}}); a.Error == nil {
			t.Error("confirmed what the disk has lost")
		}
	})
}

// TestCutTakesEarlyEntries: the journal knows nothing of them yet, so a cut among them would be none.
func TestCutTakesEarlyEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, j, disk := earlyStore(t, 23)
		defer j.Close()
		var l raft.Log
		if _, last := j.Bounds(1); last != 5 || s.GetLog(7, &l) != nil || l.Index != 7 {
			t.Fatalf("the journal ends at %d, entry 7 is read as %v", last, l)
		}
		cut := make(chan error, 1)
		go func() { cut <- s.DeleteRange(7, 8) }()
		synctest.Wait()
		if len(cut) != 0 {
			t.Error("cut while entries were under way")
		}
		disk.Release()
		if err := <-cut; err != nil {
			t.Fatal(err)
		}
		if first, last := j.Bounds(1); first != 1 || last != 6 {
			t.Errorf("entries %d to %d are left, want 1 to 6", first, last)
		}
	})
}

// TestLastIndexKnowsEarlyEntries: a cut of all there is, decided upon while entries are under way, takes them too.
func TestLastIndexKnowsEarlyEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, j, disk := earlyStore(t, 35)
		defer j.Close()
		last, err := s.LastIndex()
		if err != nil || last != 8 {
			t.Errorf("last index %d, %v, want 8", last, err)
		}
		disk.Release()
		synctest.Wait()
		if err := s.DeleteRange(1, last); err != nil {
			t.Fatal(err)
		}
		s.leading.Store(false)
		if err := s.StoreLogs([]*raft.Log{{Index: 21, Term: 2}}); err != nil {
			t.Error(err)
		}
	})
}

// earlyStore returns a leader's log store with entries 1 to 5 on its disk, and 6 to 8 under way until the disk is released.
func earlyStore(t *testing.T, seed uint64) (*logStore, *journal.Journal, *vfs.Fault) {
	t.Helper()
	disk := vfs.NewFault(vfs.NewMem(seed))
	j, err := journal.Open(disk, "journal", journal.Options{SegmentBytes: 256 << 10, SpareSegments: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := &logStore{log: j, group: 1, snapshot: func() (uint64, uint64) { return 0, 0 }, fatal: func(err error) { t.Error(err) }}
	s.running.Store(true)
	s.leading.Store(true)
	store := func(from, to uint64) {
		var logs []*raft.Log
		for i := from; i <= to; i++ {
			logs = append(logs, &raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: []byte("x")})
		}
		if err := s.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
	}
	store(1, 5)
	if err := s.early.wait(5); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // until the journal has made its spare segments
	disk.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Hang: true})
	store(6, 8)
	synctest.Wait() // until the sync hangs
	return s, j, disk
}

func TestEarlyBounds(t *testing.T) {
	var e early
	if !e.add([]journal.Entry{{Index: 5}, {Index: 6}}, earlyBytesMax) || e.add([]journal.Entry{{Index: 7}}, 1) {
		t.Fatal("the bound in bytes does not hold")
	}
	var got journal.Entry
	if !e.get(6, &got) || got.Index != 6 || e.get(4, &got) || e.get(7, &got) || e.limit() != 4 {
		t.Fatal("entries that are under way are not found, or others are")
	}
	if err := e.wait(4); err != nil {
		t.Fatal(err)
	}
	e.settle(2, earlyBytesMax, nil)
	if e.limit() < 1<<60 || e.get(5, &got) {
		t.Fatal("settled entries are left")
	}
	if e.add(make([]journal.Entry, earlyEntriesMax+1), 0) {
		t.Fatal("the bound in entries does not hold")
	}
}
