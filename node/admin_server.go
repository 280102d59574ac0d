package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// adminServer serves the Admin API from this node's copy of the control state;
// changes go to the meta group's leader.
type adminServer struct {
	pb.UnimplementedAdminServer
	n *Node
}

// adminTimeout bounds a change whose caller set no deadline.
const adminTimeout = 30 * time.Second

func (a *adminServer) CreateStream(ctx context.Context, req *pb.CreateStreamRequest) (*pb.CreateStreamResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	n := a.n
	state := n.metaStore.State()
	settings, err := n.settingsFrom(state, req.GetSettings())
	if err != nil {
		return nil, err
	}
	c := meta.CreateStream{Name: req.GetName(), Settings: settings, Writer: req.GetId()}
	if req.GetScaling() != nil {
		policy, err := n.scalingFrom(req.GetScaling())
		if err != nil {
			return nil, err
		}
		c.Scaling = &policy
	}
	for _, d := range req.GetDocuments() {
		c.Documents = append(c.Documents, meta.NewDocument{Name: d.GetName(), Value: d.GetValue()})
	}
	if st, ok := state.StreamByName(req.GetName()); ok && st.Settings == settings && c.Writer == "" {
		return a.created(ctx, req, true)
	}
	if err := n.createStream(ctx, c); err != nil {
		return nil, err
	}
	return a.created(ctx, req, false)
}

// created answers a CreateStream once the stream is there and, if asked to, ready.
func (a *adminServer) created(ctx context.Context, req *pb.CreateStreamRequest, existed bool) (*pb.CreateStreamResponse, error) {
	if req.GetWait() {
		err := a.n.awaitState(ctx, func() bool {
			st, ok := a.n.metaStore.State().StreamByName(req.GetName())
			return !ok || st.Leaderless() == 0
		})
		if err != nil {
			return nil, fault.New(fault.Unavailable, "stream %q was created, but not every shard has a leader yet; `levada stream describe %s` shows which: %w", req.GetName(), req.GetName(), err)
		}
	}
	st, err := a.stream(req.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.CreateStreamResponse{Stream: streamToProto(st, a.n.now()), Existed: existed}, nil
}

// settingsFrom fills in defaults; the default of replicas is three, or one
// where fewer nodes take part and no more are expected. While nodes of a new
// cluster have still to register it refuses to choose: the choice is for good.
func (n *Node) settingsFrom(state *meta.State, p *pb.StreamSettings) (meta.Settings, error) {
	for _, f := range []struct {
		name string
		ms   int64
	}{{"retention_ms", p.GetRetentionMs()}, {"dedup_window_ms", p.GetDedupWindowMs()}} {
		if f.ms%1000 != 0 || f.ms < 0 {
			return meta.Settings{}, fault.InvalidField(f.name, "%s must be a positive whole number of seconds, not %d ms", f.name, f.ms)
		}
	}
	s := meta.Settings{
		Shards: int(p.GetShards()), Replicas: int(p.GetReplicas()), RetentionSeconds: p.GetRetentionMs() / 1000,
		RetentionBytes: p.GetRetentionBytes(), MaxRecordBytes: int64(p.GetMaxRecordBytes()), DedupWindowSeconds: p.GetDedupWindowMs() / 1000,
	}
	joined := 0
	for _, node := range state.Nodes() {
		if node.State == meta.NodeJoined {
			joined++
		}
	}
	if s.Replicas == 0 && joined < meta.ReplicasDefault {
		if expect := n.cfg.Cluster.ExpectNodes; expect >= meta.ReplicasDefault {
			return s, fault.New(fault.Unavailable, "%d of %d expected nodes have registered, too few for %d replicas; retry, or say how many replicas", joined, expect, meta.ReplicasDefault)
		}
		s.Replicas = 1
	}
	if s.MaxRecordBytes == 0 {
		s.MaxRecordBytes = min(meta.RecordBytesDefault, int64(n.cfg.Limits.RecordBytesMax))
	}
	s = s.WithDefaults()
	if err := n.checkRecordBytes(s.MaxRecordBytes); err != nil {
		return s, err
	}
	if err := n.checkShards(s.Shards); err != nil {
		return s, err
	}
	return s, s.Validate()
}

func (n *Node) checkRecordBytes(most int64) error {
	if limit := int64(n.cfg.Limits.RecordBytesMax); most > limit {
		return fault.TooLargeField("max_record_bytes", uint64(limit), "max_record_bytes is %d, this cluster allows %d (limits.record_bytes_max)", most, limit)
	}
	return nil
}

func (a *adminServer) UpdateStream(ctx context.Context, req *pb.UpdateStreamRequest) (*pb.UpdateStreamResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	command := &meta.UpdateStream{Name: req.GetName(), Time: a.n.now().UnixMilli()}
	if st, ok := a.n.metaStore.State().StreamByName(req.GetName()); ok {
		command.StreamID = st.ID
	}
	if req.RetentionMs != nil {
		if req.GetRetentionMs()%1000 != 0 {
			return nil, fault.InvalidField("retention_ms", "retention_ms must be a whole number of seconds, not %d ms", req.GetRetentionMs())
		}
		seconds := req.GetRetentionMs() / 1000
		command.RetentionSeconds = &seconds
	}
	command.RetentionBytes = req.RetentionBytes
	if req.MaxRecordBytes != nil {
		most := int64(req.GetMaxRecordBytes())
		if err := a.n.checkRecordBytes(most); err != nil {
			return nil, err
		}
		command.MaxRecordBytes = &most
	}
	if err := a.n.propose(ctx, command); err != nil {
		return nil, err
	}
	st, err := a.stream(req.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.UpdateStreamResponse{Stream: streamToProto(st, a.n.now())}, nil
}

func (a *adminServer) DeleteStream(ctx context.Context, req *pb.DeleteStreamRequest) (*pb.DeleteStreamResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if err := a.n.propose(ctx, deleteCommand(a.n.metaStore.State(), req.GetName(), a.n.now().UnixMilli())); err != nil {
		return nil, err
	}
	return &pb.DeleteStreamResponse{}, nil
}

// deleteCommand names the stream by its id too: a proposal whose answer was lost
// is proposed again, and must neither fail nor delete a later stream of that name.
func deleteCommand(state *meta.State, name string, now int64) *meta.DeleteStream {
	c := &meta.DeleteStream{Name: name, TombstonesMax: meta.TombstonesKept, Time: now}
	if st, ok := state.StreamByName(name); ok {
		c.StreamID = st.ID
	}
	return c
}

func (a *adminServer) DescribeStream(_ context.Context, req *pb.DescribeStreamRequest) (*pb.DescribeStreamResponse, error) {
	st, err := a.stream(req.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.DescribeStreamResponse{Stream: streamToProto(st, a.n.now())}, nil
}

func (a *adminServer) stream(name string) (*meta.Stream, error) {
	return streamByName(a.n.metaStore.State(), name)
}

func streamByName(state *meta.State, name string) (*meta.Stream, error) {
	st, ok := state.StreamByName(name)
	if !ok {
		e := fault.New(fault.NotFound, "stream %q does not exist; `levada stream list` shows those that do", name)
		e.Field = "stream"
		return nil, e
	}
	return st, nil
}

// pageMax is the most entries of one page of a listing.
const pageMax = 1000

func (a *adminServer) ListStreams(_ context.Context, req *pb.ListStreamsRequest) (*pb.ListStreamsResponse, error) {
	limit := pageLimit(req.GetLimit())
	out := &pb.ListStreamsResponse{}
	for st := range a.n.metaStore.State().StreamsByName(req.GetAfter()) {
		if len(out.Streams) == limit {
			out.More = true
			break
		}
		out.Streams = append(out.Streams, streamToProto(st, a.n.now()))
	}
	return out, nil
}

func pageLimit(asked uint32) int {
	if asked == 0 || asked > pageMax {
		return pageMax
	}
	return int(asked)
}

func (a *adminServer) ListShards(_ context.Context, req *pb.ListShardsRequest) (*pb.ListShardsResponse, error) {
	state := a.n.metaStore.State()
	st, err := streamByName(state, req.GetStream())
	if err != nil {
		return nil, err
	}
	limit := pageLimit(req.GetLimit())
	out := &pb.ListShardsResponse{MapVersion: state.Version()}
	for sh := range st.Shards() {
		if req.GetHasAfter() && sh.Number <= req.GetAfter() || !listed(sh, req.GetFilter(), req.GetAtMs()) {
			continue
		}
		if len(out.Shards) == limit {
			out.More = true
			break
		}
		out.Shards = append(out.Shards, a.n.shardToProto(state, sh))
	}
	return out, nil
}

// shardToProto describes a shard; its leader is the one this node's replica
// knows, which is fresher than the control state, or else the one on record.
func (n *Node) shardToProto(state *meta.State, sh *meta.Shard) *pb.Shard {
	leader := n.leaderOf(sh)
	p := &pb.Shard{
		Number: sh.Number, Id: sh.ID(), Group: sh.Group, HashStart: sh.Range.Start.String(), HashEnd: sh.Range.End.String(),
		State: string(sh.State), LeaderNode: leader, Parents: sh.Parents, Children: sh.Children,
		CreatedMs: sh.Created, OpenedMs: sh.Opened, ClosedMs: sh.Closed, EndOrdinal: sh.End.Ordinal, EndTimeMs: sh.End.Time,
	}
	for _, id := range sh.Desired {
		r := &pb.Replica{Node: id, Leader: id == leader, Voter: sh.Votes(id)}
		if node, ok := state.Node(id); ok {
			r.NodeName, r.Address = node.Name, node.Addresses.GRPC
		}
		p.Replicas = append(p.Replicas, r)
	}
	if node, ok := state.Node(leader); ok {
		p.LeaderAddress = node.Addresses.GRPC
	}
	return p
}

func (n *Node) leaderOf(sh *meta.Shard) string {
	if s := n.shards.byGroup(sh.Group); s != nil {
		if leader, _ := s.raft.Leader(); leader != "" {
			return leader
		}
		// This replica has lost its leader, so the one on record is doubtful.
		return ""
	}
	return sh.Leader
}

func streamToProto(st *meta.Stream, now time.Time) *pb.Stream {
	s := st.Settings
	var salted []*pb.SaltedKey
	for _, k := range st.Salted() {
		salted = append(salted, &pb.SaltedKey{HashKey: k.Key.String(), Parts: uint32(k.Parts), SinceMs: k.Since})
	}
	return &pb.Stream{
		Goal: goalToProto(st.Goal()), Scaling: scalingToProto(st.Scaling()), SaltedKeys: salted,
		ShardHoursToday: (time.Duration(st.ShardMillis(now.UnixMilli())) * time.Millisecond).Hours(),
		Name:            st.Name, Id: st.ID, State: string(st.State), CreatedMs: st.Created, OpenShards: uint32(st.OpenCount()),
		Durability: durabilityText(s.Replicas),
		Settings: &pb.StreamSettings{
			Shards: uint32(s.Shards), Replicas: uint32(s.Replicas), RetentionMs: s.RetentionSeconds * 1000,
			RetentionBytes: s.RetentionBytes, MaxRecordBytes: uint32(s.MaxRecordBytes), DedupWindowMs: s.DedupWindowSeconds * 1000,
		},
	}
}

func goalToProto(g *meta.Goal) *pb.ShardGoal {
	if g == nil {
		return nil
	}
	return &pb.ShardGoal{Id: g.ID, Shards: uint32(g.Shards), Reason: g.Reason, StartedMs: g.Started, EndedMs: g.Ended, Failure: g.Failure}
}

// durabilityText says what an acknowledgement of a stream means.
func durabilityText(replicas int) string {
	if replicas == 1 {
		return "acknowledged when synced to the one replica's disk; the loss of that disk loses the records"
	}
	return fmt.Sprintf("acknowledged when synced to the disks of %d of %d replicas; survives the loss of any %d and a power loss of all", replicas/2+1, replicas, replicas/2)
}

func (a *adminServer) GetCluster(_ context.Context, req *pb.GetClusterRequest) (*pb.GetClusterResponse, error) {
	n := a.n
	state := n.metaStore.State()
	c := state.Cluster()
	leader, _ := n.metaRaft.Leader()
	out := &pb.GetClusterResponse{
		ClusterId: c.ID, ClusterName: c.Name, MetaLeader: leader, Version: state.Version(), Streams: uint32(state.StreamCount()),
	}
	if leader == "" {
		out.Problems = append(out.Problems, "the meta group has no leader: streams cannot be created or changed until a majority of its nodes is up")
	}
	if problem := metaProblem(membersIn(n.metaRaft), state); problem != "" {
		out.Problems = append(out.Problems, problem)
	}
	nodes := n.nodesToProto(state, out)
	n.countShards(state, nodes, out)
	for f := range state.RecentFailovers(int(req.GetFailoverLimit())) {
		p := &pb.Failover{Shard: f.Shard, Group: f.Group, FromNode: f.From, ToNode: f.To, Term: f.Term, TimeMs: f.Time, Reason: f.Reason}
		if st, ok := state.StreamByID(f.StreamID); ok {
			p.Stream = st.Name
		}
		out.Failovers = append(out.Failovers, p)
	}
	out.Healthy = len(out.Problems) == 0
	return out, nil
}

// nodesToProto adds the nodes and what is wrong with them, and returns them by id.
func (n *Node) nodesToProto(state *meta.State, out *pb.GetClusterResponse) map[string]*pb.Node {
	alive := n.aliveNodes()
	voters := votersIn(n.metaRaft)
	nodes := map[string]*pb.Node{}
	for _, node := range state.Nodes() {
		p := &pb.Node{
			Id: node.ID, Name: node.Name, State: string(node.State), GrpcAddress: node.Addresses.GRPC, HttpAddress: node.Addresses.HTTP,
			RaftAddress: node.Addresses.Raft, Zone: node.Zone, Roles: node.Roles, DiskClass: node.DiskClass,
			MetaVoter: slices.Contains(voters, node.ID),
		}
		if node.ID == n.nodeID {
			p.Version = Version // others' are theirs to tell
		}
		if node.State == meta.NodeJoined {
			p.State = "alive"
			if !alive[node.ID] {
				p.State = "unreachable"
				out.Problems = append(out.Problems, fmt.Sprintf("node %s (%s) is unreachable", node.Name, node.Addresses.Gossip))
			}
		}
		nodes[node.ID] = p
		out.Nodes = append(out.Nodes, p)
	}
	return nodes
}

// countShards adds the shard counts of the cluster and of each node.
func (n *Node) countShards(state *meta.State, nodes map[string]*pb.Node, out *pb.GetClusterResponse) {
	incomplete := 0
	for st := range state.Streams() {
		for sh := range st.Shards() {
			out.Shards++
			if !state.Whole(sh) {
				incomplete++
			}
			leader := n.leaderOf(sh)
			if leader == "" {
				out.ShardsWithoutLeader++
			}
			if p := nodes[leader]; p != nil {
				p.Leaders++
			}
			for _, id := range sh.Desired {
				if p := nodes[id]; p != nil {
					p.Replicas++
				}
			}
		}
	}
	if incomplete > 0 {
		out.Problems = append(out.Problems, fmt.Sprintf("%d of %d shards have replicas that do not vote yet, or are lost: they are being replaced", incomplete, out.Shards))
	}
	if out.ShardsWithoutLeader > 0 {
		out.Problems = append(out.Problems, fmt.Sprintf("%d of %d shards have no leader", out.ShardsWithoutLeader, out.Shards))
	}
}
