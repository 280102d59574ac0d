package raftfsm

import (
	"fmt"
	"math"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// start opens an instance of the library. Called with mu held.
func (g *Group) start() error {
	trans, err := g.host.o.Transport.join(g.id)
	if err != nil {
		return err
	}
	in := &instance{trans: trans, dead: make(chan struct{})}
	in.fsm = &adapter{
		machine: g.o.FSM, entriesMax: int64(g.host.o.SnapshotEntries), bytesMax: g.host.o.SnapshotBytes,
		stop: g.fail, due: func() { g.host.snapshotDue(g, false) },
		enter: func() bool { return g.host.enterSnapshot(trans.closed) }, leave: func() { <-g.host.slots },
		position: func() uint64 { at, _ := g.stores.snapshots.position(); return at },
	}
	if s := g.stores.shared; s != nil {
		in.fsm.durable = s.early.wait
	}
	if in.raft, err = g.open(in); err != nil {
		trans.leave()
		return err
	}
	g.hook(in)
	g.stores.running.Store(true)
	g.current.Store(in)
	return nil
}

// open makes the log fit the snapshot, bootstraps a new group and starts the library.
func (g *Group) open(in *instance) (r *raft.Raft, err error) {
	defer func() { // the library panics on what it cannot read
		if p := recover(); p != nil {
			err = fault.New(fault.Corrupt, "group %d does not open: %v", g.id, p)
		}
	}()
	if s := g.stores.shared; s != nil {
		if err := s.early.wait(math.MaxUint64); err != nil { // of an instance before
			return nil, fault.New(fault.Unavailable, "group %d does not open: %w", g.id, err)
		}
		if err := s.reconcile(); err != nil {
			return nil, fault.New(fault.Corrupt, "group %d does not open: %w", g.id, err)
		}
	}
	if err := g.bootstrap(); err != nil {
		return nil, err
	}
	c := g.host.raftConfig()
	c.Logger = newRaftLogger(g.logger)
	c.RestoreCommittedLogs = g.stores.shared != nil
	if g.stores.shared == nil {
		c.CommitTimeout = min(c.CommitTimeout, metaCommit)
	}
	r, err = raft.NewRaft(c, in.fsm, g.stores.logs, g.stores.stable, g.stores.snapshots, in.trans)
	if err != nil {
		return nil, fmt.Errorf("group %d does not open: %w", g.id, err)
	}
	return r, nil
}

// bootstrap writes the first configuration of a group that has no state. Unlike the library's it
// may be repeated after a crash between its two writes: term 1 without an entry means nothing yet.
func (g *Group) bootstrap() error {
	if len(g.o.Bootstrap) == 0 {
		return nil
	}
	at, _ := g.stores.snapshots.position()
	last, err := g.stores.logs.LastIndex()
	if err != nil {
		return err
	}
	term, err := g.stores.stable.GetUint64([]byte(keyTerm))
	if err != nil && err.Error() != errNotFound.Error() {
		return err
	}
	if at > 0 || last > 0 || term > 1 {
		return nil
	}
	if err := g.stores.stable.SetUint64([]byte(keyTerm), 1); err != nil {
		return err
	}
	return g.stores.logs.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration(g.o.Bootstrap))})
}

// hook connects an instance that runs already with the transport and with who wants to know of its state.
func (g *Group) hook(in *instance) {
	// A heartbeat may be handled in the connection's reader if it changes nothing but the time of contact.
	gate := func(term uint64) bool { return in.raft.CurrentTerm() == term && in.raft.State() == raft.Follower }
	in.trans.gate.Store(&gate)
	stale := func(r *raft.InstallSnapshotRequest) bool { return g.hasAlready(in, r) }
	in.trans.stale.Store(&stale)
	known := func(r *raft.AppendEntriesRequest) *raft.AppendEntriesRequest { return g.skipKnown(in, r) }
	in.trans.known.Store(&known)
	installed := func(index uint64) { g.checkInstalled(in, index) }
	in.trans.installed.Store(&installed)
	if s := g.stores.shared; s != nil {
		in.trans.early.Store(&s.early)
		in.trans.sums.Store(&s.sums)
	}
	handed := func() { in.spurred(ReasonHandedOver) }
	in.trans.handed.Store(&handed)
	serves := in.serves
	in.trans.serves.Store(&serves)
	in.raft.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		switch d := o.Data.(type) {
		case raft.RaftState:
			if d != raft.Shutdown { // which is told from another goroutine
				g.pace(in, d == raft.Leader)
			}
			g.observe(d == raft.Leader, in.raft.CurrentTerm())
		case raft.LeaderObservation:
			if id := string(d.LeaderID); id != "" {
				in.led.Store(&id)
			}
		}
		return false
	}))
	g.observe(in.raft.State() == raft.Leader, in.raft.CurrentTerm()) // what came before
}

// pace sets the time between heartbeats when a replica begins or ceases to lead. It is called from the
// library's main goroutine.
func (g *Group) pace(in *instance, leader bool) {
	if in.paced == leader {
		return
	}
	in.paced = leader
	t := g.host.o.Timing
	c := in.raft.ReloadableConfig()
	if c.HeartbeatTimeout, c.ElectionTimeout = t.Heartbeat, t.Election; leader {
		c.HeartbeatTimeout, c.ElectionTimeout = t.beat(), max(t.beat(), t.Election)
	}
	if err := in.raft.ReloadConfig(c); err != nil {
		g.logger.Warn("heartbeats keep their pace", "error", err) // NewHost has checked what both are made of
	}
}

// hasAlready reports whether a snapshot holds nothing that this replica has not committed. Such
// a one was delayed on its way: taking it would throw away entries that were acknowledged since.
func (g *Group) hasAlready(in *instance, r *raft.InstallSnapshotRequest) bool {
	if r.Term < in.raft.CurrentTerm() || r.LastLogIndex > max(in.raft.CommitIndex(), in.raft.AppliedIndex()) {
		return false
	}
	if at, _ := g.held(); r.LastLogIndex <= at {
		return true // the store would refuse it as older, for ever
	}
	var l raft.Log
	return g.stores.logs.GetLog(r.LastLogIndex, &l) == nil && l.Term == r.LastLogTerm
}

// held returns index and term of the newest snapshot, 0 if it was installed but the state machine
// has not taken it: nothing can be built upon that.
func (g *Group) held() (index, term uint64) {
	index, term = g.stores.snapshots.position()
	if in := g.current.Load(); in != nil && in.raft.AppliedIndex() < index {
		return 0, 0
	}
	return index, term
}

// skipKnown takes from an append the entries that this replica's snapshot holds, if its log does
// not hold what comes before them any more. Answers that were lost, and a snapshot taken since, leave a
// leader that goes on from there. The library would refuse that, and every earlier entry
// too, until the leader changes. What a snapshot holds is committed, so a leader of this term has the same.
func (g *Group) skipKnown(in *instance, r *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	at, term := g.held()
	if r.PrevLogEntry >= at || len(r.Entries) == 0 || r.Term < in.raft.CurrentTerm() {
		return r
	}
	var l raft.Log
	before, last := max(r.PrevLogEntry, 1), r.Entries[len(r.Entries)-1].Index
	if g.stores.logs.GetLog(before, &l) == nil && g.stores.logs.GetLog(min(last, at), &l) == nil {
		return r
	}
	rest := *r
	rest.Entries = r.Entries[min(at-r.PrevLogEntry, uint64(len(r.Entries))):]
	rest.PrevLogEntry, rest.PrevLogTerm = at, term
	// Nothing is said about what this replica has beyond.
	rest.LeaderCommitIndex = min(r.LeaderCommitIndex, at+uint64(len(rest.Entries)))
	return &rest
}

// checkInstalled reopens the group if its log was longer than the snapshot it has installed: the
// library has deleted the entries and still counts them, and would refuse everything that follows.
func (g *Group) checkInstalled(in *instance, index uint64) {
	if in.raft.LastIndex() <= index {
		return
	}
	in.trans.leave() // nothing more reaches this instance
	g.logger.Info("reopening replica after a snapshot shorter than its log", "index", index)
	g.host.start(func() { g.reopen(in) })
}

// reopen replaces an instance by a fresh one.
func (g *Group) reopen(old *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped || g.current.Load() != old {
		return
	}
	g.end(old)
	if err := g.start(); err != nil {
		g.failure.Store(&err)
		g.stopped = true
		g.logger.Error("replica stopped: it does not reopen", "error", err)
	}
}

// end stops an instance and waits for it. Called with mu held.
func (g *Group) end(in *instance) {
	g.current.Store(nil)
	f := in.raft.Shutdown()
	in.trans.leave()
	_ = f.Error() // it only waits
	if s := g.stores.shared; s != nil {
		_ = s.early.wait(math.MaxUint64) // or they would be in the journal only after the group is opened again
	}
	g.stores.running.Store(false)
	close(in.dead)
	g.observe(false, in.raft.CurrentTerm())
}

// stop ends the group. It may be called again.
func (g *Group) stop() {
	g.mu.Lock()
	g.stopped = true
	if in := g.current.Load(); in != nil {
		g.end(in)
	}
	g.mu.Unlock()
	g.notify.wait()
}

// fail ends the group by itself: something happened after which it must not go on. It returns at once.
func (g *Group) fail(err error) {
	g.host.start(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.stopped {
			return
		}
		g.stopped = true
		g.failure.Store(&err)
		g.logger.Error("replica stopped", "error", err)
		if in := g.current.Load(); in != nil {
			g.end(in)
		}
	})
}

// observe takes note of the library's state. It is called from the library's goroutines.
func (g *Group) observe(leader bool, term uint64) {
	g.stores.leading.Store(leader)
	g.notify.push(leader, term)
}

// notifier tells OnLeader of each change, in order, from a goroutine that runs while there are any.
type notifier struct {
	f func(bool, uint64)

	mu      sync.Mutex
	idle    sync.Cond // on mu
	queue   []leadership
	last    leadership
	running bool
}

type leadership struct {
	leader bool
	term   uint64
}

func (n *notifier) push(leader bool, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if leader == n.last.leader && (!leader || term == n.last.term) {
		return
	}
	n.last = leadership{leader, term}
	if n.f == nil {
		return
	}
	n.queue = append(n.queue, n.last)
	if n.running {
		return
	}
	n.running = true
	n.idle.L = &n.mu
	go n.run() // wait waits for it
}

func (n *notifier) run() {
	n.mu.Lock()
	for len(n.queue) > 0 {
		next := n.queue[0]
		n.queue = n.queue[1:]
		n.mu.Unlock()
		n.f(next.leader, next.term)
		n.mu.Lock()
	}
	n.running = false
	n.idle.Broadcast()
	n.mu.Unlock()
}

// wait returns when everything was told.
func (n *notifier) wait() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.idle.L = &n.mu
	for n.running {
		n.idle.Wait()
	}
}
