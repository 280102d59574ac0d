package meta

import (
	"slices"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// GoalsKept is how many goals of a stream are remembered that have ended, so that the same again does not begin anew.
const GoalsKept = 16

// goalIDBytesMax bounds the id of a goal: the ids of its reshards are made from it.
const goalIDBytesMax = 128

// SetGoal says how many shards a stream shall have. Idempotent by ID, of the last GoalsKept that ended too; another one while
// one is being worked on is a Conflict.
type SetGoal struct {
	ID        string `json:"id"`
	StreamID  uint64 `json:"stream_id"`
	Shards    int    `json:"shards"`
	ShardsMax int    `json:"shards_max,omitempty"` // that the stream may have, 0 for no limit but ShardsMax
	Reason    string `json:"reason,omitempty"`
	Time      int64  `json:"time"`
}

// Type returns "set_goal".
func (SetGoal) Type() string { return "set_goal" }

func (c SetGoal) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.StreamID)
	if err != nil {
		return nil, err
	}
	if c.ID == "" {
		return nil, fault.InvalidField("id", "a goal needs an id")
	}
	if err := checkLongText("id", c.ID, goalIDBytesMax); err != nil {
		return nil, err
	}
	if err := checkText("reason", c.Reason); err != nil {
		return nil, err
	}
	most, err := shardsMost(c.ShardsMax)
	if err != nil {
		return nil, err
	}
	if err := checkRange("shards", int64(c.Shards), 1, int64(most)); err != nil {
		return nil, err
	}
	switch g := st.GoalByID(c.ID); {
	case g != nil && g.Shards == c.Shards:
		return StreamResult{Version: t.next.version, StreamID: st.ID}, nil
	case g != nil:
		return nil, fault.New(fault.Conflict, "goal %q of stream %q was to have %d shards, not %d", c.ID, st.Name, g.Shards, c.Shards)
	}
	switch g := st.goal; {
	case g != nil && g.Ended == 0:
		return nil, fault.New(fault.Conflict, "stream %q is on its way to %d shards; wait for it or cancel it", st.Name, g.Shards)
	case st.State != StreamActive:
		return nil, fault.New(fault.Conflict, "stream %q is %s; try again when it is active", st.Name, st.State)
	}
	st = t.stream(st.ID)
	if st.goal != nil {
		ended := append(slices.Clone(st.reachedGoals), st.goal)
		st.reachedGoals = ended[max(0, len(ended)-GoalsKept):]
	}
	st.goal = &Goal{ID: c.ID, Shards: c.Shards, Reason: c.Reason, Started: c.Time}
	t.reached(st, c.Time)
	t.events.Streams = append(t.events.Streams, st.ID)
	return StreamResult{t.next.version, st.ID, true}, nil
}

// CancelGoal gives a goal up; reshards under way go on to their ends, and what was done stays done. One that has ended is left as it is.
type CancelGoal struct {
	StreamID uint64 `json:"stream_id"`
	ID       string `json:"id"`
	Reason   string `json:"reason,omitempty"`
	Time     int64  `json:"time"`
}

// Type returns "cancel_goal".
func (CancelGoal) Type() string { return "cancel_goal" }

func (c CancelGoal) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.StreamID)
	if err != nil {
		return nil, err
	}
	if err := checkText("reason", c.Reason); err != nil {
		return nil, err
	}
	switch g := st.GoalByID(c.ID); {
	case g == nil:
		return nil, fault.New(fault.NotFound, "stream %q has no goal %q", st.Name, c.ID)
	case g.Ended != 0:
		return StreamResult{Version: t.next.version, StreamID: st.ID}, nil
	}
	st = t.stream(st.ID)
	given := *st.goal
	given.Ended, given.Failure = max(c.Time, given.Started, 1), "cancelled"
	if c.Reason != "" {
		given.Failure = c.Reason
	}
	st.goal = &given
	t.events.Streams = append(t.events.Streams, st.ID)
	return StreamResult{t.next.version, st.ID, true}, nil
}

// reached ends the goal of a stream, which this transaction may change, if its open shards are what it says.
func (t *txn) reached(st *Stream, time int64) {
	if g := st.goal; g != nil && g.Ended == 0 && len(st.open) == g.Shards {
		for i, r := range hashkey.SplitEven(g.Shards) {
			if st.open[i].start != r.Start {
				return
			}
		}
		done := *g
		done.Ended = max(time, g.Started, 1)
		st.goal = &done
	}
}

// shardsMost returns how many open shards a stream may have: limit, or ShardsMax if limit is 0.
func shardsMost(limit int) (int, error) {
	if err := checkRange("shards_max", int64(limit), 0, ShardsMax); err != nil {
		return 0, err
	}
	if limit == 0 {
		return ShardsMax, nil
	}
	return limit, nil
}

// A Move is a reshard to begin: a split at the bounds, or a merge of two if there are none.
type Move struct {
	Parents []uint32
	Bounds  []hashkey.Key
}

// Moves returns the reshards to begin now on the way to the stream's goal, none if it has none, or
// while those under way are in the way. Shards are cut only at bounds of the goal, and
// merged only across others, so it takes as few moves as there can be; they go on side by side. On the way there
// may be more shards than before and after: at most as many as both together.
func (s *State) Moves(st *Stream) []Move {
	if st.goal == nil || st.goal.Ended != 0 {
		return nil
	}
	busy := map[uint32]bool{}
	for r := range s.ActiveReshards() {
		if r.StreamID == st.ID {
			for _, n := range r.Parents {
				busy[n] = true
			}
		}
	}
	target := hashkey.SplitEven(st.goal.Shards)
	var moves []Move
	var before *Shard // the shard to the left, if it may be merged
	for sh := range st.OpenShards() {
		at, exact := slices.BinarySearchFunc(target, sh.Range.Start, func(r hashkey.Range, k hashkey.Key) int { return r.Start.Compare(k) })
		var inside []hashkey.Key
		for from := at + b2i(exact); from < len(target) && sh.Range.Contains(target[from].Start) && len(inside) < ReshardChildMax-1; from++ {
			inside = append(inside, target[from].Start)
		}
		switch {
		case busy[sh.Number]:
			before = nil
		case len(inside) > 0:
			moves, before = append(moves, Move{Parents: []uint32{sh.Number}, Bounds: inside}), nil
		case before != nil && !exact:
			moves, before = append(moves, Move{Parents: []uint32{before.Number, sh.Number}}), nil
		default:
			before = sh
		}
	}
	return moves
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
