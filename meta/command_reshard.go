package meta

import (
	"encoding/json"
	"slices"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// BeginReshard creates the children of a split or a merge; nothing else changes yet.
//
// Parents are one open shard, to be split at Bounds, or two neighbours, to be merged. Placement holds
// the replicas of each child in ascending order of their ranges. Idempotent by ID: the same
// again is answered with the reshard that exists. A parent that another reshard has is a Conflict, and so is a
// placement on nodes that meanwhile left.
type BeginReshard struct {
	ID        string
	StreamID  uint64
	Parents   []uint32
	Bounds    []hashkey.Key // first keys of the children but the first; none for a merge
	Placement [][]NodeID
	Goal      string // id of the stream's goal that it serves, "" for none
	ShardsMax int    // open shards that the stream may have after it, 0 for no limit but ShardsMax; not for one that serves a goal
	Reason    string
	Time      int64
}

// ReshardResult answers the commands about reshards.
type ReshardResult struct {
	Version uint64 `json:"version"`
	Number  uint64 `json:"number"`
	Changed bool   `json:"changed"`
}

// Type returns "begin_reshard".
func (BeginReshard) Type() string { return "begin_reshard" }

// beginReshardWire names each node once, like createStreamWire.
type beginReshardWire struct {
	ID        string        `json:"id"`
	StreamID  uint64        `json:"stream_id"`
	Parents   []uint32      `json:"parents"`
	Bounds    []hashkey.Key `json:"bounds,omitempty"` // decimal
	Nodes     []NodeID      `json:"nodes"`            // in order of first appearance
	Placement [][]int       `json:"placement"`        // indexes into nodes
	Goal      string        `json:"goal,omitempty"`
	ShardsMax int           `json:"shards_max,omitempty"`
	Reason    string        `json:"reason,omitempty"`
	Time      int64         `json:"time"`
}

// MarshalJSON writes the compact form.
func (c BeginReshard) MarshalJSON() ([]byte, error) {
	w := beginReshardWire{ID: c.ID, StreamID: c.StreamID, Parents: c.Parents, Bounds: c.Bounds, Goal: c.Goal, ShardsMax: c.ShardsMax, Reason: c.Reason, Time: c.Time}
	w.Nodes, w.Placement = packPlacement(c.Placement)
	return json.Marshal(w)
}

// UnmarshalJSON reads the compact form.
func (c *BeginReshard) UnmarshalJSON(data []byte) error {
	var w beginReshardWire
	if err := unmarshalStrict(data, &w); err != nil {
		return err
	}
	placement, err := unpackPlacement(w.Nodes, w.Placement)
	*c = BeginReshard{ID: w.ID, StreamID: w.StreamID, Parents: w.Parents, Bounds: w.Bounds, Placement: placement, Goal: w.Goal, ShardsMax: w.ShardsMax, Reason: w.Reason, Time: w.Time}
	return err
}

func (c BeginReshard) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.StreamID)
	if err != nil {
		return nil, err
	}
	if c.ID == "" {
		return nil, fault.InvalidField("id", "a reshard needs an id")
	}
	if err := checkText("id", c.ID); err != nil {
		return nil, err
	}
	if err := checkText("reason", c.Reason); err != nil {
		return nil, err
	}
	if known, ok := t.next.ReshardByID(c.ID); ok {
		return c.again(t.next, st, known)
	}
	keys, err := c.parents(t.next, st)
	if err != nil {
		return nil, err
	}
	children, err := ranges(keys, c.Bounds)
	if err != nil {
		return nil, err
	}
	if err := c.check(t.next, st, len(children)); err != nil {
		return nil, err
	}
	shards := make([]*Shard, len(children))
	for i, r := range children {
		replicas := t.next.intern(c.Placement[i])
		shards[i] = &Shard{
			Range: r, State: ShardPending, Parents: slices.Clone(c.Parents), Created: c.Time,
			Initial: replicas, Desired: replicas, DesiredVersion: t.next.version,
		}
	}
	st = t.stream(st.ID)
	t.addShards(st, shards)
	r := &Reshard{Number: t.next.nextReshard, ID: c.ID, StreamID: st.ID, Parents: slices.Clone(c.Parents), Phase: ReshardPreparing, Reason: c.Reason, Started: c.Time}
	for _, sh := range shards {
		r.Children = append(r.Children, sh.Number)
	}
	t.next.nextReshard++
	t.putReshard(r)
	t.forgetReshards()
	return ReshardResult{t.next.version, r.Number, true}, nil
}

// Check returns the error that the command would be answered with in that state, so that a proposer can spare the log what would be refused.
func (c BeginReshard) Check(s *State) error {
	_, err := c.apply(begin(s, s.version+1))
	return err
}

// again answers a repetition of what was begun before.
func (c BeginReshard) again(s *State, st *Stream, known *Reshard) (any, error) {
	same := known.StreamID == c.StreamID && slices.Equal(known.Parents, c.Parents) && len(known.Children) == len(c.Bounds)+1
	for i, b := range c.Bounds {
		if same {
			sh := st.Shard(known.Children[i+1])
			same = sh == nil || sh.Range.Start == b // one that is gone is taken on trust
		}
	}
	if !same {
		return nil, fault.New(fault.Conflict, "reshard %q exists and is another one", c.ID)
	}
	return ReshardResult{Version: s.version, Number: known.Number}, nil
}

// parents checks the parents and returns what they own together.
func (c BeginReshard) parents(s *State, st *Stream) (keys hashkey.Range, err error) {
	if len(c.Parents) == 0 || len(c.Parents) > ReshardParentsMax {
		return keys, limitError("parents", ReshardParentsMax, "a reshard takes one shard to split or two to merge, not %d", len(c.Parents))
	}
	if split := len(c.Parents) == 1; split == (len(c.Bounds) == 0) {
		return keys, fault.InvalidField("bounds", "a split needs the first key of each child but the first, a merge has none")
	}
	for i, number := range c.Parents {
		sh := st.Shard(number)
		switch {
		case sh == nil:
			return keys, fault.New(fault.NotFound, "stream %q has no shard %d", st.Name, number)
		case sh.State != ShardOpen:
			return keys, fault.New(fault.Conflict, "shard %d of stream %q is %s", number, st.Name, sh.State)
		}
		if r := s.ReshardOf(st.ID, number); r != nil {
			return keys, fault.New(fault.Conflict, "shard %d of stream %q is part of reshard %d, which is %s", number, st.Name, r.Number, r.Phase)
		}
		if i == 0 {
			keys = sh.Range
			continue
		}
		if keys.End == hashkey.Max || keys.End.Next() != sh.Range.Start {
			return keys, fault.InvalidField("parents", "shards %d and %d of stream %q are no neighbours: name the one with the lower keys first", c.Parents[0], number, st.Name)
		}
		keys.End = sh.Range.End
	}
	return keys, nil
}

func (c BeginReshard) check(s *State, st *Stream, children int) error {
	if children > ReshardChildMax {
		return limitError("bounds", ReshardChildMax-1, "a split makes at most %d shards, not %d", ReshardChildMax, children)
	}
	if st.State != StreamActive {
		return fault.New(fault.Conflict, "stream %q is %s; try again when it is active", st.Name, st.State)
	}
	if g := st.goal; g != nil && g.Ended == 0 && g.ID != c.Goal {
		return fault.New(fault.Conflict, "stream %q is on its way to %d shards; wait for it or cancel it", st.Name, g.Shards)
	} else if c.Goal != "" && (g == nil || g.Ended != 0) {
		return fault.New(fault.Conflict, "stream %q has no goal %q any more", st.Name, c.Goal)
	}
	most, err := shardsMost(c.ShardsMax)
	if err != nil {
		return err
	}
	// A goal is within the limit itself; the way there may lead above it, since merges need neighbours that splits make.
	if open := len(st.open) + st.Coming(s) - len(c.Parents) + children; c.Goal == "" && children > 1 && open > most {
		return fault.LimitField("shards", uint64(most), "stream %q would have %d open shards and may have %d", st.Name, open, most)
	}
	if len(s.active) >= ReshardsActiveMax {
		return fault.LimitField("reshards", ReshardsActiveMax, "%d reshards are under way, no more may be", len(s.active))
	}
	if err := checkPlacement(s, c.Placement, children, st.Settings.Replicas); err != nil {
		return err
	}
	return checkRoom(s, c.Placement)
}

// Coming returns by how much the number of open shards will grow with what is under way in that state.
func (st *Stream) Coming(s *State) int {
	more := 0
	for r := range s.ActiveReshards() {
		if r.StreamID == st.ID {
			more += len(r.Children) - len(r.Parents)
		}
	}
	return more
}

// SealReshard notes that the parents are about to be sealed. Only after it may they be. All
// children must have a leader, so that they can take over at once.
type SealReshard struct {
	Number uint64 `json:"number"`
	Time   int64  `json:"time"`
}

// Type returns "seal_reshard".
func (SealReshard) Type() string { return "seal_reshard" }

func (c SealReshard) apply(t *txn) (any, error) {
	r, st, err := t.reshard(c.Number)
	if err != nil {
		return nil, err
	}
	switch r.Phase {
	case ReshardAborted:
		return nil, fault.New(fault.Conflict, "reshard %d was aborted", r.Number)
	case ReshardSealing, ReshardDone:
		return ReshardResult{Version: t.next.version, Number: r.Number}, nil
	}
	for _, number := range r.Children {
		if st.Shard(number).Term == 0 {
			return nil, fault.New(fault.Conflict, "shard %d of reshard %d has no leader yet", number, r.Number)
		}
	}
	sealing := *r
	sealing.Phase, sealing.Sealing = ReshardSealing, c.Time
	t.putReshard(&sealing)
	return ReshardResult{t.next.version, r.Number, true}, nil
}

// ShardEnd is where a shard ended, as its own log says.
type ShardEnd struct {
	Ordinal uint64 `json:"ordinal"` // after its last record
	Time    int64  `json:"time"`    // of its seal: no record of it is later, all records of its children are
}

// FinishReshard opens the children and closes the parents, in one step. The parents were sealed,
// and the children have adopted from them.
type FinishReshard struct {
	Number uint64     `json:"number"`
	Ends   []ShardEnd `json:"ends"` // of the parents, in their order
	Time   int64      `json:"time"`
}

// Type returns "finish_reshard".
func (FinishReshard) Type() string { return "finish_reshard" }

func (c FinishReshard) apply(t *txn) (any, error) {
	r, st, err := t.reshard(c.Number)
	switch {
	case err != nil:
		return nil, err
	case r.Phase == ReshardDone:
		return ReshardResult{Version: t.next.version, Number: r.Number}, nil
	case r.Phase != ReshardSealing:
		return nil, fault.New(fault.Conflict, "reshard %d is %s", r.Number, r.Phase)
	case len(c.Ends) != len(r.Parents):
		return nil, fault.InvalidField("ends", "reshard %d has %d parents, not %d", r.Number, len(r.Parents), len(c.Ends))
	}
	st = t.stream(st.ID)
	// Nothing happens before what it follows, whatever the proposer's clock says.
	at := c.Time
	for _, number := range r.Parents {
		at = max(at, st.Shard(number).Opened)
	}
	for i, number := range r.Parents {
		parent := *st.Shard(number)
		parent.State, parent.Closed, parent.Children, parent.End = ShardClosed, at, r.Children, c.Ends[i]
		t.putShard(&parent)
	}
	first := slices.IndexFunc(st.open, func(o openShard) bool { return o.number == r.Parents[0] })
	rows := make([]openShard, len(r.Children))
	for i, number := range r.Children {
		child := *st.Shard(number)
		child.State, child.Opened = ShardOpen, at
		t.putShard(&child)
		rows[i] = openShard{child.Range.Start, number}
	}
	st.spend(at)
	st.open = slices.Replace(slices.Clone(st.open), first, first+len(r.Parents), rows...)
	t.reached(st, at)
	done := *r
	done.Phase, done.Ended = ReshardDone, at
	t.putReshard(&done)
	return ReshardResult{t.next.version, r.Number, true}, nil
}

// AbortReshard gives a reshard up whose parents are not being sealed yet.
type AbortReshard struct {
	Number uint64 `json:"number"`
	Reason string `json:"reason"`
	Time   int64  `json:"time"`
}

// Type returns "abort_reshard".
func (AbortReshard) Type() string { return "abort_reshard" }

func (c AbortReshard) apply(t *txn) (any, error) {
	r, _, err := t.reshard(c.Number)
	if err == nil {
		err = checkText("reason", c.Reason)
	}
	switch {
	case err != nil:
		return nil, err
	case r.Phase == ReshardAborted:
		return ReshardResult{Version: t.next.version, Number: r.Number}, nil
	case r.Phase != ReshardPreparing:
		return nil, fault.New(fault.Conflict, "reshard %d is %s: it can only be aborted before its parents are sealed", r.Number, r.Phase)
	}
	t.abort(r, c.Reason, c.Time)
	return ReshardResult{t.next.version, r.Number, true}, nil
}

// DropShards takes closed shards out of the partition map of whose records none is kept any more.
// Shards that are gone already are passed over.
type DropShards struct {
	StreamID uint64   `json:"stream_id"`
	Shards   []uint32 `json:"shards"`
	Time     int64    `json:"time"`
}

// Type returns "drop_shards".
func (DropShards) Type() string { return "drop_shards" }

func (c DropShards) apply(t *txn) (any, error) {
	st, err := t.liveStream(c.StreamID)
	if err != nil {
		return nil, err
	}
	if len(c.Shards) > BatchMax {
		return nil, limitError("shards", BatchMax, "%d shards are dropped at once, at most %d can be", len(c.Shards), BatchMax)
	}
	var numbers []uint32
	for _, number := range slices.Compact(slices.Sorted(slices.Values(c.Shards))) {
		sh := st.Shard(number)
		switch {
		case sh == nil && st.Gone(number):
			continue
		case sh == nil:
			return nil, fault.New(fault.NotFound, "stream %q has no shard %d", st.Name, number)
		case sh.State != ShardClosed:
			return nil, fault.New(fault.Conflict, "shard %d of stream %q is %s", number, st.Name, sh.State)
		}
		numbers = append(numbers, number)
	}
	if len(numbers) > 0 {
		t.dropShards(st.ID, numbers)
	}
	return StreamResult{t.next.version, st.ID, len(numbers) > 0}, nil
}

// reshard returns a reshard and its stream.
func (t *txn) reshard(number uint64) (*Reshard, *Stream, error) {
	if err := t.needCluster(); err != nil {
		return nil, nil, err
	}
	r, ok := t.next.Reshard(number)
	if !ok {
		return nil, nil, fault.New(fault.NotFound, "there is no reshard %d", number)
	}
	st := t.next.streams.get(r.StreamID)
	if st == nil && r.Phase.Active() {
		return nil, nil, fault.New(fault.Internal, "reshard %d outlived its stream", number)
	}
	return r, st, nil
}

// liveStream returns the live stream of that id.
func (t *txn) liveStream(id uint64) (*Stream, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	st := t.next.streams.get(id)
	if st == nil {
		return nil, fault.New(fault.NotFound, "there is no stream with id %d", id)
	}
	return st, nil
}
