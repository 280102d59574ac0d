package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
	"github.com/levada-stream/levada/membership"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
	"github.com/levada-stream/levada/raftfsm"
	"github.com/levada-stream/levada/wal"
)

// Version is the version of this program, as nodes tell each other.
const Version = "0.1.0"

// Info tells where a node that serves can be reached.
type Info struct {
	Name, NodeID             string
	GRPC, HTTP, Raft, Gossip string
	Kinesis                  string // "" if that API is not served
}

// Node is one running node. Fields are set before anything else runs and never
// after, but for those that say otherwise.
type Node struct {
	cfg       configs.Config
	log       hclog.Logger
	fs        vfs.FS
	now       func() time.Time
	addresses meta.Addresses

	journal    *journal.Journal
	writer     *wal.Writer
	budget     *partition.Budget // of appends
	readBudget *partition.Budget // of pages for readers
	repeatable *partition.Budget // of what shards remember of repeatable calls
	transport  *raftfsm.Transport
	host       *raftfsm.Host
	members    atomic.Pointer[membership.Gossip] // set once; nil only while the node starts
	told       membership.Meta                   // what gossip was last told; owned by followState
	metaStore  *meta.Store
	metaRaft   *raftfsm.Group
	shards     *shardSet
	tokens     *tokenBuckets // of the shards that this node leads
	claims     *claims
	peers      *peerConns
	disk       *diskGuard
	apiConns   *limitListener // of clients
	adminConns *limitListener

	kinesisAddress string // "" if that API is not served

	plan      atomic.Pointer[[]meta.GroupPlan]
	reportNow chan struct{} // capacity 1: a wake-up, not a count
	spread    chan struct{} // capacity 1: the meta group has committed something that others may not know of
	started   time.Time
	joined    atomic.Bool
	joinedAt  atomic.Uint64 // version of the control state that holds this start's registration
	planned   atomic.Uint64 // version of the control state that plan is of
	kept      uint64        // version of the control state in the last snapshot; owned by keepState

	reshardTimes reshardTimes // of the reshards that this node drove to their ends

	nodeID, name string
	incarnation  uint64

	idMu sync.Mutex
	id   identity // guarded by idMu

	failMu  sync.Mutex
	failErr error // the first failure
	stop    context.CancelCauseFunc
}

// Run runs a node until ctx ends or the node cannot go on. It calls ready once the node
// serves: it is registered with its cluster and runs what is placed on it.
// An error says why the node could not start or had to stop; nil means that ctx ended.
func Run(ctx context.Context, cfg configs.Config, log hclog.Logger, ready func(Info)) error {
	n, err := newNode(cfg, log)
	if err != nil {
		return err
	}
	return n.serve(ctx, ready)
}

// repeatableRunsMax bounds what the open shards of the node remember of repeatable calls, about 200 bytes a run: a hundred and
// twenty shards with full tables, or many more with less.
const repeatableRunsMax = 2_000_000

// newNode returns a node that has nothing open yet.
func newNode(cfg configs.Config, log hclog.Logger) (*Node, error) {
	name, err := cfg.NodeName()
	if err != nil {
		return nil, err
	}
	return &Node{
		cfg: cfg, log: log.With("node", name), fs: vfs.OSDirect(vfs.DirectIO(cfg.Storage.DirectIO)), now: time.Now,
		started: time.Now(), metaStore: meta.NewStore(), reportNow: make(chan struct{}, 1), spread: make(chan struct{}, 1),
		budget:     partition.NewBudget(int64(cfg.Limits.AppendBytesInFlightMax)),
		readBudget: partition.NewBudget(int64(cfg.Limits.ReadBytesInFlightMax)),
		repeatable: partition.NewBudget(repeatableRunsMax),
		tokens:     newTokenBuckets(),
		claims:     newClaims(),
	}, nil
}

func (n *Node) serve(ctx context.Context, ready func(Info)) (err error) {
	name, err := n.cfg.NodeName()
	if err != nil {
		return err
	}
	var lock io.Closer
	if n.id, lock, err = openIdentity(n.fs, n.cfg.Node.DataDir, name, n.cfg.Cluster.Name); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	n.nodeID, n.name, n.incarnation = n.id.NodeID, n.id.Name, n.id.Incarnation
	ctx, n.stop = context.WithCancelCause(ctx)
	defer n.stop(nil)
	return n.run(ctx, ready)
}

// closers close in reverse order of their opening.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i]())
	}
	return errors.Join(errs...)
}

func (n *Node) run(ctx context.Context, ready func(Info)) (err error) {
	var opened closers
	defer func() { err = errors.Join(err, opened.close()) }()
	ports, err := n.listen()
	if err != nil {
		return err
	}
	opened.add(ports.close)
	limits := n.cfg.Limits
	n.apiConns = newLimitListener(ports.grpc, limits.ConnectionsMax, "limits.connections_max", n.log)
	n.adminConns = newLimitListener(ports.http, limits.AdminConnectionsMax, "limits.admin_connections_max", n.log)
	if err := n.openStorage(&opened); err != nil {
		return err
	}
	if err := n.openConsensus(ports, &opened); err != nil {
		return err
	}
	// The names of what was just made must last before anybody counts on what is in it.
	if err := n.fs.SyncDir(n.cfg.Node.DataDir); err != nil {
		return err
	}
	if err := n.openMembership(&opened); err != nil {
		return err
	}
	var work sync.WaitGroup
	opened.add(func() error { work.Wait(); return nil })
	registry := n.registerMetrics(prometheus.NewRegistry())
	n.serveAdmin(registry, &opened)
	n.serveAPI(ports, &opened)
	if err := n.serveKinesis(ctx, ports, registry, &opened); err != nil {
		return n.reason(ctx, err)
	}
	opened.add(func() error { n.stop(nil); return nil })
	n.log.Info("node is up", "id", n.nodeID, "grpc", n.addresses.GRPC, "raft", n.addresses.Raft, "gossip", n.addresses.Gossip, "http", n.addresses.HTTP)

	work.Go(func() { n.followState(ctx) })
	work.Go(func() { n.twinDuty(ctx) })
	if err := n.found(ctx); err != nil {
		return n.reason(ctx, err)
	}
	n.startDuties(ctx, &work)
	if err := n.join(ctx); err != nil {
		return n.reason(ctx, err)
	}
	n.joinedAt.Store(n.metaStore.State().Version())
	n.joined.Store(true)
	n.planDuty(ctx) // now the control state may be believed
	if n.awaitReady(ctx) == nil {
		ready(n.info())
		<-ctx.Done()
	}
	if n.failure() == nil {
		n.handOver()
	}
	return n.reason(ctx, nil)
}

// reason turns the end of the context into what Run returns.
func (n *Node) reason(ctx context.Context, err error) error {
	if failed := n.failure(); failed != nil {
		return failed
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// fail stops the node for good; only the first reason counts.
func (n *Node) fail(err error) {
	n.failMu.Lock()
	defer n.failMu.Unlock()
	if n.failErr == nil {
		n.failErr = err
		n.log.Error("node stops", "error", err)
		n.stop(err)
	}
}

func (n *Node) failure() error {
	n.failMu.Lock()
	defer n.failMu.Unlock()
	return n.failErr
}

func (n *Node) info() Info {
	return Info{Name: n.name, NodeID: n.nodeID, GRPC: n.addresses.GRPC, HTTP: n.addresses.HTTP, Raft: n.addresses.Raft, Gossip: n.addresses.Gossip, Kinesis: n.kinesisAddress}
}

func (n *Node) startDuties(ctx context.Context, work *sync.WaitGroup) {
	work.Go(func() { every(ctx, leadEvery, n.reportNow, n.reportDuty) })
	work.Go(func() { every(ctx, leadEvery, nil, n.memberDuty) })
	work.Go(func() { every(ctx, metaEvery, nil, n.metaDuty) })
	work.Go(func() { n.spreadCommits(ctx) })
	work.Go(func() { n.followReshards(ctx) })
	work.Go(func() { every(ctx, scaleEvery, nil, n.scaleDuty) })
	work.Go(func() { every(ctx, retentionEvery, nil, n.retentionDuty) })
	work.Go(func() { every(ctx, diskEvery, nil, n.diskDuty) })
	work.Go(func() { every(ctx, keepEvery, nil, func(context.Context) { n.keepState() }) })
}

// notReady says why the node does not serve yet, "" if it does.
func (n *Node) notReady() string {
	if err := n.failure(); err != nil {
		return err.Error()
	}
	if !n.joined.Load() {
		return "not registered with a cluster yet"
	}
	if n.planned.Load() < n.joinedAt.Load() {
		return "the control state is not carried out yet"
	}
	if plan := n.plan.Load(); plan != nil {
		if count, why := n.shards.pending(*plan); why != nil {
			return fmt.Sprintf("%d shard replicas cannot start: %v", count, why)
		} else if count > 0 {
			return fmt.Sprintf("%d shard replicas are starting", count)
		}
	}
	return ""
}

func (n *Node) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n.notReady() != "" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// openStorage opens the journal and the writer of the shard logs.
func (n *Node) openStorage(opened *closers) error {
	dir := n.cfg.Node.DataDir
	s := n.cfg.Storage
	n.disk = newDiskGuard(n.fs, dir, int64(s.JournalSegmentBytes), n.log)
	n.writer = wal.NewWriter(wal.WriterOptions{
		DirtyBytesMax: int64(s.DirtyBytesMax), FlushInterval: s.FlushInterval.Std(), CacheBytes: int64(s.ReadCacheBytes),
		OnError: func(err error) { n.fail(fmt.Errorf("a shard log cannot be written: %w", err)) },
	})
	opened.add(n.writer.Close)
	j, err := journal.Open(n.fs, path.Join(dir, "journal"), journal.Options{
		SegmentBytes: int64(s.JournalSegmentBytes), MaxBytes: int64(s.JournalBytesMax), CacheBytes: int64(s.JournalCacheBytes),
		MustExist:       n.id.hasVoted(),
		RequestSnapshot: func(group uint64) { n.host.RequestSnapshot(group) },
		OnFailure: func(err error) {
			err = fmt.Errorf("the journal cannot be written; no shard of this node is served any more: %w", err)
			n.host.Fail(err)
			n.fail(err)
		},
		Logger: n.log.Named("journal"),
	})
	if err != nil {
		if corrupt := (*journal.CorruptError)(nil); errors.As(err, &corrupt) {
			err = fmt.Errorf("%w; restore it, or move the whole data directory away to come back as a new node", err)
		}
		return err
	}
	n.journal = j
	opened.add(j.Close)
	return nil
}
