package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
	"github.com/levada-stream/levada/raftfsm"
	"github.com/levada-stream/levada/wal"
)

// shard is one replica that runs on this node. Immutable, but for settled.
type shard struct {
	stream  *meta.Stream
	number  uint32
	group   uint64
	log     *wal.Log
	replica *partition.Replica
	raft    *raftfsm.Group
	// settled is the last term in which this replica led and had applied
	// everything that was committed before it did.
	settled atomic.Uint64
}

// shardSet runs the replicas that the control state places on this node.
//
// Lock order: mu is a leaf; it is never held while a replica starts or stops.
type shardSet struct {
	n   *Node
	log hclog.Logger

	mu      sync.RWMutex
	running map[uint64]*shard
	busy    map[uint64]bool    // groups being started, stopped or deleted
	trouble map[uint64]trouble // groups that could not run of late
	unknown map[uint64]bool    // groups in quarantine that were logged
	gone    map[string]float64 // counters of replicas that left the node: a counter never goes down
	wg      sync.WaitGroup
	starts  chan struct{} // bounds how many start or stop at a time
}

// startsAtOnce bounds replicas starting at the same time: starting reads disk.
const startsAtOnce = 8

// startPatience is how long one replica may hold a place among those that start.
const startPatience = 2 * time.Second

func newShardSet(n *Node) *shardSet {
	return &shardSet{
		n: n, log: n.log.Named("shards"), running: map[uint64]*shard{}, busy: map[uint64]bool{},
		trouble: map[uint64]trouble{}, unknown: map[uint64]bool{}, gone: map[string]float64{}, starts: make(chan struct{}, startsAtOnce),
	}
}

// byGroup returns the running replica of a group, nil if there is none.
func (s *shardSet) byGroup(group uint64) *shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.running[group]
}

// all returns the running replicas in no order.
func (s *shardSet) all() []*shard {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*shard, 0, len(s.running))
	for _, sh := range s.running {
		out = append(out, sh)
	}
	return out
}

// measured returns the running replicas and the counters of those that are gone.
func (s *shardSet) measured() ([]*shard, map[string]float64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.running)), maps.Clone(s.gone)
}

// pending says how many groups are not in the state the plan wants, and why one of them is not.
func (s *shardSet) pending(plan []meta.GroupPlan) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	count := 0
	var why error
	for _, p := range plan {
		if p.Action != meta.ActionDelete && p.Action != meta.ActionQuarantine && s.running[p.Group] == nil {
			count++
			if err := s.trouble[p.Group].err; err != nil {
				why = err
			}
		}
	}
	return count, why
}

// reconcile starts and deletes what the plan says and is not so yet. It does
// not wait for the work, which a later call does not repeat.
func (s *shardSet) reconcile(ctx context.Context, plan []meta.GroupPlan) {
	for _, p := range plan {
		if p.Action == meta.ActionQuarantine {
			s.quarantine(p.Group)
			continue
		}
		s.mu.Lock()
		running := s.running[p.Group]
		if running != nil && !s.busy[p.Group] && p.Action != meta.ActionDelete {
			if err := running.ended(); err != nil {
				s.troubled(p, err)
				countReplica(s.gone, running.replica.Stats())
				delete(s.running, p.Group)
				s.busy[p.Group] = true
				s.wg.Add(1)
				s.mu.Unlock()
				go s.carryOutEnd(running)
				continue
			}
		}
		due := !s.busy[p.Group] && (p.Action == meta.ActionDelete || running == nil) && s.trouble[p.Group].due(time.Now())
		if due {
			s.busy[p.Group] = true
			s.wg.Add(1)
		}
		s.mu.Unlock()
		if due {
			go s.carryOut(ctx, p)
		} else if running != nil && p.Action != meta.ActionDelete {
			running.replica.SetRecordBytesMax(int(p.Stream.Settings.MaxRecordBytes))
		}
	}
}

// quarantine says once that a group's data are here and nobody knows of it.
func (s *shardSet) quarantine(group uint64) {
	s.mu.Lock()
	known := s.unknown[group]
	s.unknown[group] = true
	s.mu.Unlock()
	if !known && s.n.joined.Load() {
		s.log.Warn("the control state does not know a group whose data are here; they are left alone", "group", group, "dir", s.n.groupDir(group))
	}
}

func (s *shardSet) carryOut(ctx context.Context, p meta.GroupPlan) {
	defer s.wg.Done()
	s.starts <- struct{}{}
	release := sync.OnceFunc(func() { <-s.starts })
	defer release()
	// One that fetches what its log lacks may take for ever: the others must not wait for it.
	defer time.AfterFunc(startPatience, release).Stop()
	var err error
	if ctx.Err() == nil {
		if p.Action == meta.ActionDelete {
			err = s.delete(ctx, p)
		} else {
			err = s.start(ctx, p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, p.Group)
	if err != nil && ctx.Err() == nil {
		s.troubled(p, err)
	} else if t, ok := s.trouble[p.Group]; ok {
		t.err = nil
		s.trouble[p.Group] = t
	}
	if p.Action == meta.ActionDelete && err == nil {
		delete(s.trouble, p.Group)
	}
}

// carryOutEnd takes a replica down that is out of running already.
func (s *shardSet) carryOutEnd(sh *shard) {
	defer s.wg.Done()
	s.takeDown(sh)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, sh.group)
}

// groupDir is where a group keeps its snapshot and its log.
func (n *Node) groupDir(group uint64) string {
	return path.Join(n.cfg.Node.DataDir, "groups", strconv.FormatUint(group, 10))
}

func (s *shardSet) start(ctx context.Context, p meta.GroupPlan) error {
	n := s.n
	log := n.log.Named("shard").With("stream", p.Stream.Name, "shard", meta.ShardID(p.Shard.Number), "group", p.Group)
	dir := path.Join(n.groupDir(p.Group), "log")
	if err := n.fs.MkdirAll(dir); err != nil {
		return err
	}
	shardLog, err := openLog(n.fs, dir, wal.Options{
		Group: p.Group, Shard: p.Shard.Number, SegmentBytes: int64(n.cfg.Storage.SegmentBytes), Writer: n.writer, Logger: log,
	}, log)
	if err != nil {
		return fmt.Errorf("open shard log %s: %w", dir, err)
	}
	settings := p.Stream.Settings
	replica := partition.NewReplica(partition.Options{
		Group: p.Group, StreamID: p.Stream.ID, Shard: p.Shard.Number, Range: p.Shard.Range, Log: shardLog, Fetch: n.fetch,
		Rules:  partition.Rules{ProducerWindow: time.Duration(settings.DedupWindowSeconds) * time.Second, Child: len(p.Shard.Parents) > 0},
		Limits: partition.Limits{RecordBytesMax: int(settings.MaxRecordBytes), QueueBytesMax: int64(n.cfg.Limits.AppendBytesInFlightMaxPerShard)},
		Budget: n.budget, RepeatableRuns: n.repeatable, Clock: n.now, Logger: log,
	})
	// Starting takes as long as fetching what the log lacks: the node's end must end it.
	defer context.AfterFunc(ctx, replica.Shutdown)()
	var bootstrap []raftfsm.Server
	if p.Action == meta.ActionBootstrap {
		for _, id := range p.Servers {
			bootstrap = append(bootstrap, raftfsm.Server{ID: id, Voter: true})
		}
	}
	sh := &shard{stream: p.Stream, number: p.Shard.Number, group: p.Group, log: shardLog, replica: replica}
	sh.raft, err = n.host.StartGroup(raftfsm.GroupOptions{
		ID: p.Group, FSM: shardFSM{replica}, Bootstrap: bootstrap, Logger: log,
		OnLeader: func(isLeader bool, term uint64) {
			replica.LeadershipChanged(isLeader, term)
			n.wakeReport()
			if isLeader {
				s.settle(sh, term)
			}
		},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start raft group: %w", err), shardLog.Abandon())
	}
	replica.Attach(shardConsensus{sh.raft})
	if len(bootstrap) > 0 && bootstrap[0].ID == n.nodeID {
		sh.raft.Campaign(campaignAfter)
	}
	s.mu.Lock()
	s.running[p.Group] = sh
	s.mu.Unlock()
	return nil
}

// settle waits until a new leader has applied what former leaders acknowledged.
func (s *shardSet) settle(sh *shard, term uint64) {
	group := s.n.host.Group(sh.group) // sh.raft is not set yet if this is told while the group starts
	if group == nil {
		return
	}
	for {
		err := group.Barrier(settleTimeout)
		if err == nil {
			sh.settled.Store(term)
			s.n.wakeReport()
			return
		}
		s.log.Debug("a new leader could not settle", "group", sh.group, "term", term, "error", err)
		if _, now := group.Leader(); now != term || !group.IsLeader() {
			return
		}
		time.Sleep(settlePause)
	}
}

// settlePause is how long a new leader waits after a barrier that failed.
const settlePause = 50 * time.Millisecond

// settleTimeout bounds how long a new leader's barrier may wait to be taken.
const settleTimeout = 5 * time.Second

// campaignAfter is how long the preferred leader of a new group gives the others to start theirs.
const campaignAfter = 50 * time.Millisecond

// openLog opens a shard log. One that is corrupt is put aside, not deleted: the
// replica then fetches its records from the others, since nothing of its vote
// or of its Raft log is lost with it.
func openLog(fsys vfs.FS, dir string, o wal.Options, log hclog.Logger) (*wal.Log, error) {
	l, err := wal.Open(fsys, dir, o)
	if !errors.Is(err, wal.ErrCorrupt) {
		return l, err
	}
	aside := dir + ".corrupt-" + strconv.FormatInt(time.Now().UnixMilli(), 10)
	log.Error("shard log is corrupt; it is put aside and rebuilt from the other replicas", "error", err, "aside", aside)
	if err := fsys.Rename(dir, aside); err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(path.Dir(dir)); err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	return wal.Open(fsys, dir, o)
}

// delete stops a group whose stream was deleted and removes all it left on this node.
//
// Of a replica that moved away the control state is asked again, by a command,
// once it has stopped: a copy that lags may not know yet that it came back.
func (s *shardSet) delete(ctx context.Context, p meta.GroupPlan) error {
	group := p.Group
	s.mu.Lock()
	sh := s.running[group]
	if sh != nil {
		countReplica(s.gone, sh.replica.Stats())
		delete(s.running, group)
	}
	s.mu.Unlock()
	if sh != nil {
		if err := sh.stop(s.n.host); err != nil {
			return err
		}
	}
	if p.Shard != nil {
		if err := s.n.register(ctx); err != nil {
			return fmt.Errorf("make sure that the replica is not needed: %w", err)
		}
		now := meta.Plan(s.n.metaStore.State(), s.n.nodeID, []uint64{group})
		if !slices.ContainsFunc(now, func(q meta.GroupPlan) bool { return q.Group == group && q.Action == meta.ActionDelete }) {
			return nil // the next plan starts it again
		}
	}
	if err := s.n.host.DeleteGroup(group); err != nil {
		return err
	}
	return s.n.fs.RemoveAll(s.n.groupDir(group))
}

// stop ends a replica; its log is flushed by Close only when nothing failed before.
func (sh *shard) stop(host *raftfsm.Host) error {
	sh.replica.Shutdown()
	host.StopGroup(sh.group)
	sh.replica.Close()
	return sh.log.Close()
}

// close stops every replica and waits for the work in progress.
func (s *shardSet) close() error {
	s.wg.Wait()
	s.mu.Lock()
	stopping := s.running
	s.running = map[uint64]*shard{}
	s.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for _, sh := range stopping {
		wg.Add(1)
		s.starts <- struct{}{}
		go func() {
			defer func() { <-s.starts; wg.Done() }()
			if err := sh.stop(s.n.host); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("stop group %d: %w", sh.group, err))
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}
