package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/levada-stream/levada/internal/failpoint"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
)

// The meta leader drives reshards. What is done is in the control state and in the
// logs of the shards alone, and every step may be taken again: a leader that takes over goes on from there.
const (
	// reshardPauseMin and reshardPauseMax are how soon a step that could not be taken is tried again.
	reshardPauseMin = 50 * time.Millisecond
	reshardPauseMax = time.Second
	// reshardPatience is how long the children may take to elect leaders before the reshard is given up.
	reshardPatience = time.Minute
	// sealTimeout and adoptTimeout bound one call to a shard's leader. What an adoption carries may be megabytes.
	sealTimeout  = 5 * time.Second
	adoptTimeout = 15 * time.Second
	// handDownCalls bounds the calls of one reshard under way, and with them the memory that they take.
	handDownCalls = 8
)

// followReshards drives the reshards while this node leads the meta group, each by itself, so that none waits for another.
func (n *Node) followReshards(ctx context.Context) {
	var driven sync.Map // numbers of the reshards that have a goroutine
	var drivers sync.WaitGroup
	defer drivers.Wait()
	pause := reshardPauseMin
	for ctx.Err() == nil {
		again := metaEvery // leadership changes nothing in the control state
		leads := n.metaRaft.IsLeader()
		if leads && n.pursueGoals(ctx) {
			again, pause = pause, min(2*pause, reshardPauseMax)
		} else {
			pause = reshardPauseMin
		}
		version := n.metaStore.State().Version() // what this node proposed just now is no news
		if leads {
			for r := range n.metaStore.State().ActiveReshards() {
				if _, already := driven.LoadOrStore(r.Number, true); !already {
					drivers.Go(func() {
						defer driven.Delete(r.Number)
						n.driveReshard(ctx, r.Number)
					})
				}
			}
		}
		select {
		case <-n.metaStore.Watch(version):
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
}

// driveReshard takes a reshard to its end, or until this node no longer leads the meta group.
func (n *Node) driveReshard(ctx context.Context, number uint64) {
	pause := reshardPauseMin
	for ctx.Err() == nil && n.metaRaft.IsLeader() {
		state := n.metaStore.State()
		r, ok := state.Reshard(number)
		if !ok || !r.Phase.Active() {
			return
		}
		waiting, err := n.stepReshard(ctx, r)
		if err != nil && ctx.Err() == nil {
			n.log.Info("a reshard waits", "reshard", r.Number, "phase", r.Phase, "error", err)
		}
		var changed <-chan struct{}
		if waiting { // for its children's leaders
			changed = n.metaStore.Watch(state.Version())
		}
		if err == nil && !waiting {
			continue
		}
		select {
		case <-changed:
		case <-time.After(pause):
			pause = min(2*pause, reshardPauseMax)
		case <-ctx.Done():
		}
	}
}

// stepReshard takes a reshard as far as it goes now. Waiting says that its children have no leaders yet.
func (n *Node) stepReshard(ctx context.Context, r *meta.Reshard) (waiting bool, err error) {
	again := r.Phase == meta.ReshardSealing // this node, or another, has been here before
	if r.Phase == meta.ReshardPreparing {
		failpoint.Here("reshard-preparing")
		switch child := n.leaderless(r); {
		case child == nil:
		case n.now().UnixMilli()-r.Started > reshardPatience.Milliseconds():
			why := fmt.Sprintf("%s had no leader after %s", child.ID(), reshardPatience)
			n.log.Warn("giving a reshard up", "reshard", r.Number, "reason", why)
			return false, n.proposeCommand(ctx, &meta.AbortReshard{Number: r.Number, Reason: why, Time: n.now().UnixMilli()})
		default:
			return true, nil
		}
		if err := n.proposeCommand(ctx, &meta.SealReshard{Number: r.Number, Time: n.now().UnixMilli()}); err != nil {
			return false, err
		}
		n.log.Info("a reshard closes its parents", "reshard", r.Number, "stream", r.StreamID, "parents", r.Parents)
		failpoint.Here("reshard-sealing")
	}
	return false, n.handDown(ctx, r, again)
}

// leaderless returns a child that never had a leader, nil if all had one.
func (n *Node) leaderless(r *meta.Reshard) *meta.Shard {
	state := n.metaStore.State()
	for _, number := range r.Children {
		if sh, ok := state.Shard(r.StreamID, number); ok && sh.Term == 0 {
			return sh
		}
	}
	return nil
}

// handDown seals the parents, lets the children adopt from them, and switches the map. With again, children that
// have adopted before are not sent everything once more.
func (n *Node) handDown(ctx context.Context, r *meta.Reshard, again bool) error {
	start := n.now()
	request := sealRequest{Version: n.metaStore.State().Version(), Reshard: r.Number}
	left := make([]partition.Inheritance, len(r.Parents))
	ends := make([]meta.ShardEnd, len(r.Parents))
	err := together(len(r.Parents), func(i int) error {
		answer, err := n.callLeader(ctx, sealTimeout, r.StreamID, r.Parents[i], callSeal, request.encode)
		if err == nil {
			left[i], err = decodeLeft(answer)
			ends[i] = meta.ShardEnd{Ordinal: left[i].End, Time: left[i].Time}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	sealed := n.now()
	failpoint.Here("reshard-sealed")
	if err := together(len(r.Children), func(i int) error { return n.letAdopt(ctx, r.StreamID, r.Children[i], left, again) }); err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	adopted := n.now()
	failpoint.Here("reshard-adopted")
	if err := n.proposeCommand(ctx, &meta.FinishReshard{Number: r.Number, Ends: ends, Time: n.now().UnixMilli()}); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	failpoint.Here("reshard-finished")
	n.reshardTimes.add(sealed.Sub(start), n.now().Sub(start))
	n.log.Info("reshard done", "reshard", r.Number, "stream", r.StreamID, "parents", r.Parents, "children", r.Children,
		"sealing", sealed.Sub(start), "adopting", adopted.Sub(sealed), "switching", n.now().Sub(adopted))
	return nil
}

// letAdopt lets one child take over what is left of its keys.
func (n *Node) letAdopt(ctx context.Context, streamID uint64, child uint32, left []partition.Inheritance, again bool) error {
	sh, ok := n.metaStore.State().Shard(streamID, child)
	if !ok {
		return fault.New(fault.NotFound, "shard %d of stream %d is gone", child, streamID)
	}
	if again {
		_, err := n.callLeader(ctx, sealTimeout, streamID, child, callAdopt, func(group uint64) []byte { return encodeAdopt(group, nil) })
		if err == nil {
			return nil
		} else if fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	mine := make([]partition.Inheritance, len(left))
	for i, h := range left {
		mine[i] = h.For(sh.Range)
	}
	mine, forgotten := partition.Fewest(mine)
	if forgotten > 0 {
		n.log.Warn("a merged shard cannot remember all repeatable calls; the oldest will be carried out again if they are repeated",
			"stream", streamID, "shard", child, "forgotten", forgotten)
	}
	_, err := n.callLeader(ctx, adoptTimeout, streamID, child, callAdopt, func(group uint64) []byte { return encodeAdopt(group, mine) })
	return err
}

// together runs f for 0 to count-1, handDownCalls at the same time, and returns their errors.
func together(count int, f func(i int) error) error {
	errs := make([]error, count)
	places := make(chan struct{}, handDownCalls)
	var wg sync.WaitGroup
	for i := range count {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// callLeader calls a service of the node that leads a shard, wherever that is, until it is served or the time is up.
func (n *Node) callLeader(ctx context.Context, timeout time.Duration, streamID uint64, shard uint32, service uint8, request func(group uint64) []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pause := 5 * time.Millisecond
	hint := ""
	for {
		sh, ok := n.metaStore.State().Shard(streamID, shard)
		if !ok {
			return nil, fault.New(fault.NotFound, "shard %d of stream %d is gone", shard, streamID)
		}
		leader := hint
		if hint = ""; leader == "" {
			leader = n.leaderOf(sh)
		}
		var err error = fault.New(fault.Unavailable, "%s has no leader", sh.ID())
		if leader != "" {
			var answer []byte
			if answer, err = n.transport.Call(ctx, leader, service, request(sh.Group)); err == nil {
				return answer, nil
			}
			if f := fault.As(err); f != nil && !f.Kind.Retryable() {
				return nil, err
			} else if f != nil && f.Kind == fault.NotLeader && f.LeaderNode != leader {
				hint = f.LeaderNode
			}
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 100*time.Millisecond)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", sh.ID(), err)
		}
	}
}

// pursueGoals begins the reshards that bring streams to the number of shards they are to have,
// and reports whether any stream is on its way.
func (n *Node) pursueGoals(ctx context.Context) (left bool) {
	for st := range n.metaStore.State().Streams() {
		g := st.Goal()
		if g == nil || g.Ended != 0 {
			continue
		}
		left = true
		for _, m := range n.metaStore.State().Moves(st) {
			// Another attempt has another id: the children of one that was aborted have taken numbers.
			id := fmt.Sprintf("%s/%d/%v/%d", g.ID, st.ID, m.Parents, st.NextShard())
			err := n.beginReshard(ctx, st, meta.BeginReshard{ID: id, Parents: m.Parents, Bounds: m.Bounds, Goal: g.ID, Reason: "goal " + g.ID})
			if err != nil && ctx.Err() == nil {
				n.log.Debug("a move towards a goal waits", "stream", st.Name, "shards", g.Shards, "parents", m.Parents, "error", err)
			}
		}
	}
	return left
}

// beginReshard places the children and proposes the reshard, unless it is clear that it would be refused. One that
// exists with the same id is recognised by the state machine.
func (n *Node) beginReshard(ctx context.Context, st *meta.Stream, c meta.BeginReshard) error {
	c.StreamID, c.Time = st.ID, n.now().UnixMilli()
	c.ShardsMax = n.cfg.Limits.ShardsPerStreamMax
	state := n.metaStore.State()
	if _, known := state.ReshardByID(c.ID); !known {
		settings := st.Settings
		settings.Shards = len(c.Bounds) + 1
		var err error
		if c.Placement, err = meta.Place(state, n.hints(), settings); err != nil {
			return err
		}
	}
	if err := c.Check(state); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := n.propose(ctx, c); err != nil {
		return err
	}
	n.log.Info("a reshard was begun", "id", c.ID, "stream", st.Name, "parents", c.Parents, "children", len(c.Bounds)+1, "reason", c.Reason)
	failpoint.Here("reshard-begun")
	return nil
}

// reshardTimes sums up how long reshards took that this node drove.
type reshardTimes struct {
	mu                      sync.Mutex
	driven                  int
	seal, handOver, longest time.Duration
}

// add counts a reshard: how long it took from the beginning of the seal to its end, and until all children were open.
func (t *reshardTimes) add(seal, handOver time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.driven++
	t.seal += seal
	t.handOver += handOver
	t.longest = max(t.longest, handOver)
}

func (t *reshardTimes) measure(v map[string]float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v["levada_reshards_driven_total"] = float64(t.driven)
	v["levada_reshard_seal_seconds_total"] = t.seal.Seconds()
	v["levada_reshard_hand_over_seconds_total"] = t.handOver.Seconds()
	v["levada_reshard_hand_over_seconds_max"] = t.longest.Seconds()
}
