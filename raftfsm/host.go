package raftfsm

import (
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
	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/vfs"
)

// Defaults of Timing and HostOptions.
const (
	DefaultHeartbeat   = time.Second
	DefaultElection    = time.Second
	DefaultLeaderLease = time.Second
	// DefaultCommit is how long the end of an idle log stays uncommitted on followers: they
	// learn of a commit with the next append, and without one after one to two times this. It
	// costs an empty append per group, follower and period: at a thousand groups of three
	// replicas 1,300/s, a fifth of what heartbeats cost.
	DefaultCommit = time.Second

	// metaCommit is the same for the meta group, of which there is one and which every node
	// waits for.
	metaCommit = 50 * time.Millisecond

	DefaultSnapshotEntries = 4096
	DefaultSnapshotBytes   = 64 << 20
	DefaultTrailingLogs    = 256
	DefaultCampaigns       = 64

	// trailingRequested is how many entries stay before a snapshot that the journal asked for.
	trailingRequested = 16
	maxAppendEntries  = 64
	snapshotWorkers   = 2
	snapshotRetry     = 5 * time.Second
)

// Timing configures Raft's clocks. Zero values take the defaults. 5 ms is the least of each.
type Timing struct {
	Heartbeat   time.Duration // a follower that hears nothing for one to two times this campaigns
	Election    time.Duration // a candidate tries again after one to two times this
	Commit      time.Duration // see DefaultCommit
	LeaderLease time.Duration // a leader that reaches no majority for this long steps down; at most Heartbeat
}

// HostOptions configures a Host.
type HostOptions struct {
	NodeID    string     // required, the Transport's
	Journal   EntryLog   // required, *journal.Journal; its OnFailure should call Host.Fail and its RequestSnapshot Host.RequestSnapshot
	FS        vfs.FS     // required, for snapshots
	Dir       string     // on FS: snapshots are in Dir/groups
	BoltDir   string     // on the operating system's file system: stable.db and meta.db; Dir if empty
	Transport *Transport // required; the caller closes it, after the Host
	Logger    hclog.Logger
	Timing    Timing

	SnapshotEntries uint64 // applied entries after which a group takes a snapshot
	SnapshotBytes   int64  // the same in bytes
	TrailingLogs    uint64 // entries kept for followers that are a little behind
	Campaigns       int    // elections that a peer's death may start at once on this node
	// Stable overrides the bbolt stable store; the Host closes it.
	Stable StableStore
	// OnFailure is told once when all groups had to stop. It must not block.
	OnFailure func(error)
}

func (o *HostOptions) validate() error {
	if o.NodeID == "" || o.Journal == nil || o.FS == nil || o.Transport == nil {
		return errors.New("host: NodeID, Journal, FS and Transport are required")
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.BoltDir == "" {
		o.BoltDir = o.Dir
	}
	defaultTo(&o.Timing.Heartbeat, DefaultHeartbeat)
	defaultTo(&o.Timing.Election, DefaultElection)
	defaultTo(&o.Timing.Commit, DefaultCommit)
	defaultTo(&o.Timing.LeaderLease, DefaultLeaderLease)
	defaultTo(&o.SnapshotEntries, DefaultSnapshotEntries)
	defaultTo(&o.SnapshotBytes, DefaultSnapshotBytes)
	defaultTo(&o.TrailingLogs, DefaultTrailingLogs)
	defaultTo(&o.Campaigns, DefaultCampaigns)
	return nil
}

// Host runs the Raft groups of a node.
type Host struct {
	o      HostOptions
	stable StableStore
	closed chan struct{}
	wg     sync.WaitGroup
	failed atomic.Pointer[error]
	slots  chan struct{} // snapshots being written

	mu     sync.Mutex
	ended  bool
	groups map[uint64]*Group
	meta   *metaStore          // of the meta group, nil if it does not run
	due    map[uint64]struct{} // groups with a snapshot under way or waiting
}

// NewHost opens the stable store. The caller must Close the Host before Transport and Journal.
func NewHost(o HostOptions) (*Host, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	h := &Host{
		o: o, stable: o.Stable, closed: make(chan struct{}), slots: make(chan struct{}, snapshotWorkers),
		groups: map[uint64]*Group{}, due: map[uint64]struct{}{},
	}
	if err := raft.ValidateConfig(h.raftConfig()); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	if h.stable == nil {
		s, err := OpenStable(o.BoltDir)
		if err != nil {
			return nil, err
		}
		h.stable = s
	}
	if err := o.FS.MkdirAll(path.Join(o.Dir, groupsDir)); err != nil {
		return nil, errors.Join(err, h.stable.Close())
	}
	o.Transport.onPeerDeath(h.peerDied)
	return h, nil
}

func (h *Host) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(h.o.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = h.o.Timing.Heartbeat, h.o.Timing.Election
	c.CommitTimeout, c.LeaderLeaseTimeout = h.o.Timing.Commit, h.o.Timing.LeaderLease
	c.MaxAppendEntries = maxAppendEntries
	c.BatchApplyCh = true
	c.TrailingLogs = h.o.TrailingLogs
	c.SnapshotInterval = 1000 * time.Hour // the Host decides when
	c.SnapshotThreshold = 1 << 62
	c.ShutdownOnRemove = false // a removed leader steps down; DeleteGroup comes when the node is told
	c.NoLegacyTelemetry = true
	return c
}

// beat returns the heartbeat timeout of a leader: that of followers, or up to twice as long. The library
// sends at a tenth to a fifth of it. At twice, two to five heartbeats reach a follower in the least time
// that it waits, and two within the lease; they are half of what an idle group costs.
func (t Timing) beat() time.Duration { return max(t.Heartbeat, min(2*t.Heartbeat, 5*t.LeaderLease/2)) }

// start runs f in a goroutine that Close waits for. It reports false after Close.
func (h *Host) start(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.wg.Go(f)
	return true
}

// StartGroup starts a shard's group, whose entries are in the journal.
func (h *Host) StartGroup(o GroupOptions) (*Group, error) {
	shared := &logStore{log: h.o.Journal, group: o.ID, fatal: h.Fail}
	stable := &groupStable{store: h.stable, group: o.ID, fatal: h.Fail, running: shared.running.Load}
	return h.startGroup(o, stores{logs: shared, stable: stable, shared: shared, running: &shared.running, leading: &shared.leading})
}

func (h *Host) startGroup(o GroupOptions, s stores) (*Group, error) {
	if err := h.failure(); err != nil {
		return nil, err
	}
	if o.FSM == nil {
		return nil, fmt.Errorf("group %d has no state machine", o.ID)
	}
	if o.Logger == nil {
		o.Logger = h.o.Logger.With("group", o.ID)
	}
	g := &Group{id: o.ID, host: h, o: o, logger: o.Logger, stores: s, notify: notifier{f: o.OnLeader}}
	g.mu.Lock()
	defer g.mu.Unlock()
	h.mu.Lock()
	taken := h.ended || h.groups[o.ID] != nil
	if !taken {
		h.groups[o.ID] = g
	}
	h.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("group %d runs already, or the host is closed", o.ID)
	}
	var err error
	if g.stores.snapshots, err = openSnapshots(h.o.FS, groupDir(h.o.Dir, o.ID)); err == nil {
		if c, ok := o.FSM.(Checker); ok {
			g.stores.snapshots.check = c.Check
		}
		if s.shared != nil {
			s.shared.snapshot = g.held
		}
		if m, ok := s.logs.(*metaStore); ok {
			m.snapshot = g.held
		}
		err = g.start()
	}
	if err != nil {
		g.stopped = true
		h.forget(g)
		return nil, err
	}
	return g, nil
}

func (h *Host) forget(g *Group) {
	h.mu.Lock()
	if h.groups[g.id] == g {
		delete(h.groups, g.id)
	}
	h.mu.Unlock()
}

// Group returns a running group, or nil.
func (h *Host) Group(id uint64) *Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.groups[id]
}

// Groups returns the running groups, by id.
func (h *Host) Groups() []*Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	groups := make([]*Group, 0, len(h.groups))
	for _, id := range slices.Sorted(maps.Keys(h.groups)) {
		groups = append(groups, h.groups[id])
	}
	return groups
}

// StoredGroups lists the shard groups that have any state on this node, running or not.
func (h *Host) StoredGroups() ([]uint64, error) {
	ids := map[uint64]struct{}{}
	for _, id := range append(h.o.Journal.Groups(), h.stable.Groups()...) {
		ids[id] = struct{}{}
	}
	names, err := h.o.FS.List(path.Join(h.o.Dir, groupsDir))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 10, 64); err == nil && id != 0 {
			ids[id] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// StopGroup stops a group and waits for it. An unknown one is no error.
func (h *Host) StopGroup(id uint64) {
	if g := h.Group(id); g != nil {
		g.stop()
		h.forget(g)
		if g.stores.shared == nil {
			h.closeMeta()
		}
	}
}

// DeleteGroup stops a shard's group and durably deletes its entries, snapshot, term and vote.
// It may be repeated after a crash: the vote goes last, so that a group that is back by mistake
// cannot vote twice in a term.
func (h *Host) DeleteGroup(id uint64) error {
	h.StopGroup(id)
	if err := h.o.Journal.DeleteGroup(id); err != nil {
		return fmt.Errorf("delete group %d: %w", id, err)
	}
	if err := h.o.FS.RemoveAll(groupDir(h.o.Dir, id)); err != nil {
		return fmt.Errorf("delete group %d: %w", id, err)
	}
	if err := h.o.FS.SyncDir(path.Join(h.o.Dir, groupsDir)); err != nil {
		return fmt.Errorf("delete group %d: %w", id, err)
	}
	if err := h.stable.Delete(id); err != nil {
		return fmt.Errorf("delete group %d: %w", id, err)
	}
	return nil
}
