package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/levada-stream/levada/autoscale"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

const (
	scaleEvery = 5 * time.Second
	// scalingRepeat is after how long something is said again that still holds.
	scalingRepeat = 10 * time.Minute
	// scalingPrefix begins the ids of reshards that scaling asks for.
	scalingPrefix = "scaling/"
)

// scaleDuty is the meta leader's: let the shards of streams with a scaling policy follow their load.
func (n *Node) scaleDuty(ctx context.Context) {
	if !n.metaRaft.IsLeader() {
		return
	}
	begun := n.scalingReshards()
	for st := range n.metaStore.State().Streams() {
		p := st.Scaling()
		if p == nil || p.Mode == meta.ScalingOff || st.State != meta.StreamActive || st.Goal() != nil && st.Goal().Ended == 0 {
			continue
		}
		for _, step := range n.decide(ctx, st, *p, begun[st.ID]) {
			if ctx.Err() != nil {
				return
			}
			n.takeStep(ctx, st, *p, step)
		}
	}
}

// scalingReshards returns when scaling began reshards in the last hour, by stream.
func (n *Node) scalingReshards() map[uint64][]int64 {
	since := n.now().Add(-time.Hour).UnixMilli()
	begun := map[uint64][]int64{}
	for r := range n.metaStore.State().RecentReshards(0) {
		if r.Started < since {
			break
		}
		if strings.HasPrefix(r.ID, scalingPrefix) {
			begun[r.StreamID] = append(begun[r.StreamID], r.Started)
		}
	}
	return begun
}

// decide asks the leaders for the load and returns what is to be done.
func (n *Node) decide(ctx context.Context, st *meta.Stream, p meta.Scaling, begun []int64) []autoscale.Step {
	shards := n.loaded(ctx, st, p, func(s autoscale.Shard) bool { return autoscale.Load(p, s.Split) > 1 })
	now := n.now().UnixMilli()
	return autoscale.Decide(now, autoscale.Stream{
		Policy: p, Shards: shards, Coming: st.Coming(n.metaStore.State()), Begun: begun, UsedMillis: st.ShardMillis(now),
	})
}

// takeStep carries a decision out, or says what it would be, and notes it.
func (n *Node) takeStep(ctx context.Context, st *meta.Stream, p meta.Scaling, step autoscale.Step) {
	event := meta.ScalingEvent{StreamID: st.ID, Time: n.now().UnixMilli(), Kind: step.Kind, Shards: step.Shards, Reason: step.Reason}
	switch {
	case step.Hot != nil:
		event.Key = step.Hot.Key.String()
		n.salt(ctx, st, p, step)
	case step.Kind == meta.ScalingSplit || step.Kind == meta.ScalingMerge:
		if p.Mode == meta.ScalingAdvise {
			event.Kind, event.Reason = meta.ScalingAdvice, fmt.Sprintf("would %s: %s", step.Kind, step.Reason)
			break
		}
		event.Reshard = fmt.Sprintf("%s%d/%v/%d", scalingPrefix, st.ID, step.Shards, st.NextShard())
		err := n.beginReshard(ctx, st, meta.BeginReshard{ID: event.Reshard, Parents: step.Shards, Bounds: step.Bounds, Reason: cutText("scaling: "+step.Reason, meta.TextBytesMax)})
		if err != nil {
			event.Kind, event.Reshard, event.Reason = meta.ScalingHeldBack, "", fmt.Sprintf("%s; %s failed: %v", step.Reason, step.Kind, err)
		}
	}
	n.noteScaling(ctx, event)
}

// salt spreads a key that is too hot for any shard, if the policy permits it.
func (n *Node) salt(ctx context.Context, st *meta.Stream, p meta.Scaling, step autoscale.Step) {
	if p.SaltParts == 0 || p.Mode != meta.ScalingOn || slices.ContainsFunc(st.Salted(), func(s meta.SaltedKey) bool { return s.Key == step.Hot.Key }) {
		return
	}
	c := meta.SaltKey{StreamID: st.ID, Key: step.Hot.Key, Parts: p.SaltParts, Reason: cutText(step.Reason, meta.TextBytesMax), Time: n.now().UnixMilli()}
	if err := n.proposeCommand(ctx, &c); err != nil {
		n.log.Warn("cannot salt a hot key", "stream", st.Name, "key", step.Hot.Key, "error", err)
	}
}

// noteScaling puts a decision into the event log, unless it only repeats what was said a while ago.
func (n *Node) noteScaling(ctx context.Context, e meta.ScalingEvent) {
	acted := e.Kind == meta.ScalingSplit || e.Kind == meta.ScalingMerge
	if !acted && n.saidLately(e) {
		return
	}
	e.Reason = cutText(e.Reason, meta.ScalingReasonBytesMax)
	n.log.Info("scaling", "stream", e.StreamID, "kind", e.Kind, "shards", e.Shards, "reshard", e.Reshard, "key", e.Key, "reason", e.Reason)
	if err := n.proposeCommand(ctx, &meta.LogScaling{Event: e}); err != nil && fault.KindOf(err) != fault.NotFound {
		n.log.Warn("a scaling event is not kept", "stream", e.StreamID, "kind", e.Kind, "error", err)
	}
}

// saidLately reports whether the event log has the same about the same shards within scalingRepeat.
func (n *Node) saidLately(e meta.ScalingEvent) bool {
	for old := range n.metaStore.State().RecentScaling(0) {
		if e.Time-old.Time > scalingRepeat.Milliseconds() {
			return false
		}
		if old.StreamID == e.StreamID && old.Kind == e.Kind && old.Key == e.Key && slices.Equal(old.Shards, e.Shards) {
			return true
		}
	}
	return false
}

// cutText shortens a text to so many bytes; what scaling says is ASCII.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most-3] + "..."
}
