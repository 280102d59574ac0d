package node

import (
	"context"
	"slices"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/meta"
)

func (a *adminServer) SplitShard(ctx context.Context, req *pb.SplitShardRequest) (*pb.ReshardResponse, error) {
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	c := meta.BeginReshard{ID: req.GetId(), Parents: []uint32{req.GetShard()}, Reason: reasonOr(req.GetReason(), "asked for")}
	children := max(len(req.GetBounds())+1, int(req.GetParts()), 2)
	fits := func(made int) bool { return made == children || req.GetByLoad() && made < children } // a key is not cut in two
	if out, known, err := a.repeated(ctx, c.ID, st, c.Parents, fits, req.GetWait()); known {
		return out, err
	}
	for _, text := range req.GetBounds() {
		bound, err := hashkey.Parse(text)
		if err != nil {
			return nil, fault.InvalidField("bounds", "%w", err)
		}
		c.Bounds = append(c.Bounds, bound)
	}
	switch {
	case len(c.Bounds) > 0 && (req.GetByLoad() || req.GetParts() > 0):
		return nil, fault.InvalidField("bounds", "bounds say where to split: parts and by_load are for a split without them")
	case req.GetByLoad():
		if c.Bounds, err = a.loadBounds(ctx, st, req.GetShard(), int(max(req.GetParts(), 2))); err != nil {
			return nil, err
		}
	case len(c.Bounds) == 0:
		if c.Bounds, err = evenBounds(st, req.GetShard(), req.GetParts()); err != nil {
			return nil, err
		}
	}
	return a.reshard(ctx, st, c, req.GetWait())
}

// loadBounds returns where to cut a shard into parts of about the same load.
func (a *adminServer) loadBounds(ctx context.Context, st *meta.Stream, shard uint32, parts int) ([]hashkey.Key, error) {
	if parts > meta.ReshardChildMax {
		e := fault.InvalidField("parts", "a shard is split into 2 to %d parts, not %d", meta.ReshardChildMax, parts)
		e.Limit = meta.ReshardChildMax
		return nil, e
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	cut, err := a.n.cutByLoad(ctx, st, shard, parts)
	if err == nil && len(cut.Bounds) == 0 {
		err = fault.New(fault.Conflict, "%s", cut.Reason)
	}
	return cut.Bounds, err
}

// evenBounds returns where to cut a shard into so many even parts, 0 for two.
func evenBounds(st *meta.Stream, shard, parts uint32) ([]hashkey.Key, error) {
	if parts == 0 {
		parts = 2
	}
	if parts < 2 || parts > meta.ReshardChildMax {
		e := fault.InvalidField("parts", "a shard is split into 2 to %d parts, not %d", meta.ReshardChildMax, parts)
		e.Limit = meta.ReshardChildMax
		return nil, e
	}
	sh := st.Shard(shard)
	if sh == nil {
		return nil, fault.New(fault.NotFound, "stream %q has no shard %d", st.Name, shard)
	}
	ranges := sh.Range.SplitEven(int(parts))
	if ranges == nil {
		return nil, fault.InvalidField("parts", "%s has too few hash keys to be split into %d: %s", sh.ID(), parts, sh.Range)
	}
	var bounds []hashkey.Key
	for _, r := range ranges[1:] {
		bounds = append(bounds, r.Start)
	}
	return bounds, nil
}

func (a *adminServer) MergeShards(ctx context.Context, req *pb.MergeShardsRequest) (*pb.ReshardResponse, error) {
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	c := meta.BeginReshard{ID: req.GetId(), Parents: []uint32{req.GetShard(), req.GetWith()}, Reason: reasonOr(req.GetReason(), "asked for")}
	one, other := st.Shard(c.Parents[0]), st.Shard(c.Parents[1])
	if one != nil && other != nil && one.Range.Start.Compare(other.Range.Start) > 0 {
		c.Parents[0], c.Parents[1] = c.Parents[1], c.Parents[0]
	}
	if one == nil || other == nil { // they may have expired since
		turned := []uint32{c.Parents[1], c.Parents[0]}
		if r, ok := a.n.metaStore.State().ReshardByID(c.ID); ok && slices.Equal(r.Parents, turned) {
			c.Parents = turned
		}
	}
	if out, known, err := a.repeated(ctx, c.ID, st, c.Parents, func(made int) bool { return made == 1 }, req.GetWait()); known {
		return out, err
	}
	return a.reshard(ctx, st, c, req.GetWait())
}

func reasonOr(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}

// reshardWait bounds how long one call waits; a caller that wants to wait longer calls again.
const reshardWait = 10 * time.Second

// reshard begins a reshard and answers with what is known of it, with wait once it has ended or after reshardWait.
func (a *adminServer) reshard(ctx context.Context, st *meta.Stream, c meta.BeginReshard, wait bool) (*pb.ReshardResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if c.ID == "" {
		return nil, fault.InvalidField("id", "a reshard needs an id, by which it can be asked for again safely")
	}
	if err := a.n.beginReshard(ctx, st, c); err != nil {
		return nil, err
	}
	r, ok := a.n.metaStore.State().ReshardByID(c.ID)
	if !ok {
		return nil, fault.New(fault.Unavailable, "reshard %q was begun and is forgotten already", c.ID)
	}
	return a.progress(ctx, r, false, wait)
}

// repeated answers for a reshard that exists with the id asked for, and reports whether there is one. Its parents may be gone.
func (a *adminServer) repeated(ctx context.Context, id string, st *meta.Stream, parents []uint32, fits func(children int) bool, wait bool) (*pb.ReshardResponse, bool, error) {
	r, ok := a.n.metaStore.State().ReshardByID(id)
	switch {
	case !ok:
		return nil, false, nil
	case r.StreamID != st.ID || !slices.Equal(r.Parents, parents) || !fits(len(r.Children)):
		return nil, true, fault.New(fault.Conflict, "reshard %q exists and is another one", id)
	}
	out, err := a.progress(ctx, r, true, wait)
	return out, true, err
}

// progress answers with how far a reshard is, with wait once it has ended or after reshardWait.
func (a *adminServer) progress(ctx context.Context, r *meta.Reshard, existed, wait bool) (*pb.ReshardResponse, error) {
	if wait {
		ctx, cancel := context.WithTimeout(ctx, reshardWait)
		defer cancel()
		// How far it is tells whether it has ended, so it does not matter if this gives up.
		_ = a.n.awaitState(ctx, func() bool {
			now, ok := a.n.metaStore.State().Reshard(r.Number)
			if ok {
				r = now
			}
			return !ok || !now.Phase.Active()
		})
	}
	return &pb.ReshardResponse{Reshard: reshardToProto(a.n.metaStore.State(), r), Existed: existed}, nil
}

func (a *adminServer) AbortReshard(ctx context.Context, req *pb.AbortReshardRequest) (*pb.ReshardResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	r, ok := a.n.metaStore.State().ReshardByID(req.GetId())
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no reshard %q; `levada shard reshards` shows those that are remembered", req.GetId())
	}
	if err := a.n.propose(ctx, &meta.AbortReshard{Number: r.Number, Reason: reasonOr(req.GetReason(), "asked for"), Time: a.n.now().UnixMilli()}); err != nil {
		return nil, err
	}
	state := a.n.metaStore.State()
	r, _ = state.ReshardByID(req.GetId())
	return &pb.ReshardResponse{Reshard: reshardToProto(state, r), Existed: true}, nil
}

func (a *adminServer) SetShardCount(ctx context.Context, req *pb.SetShardCountRequest) (*pb.SetShardCountResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	n := a.n
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	if req.GetId() == "" {
		return nil, fault.InvalidField("id", "a number of shards is set with an id, by which it can be asked for again safely")
	}
	if err := n.checkShards(int(req.GetShards())); err != nil {
		return nil, err
	}
	c := &meta.SetGoal{
		ID: req.GetId(), StreamID: st.ID, Shards: int(req.GetShards()), ShardsMax: n.cfg.Limits.ShardsPerStreamMax,
		Reason: reasonOr(req.GetReason(), "asked for"), Time: n.now().UnixMilli(),
	}
	if err := n.propose(ctx, c); err != nil {
		return nil, err
	}
	if req.GetWait() {
		ctx, cancel := context.WithTimeout(ctx, reshardWait)
		defer cancel()
		// The answer tells whether the goal was reached, so it does not matter if this gives up.
		_ = n.awaitState(ctx, func() bool {
			now, ok := n.metaStore.State().StreamByID(st.ID)
			return !ok || now.GoalByID(c.ID) == nil || now.GoalByID(c.ID).Ended != 0
		})
	}
	return a.scaled(req.GetStream())
}

func (a *adminServer) CancelShardCount(ctx context.Context, req *pb.CancelShardCountRequest) (*pb.SetShardCountResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	if g := st.Goal(); g != nil && g.Ended == 0 {
		if err := a.n.propose(ctx, &meta.CancelGoal{StreamID: st.ID, ID: g.ID, Reason: req.GetReason(), Time: a.n.now().UnixMilli()}); err != nil {
			return nil, err
		}
	}
	return a.scaled(req.GetStream())
}

func (a *adminServer) scaled(stream string) (*pb.SetShardCountResponse, error) {
	st, err := a.stream(stream)
	if err != nil {
		return nil, err
	}
	return &pb.SetShardCountResponse{Stream: streamToProto(st, a.n.now())}, nil
}

func (a *adminServer) ListReshards(_ context.Context, req *pb.ListReshardsRequest) (*pb.ListReshardsResponse, error) {
	state := a.n.metaStore.State()
	var of uint64
	if req.GetStream() != "" {
		st, err := a.stream(req.GetStream())
		if err != nil {
			return nil, err
		}
		of = st.ID
	}
	limit := pageLimit(req.GetLimit())
	out := &pb.ListReshardsResponse{}
	for r := range state.RecentReshards(req.GetBefore()) {
		if of != 0 && r.StreamID != of || req.GetActive() && !r.Phase.Active() {
			continue
		}
		if len(out.Reshards) == limit {
			out.More = true
			break
		}
		out.Reshards = append(out.Reshards, reshardToProto(state, r))
	}
	return out, nil
}

func reshardToProto(state *meta.State, r *meta.Reshard) *pb.Reshard {
	p := &pb.Reshard{
		Id: r.ID, Number: r.Number, Parents: r.Parents, Children: r.Children, Phase: string(r.Phase), Reason: r.Reason,
		StartedMs: r.Started, SealingMs: r.Sealing, EndedMs: r.Ended, Failure: r.Failure,
	}
	if st, ok := state.StreamByID(r.StreamID); ok {
		p.Stream = st.Name
	}
	return p
}

// listed reports whether a filter lets a shard through.
func listed(sh *meta.Shard, filter pb.ShardFilter, at int64) bool {
	switch filter {
	case pb.ShardFilter_SHARDS_OPEN:
		return sh.State == meta.ShardOpen
	case pb.ShardFilter_SHARDS_AT:
		return sh.State != meta.ShardPending && sh.Opened <= at && (sh.State == meta.ShardOpen || at < sh.Closed)
	case pb.ShardFilter_SHARDS_FROM:
		return sh.State == meta.ShardOpen || sh.State == meta.ShardClosed && at < sh.Closed
	}
	return true
}
