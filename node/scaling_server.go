package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/autoscale"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/meta"
)

// shardsAtOnceMax bounds the shards whose keys one call looks at.
const shardsAtOnceMax = 16

func (a *adminServer) SetScaling(ctx context.Context, req *pb.SetScalingRequest) (*pb.SetScalingResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	p, err := a.n.scalingFrom(req.GetScaling())
	if err != nil {
		return nil, err
	}
	if err := a.n.propose(ctx, &meta.SetScaling{StreamID: st.ID, Scaling: p, Reason: req.GetReason(), Time: a.n.now().UnixMilli()}); err != nil {
		return nil, err
	}
	out, err := a.streamNow(req.GetStream())
	return &pb.SetScalingResponse{Stream: out}, err
}

// scalingFrom fills in the defaults of a policy.
func (n *Node) scalingFrom(req *pb.Scaling) (meta.Scaling, error) {
	p := scalingFromProto(req)
	if p.ShardsMax == 0 {
		p.ShardsMax = min(meta.CompleteScaling(p).ShardsMax, n.cfg.Limits.ShardsPerStreamMax)
	}
	p = meta.CompleteScaling(p)
	if p.ShardsMin > p.ShardsMax {
		return p, fault.InvalidField("shards_min", "shards_min is %d, above shards_max, which is %d", p.ShardsMin, p.ShardsMax)
	}
	if err := p.Validate(); err != nil {
		return p, err
	}
	return p, n.checkShards(p.ShardsMax)
}

// streamNow describes a stream as it is after a change.
func (a *adminServer) streamNow(name string) (*pb.Stream, error) {
	st, err := a.stream(name)
	if err != nil {
		return nil, err
	}
	return streamToProto(st, a.n.now()), nil
}

func scalingFromProto(p *pb.Scaling) meta.Scaling {
	return meta.Scaling{
		Mode: meta.ScalingMode(p.GetMode()), OnDemand: p.GetOnDemand(), BytesPerSecond: p.GetBytesPerSecond(), RecordsPerSecond: p.GetRecordsPerSecond(),
		SplitSeconds: p.GetSplitSeconds(), MergeSeconds: p.GetMergeSeconds(), MergePercent: int(p.GetMergePercent()), CooldownSeconds: p.GetCooldownSeconds(),
		ShardsMin: int(p.GetShardsMin()), ShardsMax: int(p.GetShardsMax()), ReshardsPerHour: int(p.GetReshardsPerHour()),
		ShardHoursPerDay: p.GetShardHoursPerDay(), SaltParts: int(p.GetSaltParts()),
	}
}

func scalingToProto(p *meta.Scaling) *pb.Scaling {
	if p == nil {
		return nil
	}
	return &pb.Scaling{
		Mode: string(p.Mode), OnDemand: p.OnDemand, BytesPerSecond: p.BytesPerSecond, RecordsPerSecond: p.RecordsPerSecond,
		SplitSeconds: p.SplitSeconds, MergeSeconds: p.MergeSeconds, MergePercent: uint32(p.MergePercent), CooldownSeconds: p.CooldownSeconds,
		ShardsMin: uint32(p.ShardsMin), ShardsMax: uint32(p.ShardsMax), ReshardsPerHour: uint32(p.ReshardsPerHour),
		ShardHoursPerDay: p.ShardHoursPerDay, SaltParts: uint32(p.SaltParts),
	}
}

func (a *adminServer) ListScalingEvents(_ context.Context, req *pb.ListScalingEventsRequest) (*pb.ListScalingEventsResponse, error) {
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
	out := &pb.ListScalingEventsResponse{}
	for e := range state.RecentScaling(req.GetBefore()) {
		if of != 0 && e.StreamID != of {
			continue
		}
		if len(out.Events) == limit {
			out.More = true
			break
		}
		out.Events = append(out.Events, eventToProto(state, e))
	}
	return out, nil
}

func eventToProto(state *meta.State, e *meta.ScalingEvent) *pb.ScalingEvent {
	p := &pb.ScalingEvent{Number: e.Number, TimeMs: e.Time, Kind: string(e.Kind), Shards: e.Shards, Reshard: e.Reshard, HashKey: e.Key, Reason: e.Reason}
	if st, ok := state.StreamByID(e.StreamID); ok {
		p.Stream = st.Name
	}
	return p
}

func (a *adminServer) ListLoads(ctx context.Context, req *pb.ListLoadsRequest) (*pb.ListLoadsResponse, error) {
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	window := int64(cmp.Or(req.GetWindowSeconds(), 60))
	if window < meta.ScalingWindowSecondsMin || window > meta.ScalingWindowSecondsMax {
		e := fault.InvalidField("window_seconds", "window_seconds must be between %d and %d, not %d", meta.ScalingWindowSecondsMin, meta.ScalingWindowSecondsMax, window)
		e.Limit = meta.ScalingWindowSecondsMax
		return nil, e
	}
	if err := atOnce(req.GetShards()); err != nil {
		return nil, err
	}
	shown := func(s autoscale.Shard) bool { return slices.Contains(req.GetShards(), s.Number) }
	out := &pb.ListLoadsResponse{}
	for _, s := range a.n.loaded(ctx, st, meta.Scaling{SplitSeconds: window, MergeSeconds: window}, shown) {
		l := &pb.ShardLoad{Shard: s.Number, Known: s.Known > 0, BytesPerSecond: s.Split.Bytes, RecordsPerSecond: s.Split.Records, KnownSinceMs: s.Known, Samples: uint32(len(s.Samples))}
		if len(s.Samples) > 0 {
			l.Histogram = autoscale.Histogram(s.Range, s.Samples)
			for _, k := range autoscale.Heaviest(s.Samples, 8) {
				l.Heaviest = append(l.Heaviest, &pb.KeyLoad{HashKey: k.Key.String(), Share: k.Share})
			}
		}
		out.Loads = append(out.Loads, l)
	}
	return out, nil
}

func atOnce(shards []uint32) error {
	if len(shards) <= shardsAtOnceMax {
		return nil
	}
	e := fault.InvalidField("shards", "%d shards are named, at most %d can be", len(shards), shardsAtOnceMax)
	e.Limit = shardsAtOnceMax
	return e
}

// policyOf returns the policy that decides about a stream, the default one if it has none.
func policyOf(st *meta.Stream) meta.Scaling {
	if p := st.Scaling(); p != nil {
		return *p
	}
	return meta.CompleteScaling(meta.Scaling{ShardsMax: meta.ShardsMax})
}

// cutByLoad returns where to cut a shard so that its load is halved, or divided into so many parts.
func (n *Node) cutByLoad(ctx context.Context, st *meta.Stream, shard uint32, parts int) (autoscale.Cut, error) {
	p := policyOf(st)
	for _, s := range n.loaded(ctx, st, p, func(s autoscale.Shard) bool { return s.Number == shard }) {
		if s.Number != shard {
			continue
		}
		if s.Known == 0 {
			return autoscale.Cut{}, fault.New(fault.Unavailable, "the leader of shard %d of stream %q does not tell its load; try again", shard, st.Name)
		}
		return autoscale.CutByLoad(p, s, parts, s.Samples), nil
	}
	return autoscale.Cut{}, fault.New(fault.Conflict, "shard %d of stream %q is not open", shard, st.Name)
}

func (a *adminServer) ReportProblem(ctx context.Context, req *pb.ReportProblemRequest) (*pb.ReportProblemResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	what := ""
	switch req.GetProblem() {
	case pb.Problem_PROBLEM_HOT_SHARD:
		what = "hot"
	case pb.Problem_PROBLEM_CONSUMER_LAG:
		what = "ahead of a consumer"
	default:
		return nil, fault.InvalidField("problem", "problem must be PROBLEM_HOT_SHARD or PROBLEM_CONSUMER_LAG")
	}
	if req.GetId() == "" || len(req.GetId()) > 100 {
		return nil, fault.InvalidField("id", "a problem is reported with an id of 1 to 100 bytes, by which it can be reported again safely")
	}
	if len(req.GetReporter()) > 100 {
		return nil, fault.InvalidField("reporter", "reporter may have 100 bytes, not %d", len(req.GetReporter()))
	}
	if err := atOnce(req.GetShards()); err != nil {
		return nil, err
	}
	shards := req.GetShards()
	if len(shards) == 0 {
		shards = a.n.mostLoaded(ctx, st)
	}
	out := &pb.ReportProblemResponse{}
	for _, shard := range shards {
		why := fmt.Sprintf("shard %d was reported to be %s by %s", shard, what, cmp.Or(req.GetReporter(), "somebody"))
		r, event, err := a.n.remedy(ctx, st, shard, fmt.Sprintf("problem/%s/%d", req.GetId(), shard), why)
		if err != nil {
			return nil, err
		}
		state := a.n.metaStore.State()
		if r != nil {
			out.Reshards = append(out.Reshards, reshardToProto(state, r))
		}
		out.Events = append(out.Events, eventToProto(state, &event))
	}
	return out, nil
}

// mostLoaded returns the shard of a stream with the highest load, if any is known.
func (n *Node) mostLoaded(ctx context.Context, st *meta.Stream) []uint32 {
	p := policyOf(st)
	shards := n.loaded(ctx, st, p, func(autoscale.Shard) bool { return false })
	if len(shards) == 0 {
		return nil
	}
	return []uint32{slices.MaxFunc(shards, func(a, b autoscale.Shard) int {
		return cmp.Compare(autoscale.Load(p, a.Split), autoscale.Load(p, b.Split))
	}).Number}
}

// remedy splits a shard in two by its load because somebody has a problem with it, or says why that is not done.
func (n *Node) remedy(ctx context.Context, st *meta.Stream, shard uint32, id, why string) (*meta.Reshard, meta.ScalingEvent, error) {
	event := meta.ScalingEvent{StreamID: st.ID, Time: n.now().UnixMilli(), Kind: meta.ScalingSplit, Shards: []uint32{shard}, Reshard: id}
	if r, known := n.metaStore.State().ReshardByID(id); known {
		event.Reason = "reported before"
		return r, event, nil
	}
	cut, err := n.cutByLoad(ctx, st, shard, 2)
	if err != nil {
		return nil, event, err
	}
	p, now := policyOf(st), n.now().UnixMilli()
	open := st.OpenCount() + st.Coming(n.metaStore.State())
	event.Reason = why + "; " + cut.Reason
	allowed, bound := autoscale.Allowed(now, autoscale.Stream{Policy: p, UsedMillis: st.ShardMillis(now)})
	switch {
	case len(cut.Bounds) == 0 && cut.Hot != nil:
		event.Kind, event.Key = meta.ScalingHotKey, cut.Hot.Key.String()
	case len(cut.Bounds) == 0:
		event.Kind = meta.ScalingHeldBack
	case open+1 > allowed:
		event.Kind, event.Reason = meta.ScalingHeldBack, fmt.Sprintf("%s; not split: %s", why, bound)
	case p.Mode == meta.ScalingAdvise:
		event.Kind, event.Reason = meta.ScalingAdvice, "would split: "+event.Reason
	}
	if event.Kind != meta.ScalingSplit {
		event.Reshard = ""
		n.noteScaling(ctx, event)
		return nil, event, nil
	}
	err = n.beginReshard(ctx, st, meta.BeginReshard{ID: id, Parents: event.Shards, Bounds: cut.Bounds, Reason: cutText(event.Reason, meta.TextBytesMax)})
	if err != nil {
		return nil, event, err
	}
	n.noteScaling(ctx, event)
	r, _ := n.metaStore.State().ReshardByID(id)
	return r, event, nil
}

func (a *adminServer) SaltKey(ctx context.Context, req *pb.SaltKeyRequest) (*pb.SaltKeyResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	st, err := a.stream(req.GetStream())
	if err != nil {
		return nil, err
	}
	key, err := hashkey.Parse(req.GetHashKey())
	if err != nil {
		return nil, fault.InvalidField("hash_key", "%w", err)
	}
	c := &meta.SaltKey{StreamID: st.ID, Key: key, Parts: int(req.GetParts()), Reason: req.GetReason(), Time: a.n.now().UnixMilli()}
	if err := a.n.propose(ctx, c); err != nil {
		return nil, err
	}
	out, err := a.streamNow(req.GetStream())
	return &pb.SaltKeyResponse{Stream: out}, err
}
