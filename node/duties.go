package node

import (
	"context"
	"slices"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

// Duties are what a node does by itself, at a steady pace, to bring things to
// where the control state wants them. Each looks at the present and proposes or
// takes one step; none remembers what it did before, so that any node can go on
// after another.
const (
	planEvery       = time.Second
	leadEvery       = time.Second
	metaEvery       = time.Second
	retentionEvery  = 5 * time.Second
	diskEvery       = 2 * time.Second
	keepEvery       = 10 * time.Second
	reportBatchMax  = 1000
	dutyCallTimeout = 2 * time.Second
)

// wakeReport makes reportDuty run soon.
func (n *Node) wakeReport() {
	select {
	case n.reportNow <- struct{}{}:
	default:
	}
}

// every runs duty at the given pace, and at once after each wake-up, until ctx ends.
func every(ctx context.Context, pace time.Duration, wake <-chan struct{}, duty func(context.Context)) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		duty(ctx)
		select {
		case <-tick.C:
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// planDuty starts and deletes replicas as the control state says. It returns how long it took to plan that.
func (n *Node) planDuty(ctx context.Context) (took time.Duration) {
	local, err := n.host.StoredGroups()
	if err != nil {
		n.log.Warn("cannot list the groups on disk", "error", err)
		return 0
	}
	start := time.Now()
	joined := n.joined.Load() // before the state: it must not be older than the registration
	state := n.metaStore.State()
	plan := meta.Plan(state, n.nodeID, local)
	n.plan.Store(&plan)
	n.planned.Store(state.Version())
	took = time.Since(start)
	if !joined {
		plan = onlyWhatIsHere(plan, local)
	}
	n.shards.reconcile(ctx, plan)
	return took
}

// onlyWhatIsHere leaves of a plan what may be done by an old copy of the
// control state, as it is between a start and the registration: running the
// replicas that are on disk. What the copy says of their place may long have
// been undone, and a replica deleted on its word would come back without its vote.
func onlyWhatIsHere(plan []meta.GroupPlan, local []uint64) []meta.GroupPlan {
	var out []meta.GroupPlan
	for _, p := range plan {
		if p.Shard == nil || !slices.Contains(local, p.Group) {
			continue
		}
		if p.Action == meta.ActionDelete {
			p.Action = meta.ActionRun
		}
		out = append(out, p)
	}
	return out
}

// planRest is how many times as long as a plan took its node rests before the next: with
// many shards in the cluster and a change for each of a lost node's leaders, planning would take a core of every node.
const planRest = 10

// restAfter is how long to wait after a plan that took so long, at most until the next is due anyway.
func restAfter(plan time.Duration) time.Duration { return min(planRest*plan, planEvery) }

// followState runs the plan at every change of the control state, and at a
// steady pace for what could not be done the first time.
func (n *Node) followState(ctx context.Context) {
	tick := time.NewTicker(planEvery)
	defer tick.Stop()
	for {
		version := n.metaStore.State().Version()
		if err := n.adoptCluster(); err != nil {
			n.fail(err)
			return
		}
		if err := n.checkMembership(); err != nil {
			n.fail(err)
			return
		}
		n.gossipState()
		took := n.planDuty(ctx)
		select {
		case <-time.After(restAfter(took)):
		case <-ctx.Done():
			return
		}
		select {
		case <-n.metaStore.Watch(version):
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// keepState takes a snapshot of the control state if it has changed. The log of
// the meta group does not say how far it is committed: after a restart without
// the group's majority the last snapshot is all that the data path has to go on.
func (n *Node) keepState() {
	version := n.metaStore.State().Version()
	if version == n.kept {
		return
	}
	if err := n.metaRaft.Snapshot(); err != nil {
		n.log.Debug("cannot keep the control state now", "error", err)
		return
	}
	n.kept = version
}

// checkMembership stops a node that the cluster has given up: it must not come
// back as if nothing had been.
func (n *Node) checkMembership() error {
	node, ok := n.metaStore.State().Node(n.nodeID)
	if !ok || node.State == meta.NodeJoined {
		return nil
	}
	return fault.New(fault.Conflict, "the cluster has %s this node (%s, id %s); move its data directory away to let it join as a new node", node.State, node.Name, node.ID)
}

// reportDuty tells the meta group which shards this node leads, where that is
// not on record, and with which members.
func (n *Node) reportDuty(ctx context.Context) {
	state := n.metaStore.State()
	if state.Cluster().ID == "" {
		return
	}
	var statuses []meta.GroupStatus
	for _, sh := range n.shards.all() {
		leader, term := sh.raft.Leader()
		if leader != n.nodeID || !sh.raft.IsLeader() {
			continue
		}
		record, ok := state.ShardByGroup(sh.group)
		if !ok {
			continue
		}
		servers, committed := sh.raft.CommittedServers()
		members := membersOf(servers)
		if !committed || !sh.leads() || (record.Leader == leader && record.Term == term && record.MembersFor == record.DesiredVersion &&
			slices.Equal(membersOnly(record.Members), membersOnly(members))) {
			continue
		}
		// A node that the report leaves out deletes its data: so the members must be
		// committed, and of a leader that still is one.
		if sh.raft.VerifyLeader() != nil {
			continue
		}
		if servers, committed = sh.raft.CommittedServers(); !committed {
			continue
		}
		members = membersOf(servers)
		statuses = append(statuses, meta.GroupStatus{Group: sh.group, Node: leader, Term: term, Members: members, DesiredVersion: record.DesiredVersion, Reason: sh.raft.LeadReason(term)})
		if len(statuses) == reportBatchMax {
			break
		}
	}
	if len(statuses) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := n.propose(ctx, &meta.ReplicaStatus{Statuses: statuses, Time: n.now().UnixMilli()}); err != nil && ctx.Err() == nil {
		n.log.Warn("cannot report shard leaders", "shards", len(statuses), "error", err)
	}
}

// membersOnly leaves out how far behind members are, which changes all the time.
func membersOnly(members []meta.Member) []meta.Member {
	out := slices.Clone(members)
	for i := range out {
		out[i].Lag = 0
	}
	slices.SortFunc(out, func(a, b meta.Member) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return out
}

// membersIn is the actual membership of a group, without lags; nil if it cannot be told.
func membersIn(g *raftfsm.Group) []meta.Member {
	servers, err := g.Servers()
	if err != nil {
		return nil
	}
	return membersOf(servers)
}

func membersOf(servers []raftfsm.Server) []meta.Member {
	members := make([]meta.Member, len(servers))
	for i, s := range servers {
		members[i] = meta.Member{Node: s.ID, Voter: s.Voter}
	}
	return members
}

// memberDuty takes the next step towards the wished-for replicas in each shard
// that this node leads.
func (n *Node) memberDuty(ctx context.Context) {
	state := n.metaStore.State()
	for _, sh := range n.shards.all() {
		record, ok := state.ShardByGroup(sh.group)
		if !ok || ctx.Err() != nil || !sh.raft.IsLeader() {
			continue
		}
		n.stepMembership(ctx, sh.raft, sh.group, record.Desired, membersIn(sh.raft))
	}
}

// stepMembership takes one step of a group's membership towards desired. Errors
// are left to the next round: a step is only taken if it is still right then.
func (n *Node) stepMembership(ctx context.Context, g *raftfsm.Group, group uint64, desired []string, members []meta.Member) {
	learner := func(m meta.Member) bool { return !m.Voter }
	if len(members) == 0 || (slices.Equal(sortedIDs(desired), sortedIDs(nodesOf(members))) && !slices.ContainsFunc(members, learner)) {
		return
	}
	last := g.LastIndex()
	for i := range members {
		members[i].Lag = n.lagOf(ctx, members[i].Node, group, last)
	}
	step := meta.ReconcileMembership(n.nodeID, desired, members)
	var err error
	switch step.Kind {
	case meta.StepAddLearner:
		err = g.AddLearner(step.Node)
	case meta.StepPromote:
		err = g.AddVoter(step.Node)
	case meta.StepRemove:
		err = g.Remove(step.Node)
	case meta.StepTransfer:
		err = g.TransferLeadership(step.Node)
	default:
		return
	}
	n.log.Info("membership step", "group", group, "step", step.Kind, "node", step.Node, "error", err)
}

func nodesOf(members []meta.Member) []string {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.Node
	}
	return ids
}

func sortedIDs(ids []string) []string {
	out := slices.Clone(ids)
	slices.Sort(out)
	return out
}

// lagOf asks a member how many entries it is behind.
func (n *Node) lagOf(ctx context.Context, id string, group, last uint64) uint64 {
	if id == n.nodeID {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, dutyCallTimeout)
	defer cancel()
	st, err := n.groupStatusOf(ctx, id, group)
	if err != nil || !st.Running {
		return meta.LagUnknown
	}
	return last - min(last, st.Applied)
}

// metaDuty is the meta leader's: take nodes into the meta group, and replace lost replicas.
func (n *Node) metaDuty(ctx context.Context) {
	if !n.metaRaft.IsLeader() {
		return
	}
	n.stepMetaMembership(ctx)
	for _, command := range meta.Repair(n.metaStore.State(), n.hints(), n.now().UnixMilli()) {
		n.log.Info("replacing a lost replica", "group", command.Group, "replicas", command.Replicas, "before", command.Previous)
		if err := n.proposeCommand(ctx, &command); err != nil && fault.KindOf(err) != fault.Conflict {
			n.log.Warn("cannot replace a replica", "group", command.Group, "error", err)
			return
		}
	}
}

func (n *Node) proposeCommand(ctx context.Context, c meta.Command) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return n.propose(ctx, c)
}

// retentionDuty trims, in the shards that this node leads, what their streams no longer keep,
// and gives the disk back: a shard that nobody writes to would take no snapshot by itself.
func (n *Node) retentionDuty(ctx context.Context) {
	state := n.metaStore.State()
	gone := map[uint64][]uint32{} // by stream: closed shards without records
	for _, sh := range n.shards.all() {
		if sh.replica.SweepDue() {
			n.host.RequestSnapshot(sh.group)
		}
		st, ok := state.StreamByID(sh.stream.ID)
		if !ok || !sh.raft.IsLeader() {
			continue
		}
		if n.expired(st, sh) {
			gone[st.ID] = append(gone[st.ID], sh.number)
		}
		keep := time.Duration(st.Settings.RetentionSeconds) * time.Second
		if ordinal, due := sh.replica.Retention(n.now(), keep, st.Settings.RetentionBytes); due {
			if err := sh.replica.Trim(ordinal); err != nil {
				n.log.Debug("cannot trim now", "group", sh.group, "error", err)
			}
		}
		if sh.replica.TickDue(n.now()) {
			if err := sh.replica.Tick(); err != nil {
				n.log.Debug("cannot tell a shard the time now", "group", sh.group, "error", err)
			}
		}
	}
	n.dropExpired(ctx, gone)
}

// expired reports whether all that is left of a closed shard is that it was there. One that never had any records
// stays as long as if it had, so that its lineage can be seen.
func (n *Node) expired(st *meta.Stream, sh *shard) bool {
	record := st.Shard(sh.number)
	return record != nil && record.State == meta.ShardClosed && sh.replica.First() >= record.End.Ordinal &&
		n.now().UnixMilli()-record.Closed > st.Settings.RetentionSeconds*1000
}

// dropExpired takes shards out of the partition map of whose records none is kept any more.
func (n *Node) dropExpired(ctx context.Context, gone map[uint64][]uint32) {
	for stream, shards := range gone {
		n.log.Info("the records of closed shards have expired; they leave the partition map", "stream", stream, "shards", shards)
		if err := n.proposeCommand(ctx, &meta.DropShards{StreamID: stream, Shards: shards, Time: n.now().UnixMilli()}); err != nil {
			n.log.Warn("cannot drop shards", "stream", stream, "error", err)
			return // and try again at the next round
		}
	}
}
