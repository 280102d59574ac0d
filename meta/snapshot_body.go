package meta

import (
	"errors"
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/hashkey"
)

// The JSON body of a snapshot. Nodes are listed once; everywhere else they are
// indexes into that list, -1 for none: a UUID for every replica of 10,000
// shards would be most of the snapshot.
type snapshotBody struct {
	Version      uint64          `json:"version"`
	Cluster      Cluster         `json:"cluster"`
	NextStream   uint64          `json:"next_stream"`
	NextGroup    uint64          `json:"next_group"`
	NextFailover uint64          `json:"next_failover"`
	Nodes        []*Node         `json:"nodes"`
	Streams      []streamBody    `json:"streams"`
	Deleted      []streamBody    `json:"deleted"`
	Forgotten    []NumberRange   `json:"forgotten,omitempty"` // version 2
	Failovers    []failoverBody  `json:"failovers"`
	NextReshard  uint64          `json:"next_reshard,omitempty"`   // version 3
	Reshards     []*Reshard      `json:"reshards,omitempty"`       // version 3
	NextScaling  uint64          `json:"next_scaling,omitempty"`   // version 3
	Scalings     []*ScalingEvent `json:"scaling_events,omitempty"` // version 3
	Documents    Documents       `json:"documents,omitempty"`      // version 4
}

type streamBody struct {
	ID        uint64        `json:"id"`
	Name      string        `json:"name"`
	Settings  Settings      `json:"settings"`
	State     StreamState   `json:"state"`
	Created   int64         `json:"created"`
	Deleted   int64         `json:"deleted,omitempty"`
	Next      uint32        `json:"next_shard"`
	Groups    []GroupSpan   `json:"groups"`
	Goal      *Goal         `json:"goal,omitempty"`         // version 3
	Goals     []*Goal       `json:"goals_before,omitempty"` // version 3
	Gone      []NumberRange `json:"gone,omitempty"`         // version 3
	Scaling   *Scaling      `json:"scaling,omitempty"`      // version 3
	Salted    []SaltedKey   `json:"salted,omitempty"`       // version 3
	Usage     *shardUsage   `json:"usage,omitempty"`        // version 3
	Documents Documents     `json:"documents,omitempty"`    // version 4
	Shards    []shardBody   `json:"shards,omitempty"`
}

type shardBody struct {
	Number      uint32       `json:"number"`
	Group       uint64       `json:"group"`
	Start       string       `json:"start"` // decimal hash keys, both inclusive
	End         string       `json:"end"`
	State       ShardState   `json:"state"`
	Parents     []uint32     `json:"parents,omitempty"`
	Children    []uint32     `json:"children,omitempty"`
	Created     int64        `json:"created"`
	Opened      int64        `json:"opened,omitempty"` // version 3; left out if the same as created, or pending
	Closed      int64        `json:"closed,omitempty"`
	Ends        *ShardEnd    `json:"ends,omitempty"` // version 3
	Initial     []int        `json:"initial"`
	Desired     []int        `json:"desired,omitempty"` // left out if the same as initial
	DesiredAt   uint64       `json:"desired_version"`
	Leader      int          `json:"leader"`
	Term        uint64       `json:"term,omitempty"`
	LeaderSince int64        `json:"leader_since,omitempty"`
	Members     []memberBody `json:"members,omitempty"`
	MemberTerm  uint64       `json:"members_term,omitempty"`
	MemberSince int64        `json:"members_since,omitempty"`
	MemberFor   uint64       `json:"members_for,omitempty"`
}

type memberBody struct {
	Node  int    `json:"node"`
	Voter bool   `json:"voter"`
	Lag   uint64 `json:"lag,omitempty"`
}

type failoverBody struct {
	Number uint64 `json:"number"`
	Time   int64  `json:"time"`
	Stream uint64 `json:"stream"`
	Shard  uint32 `json:"shard"`
	Group  uint64 `json:"group"`
	From   int    `json:"from"`
	To     int    `json:"to"`
	Term   uint64 `json:"term"`
	Reason string `json:"reason,omitempty"`
}

func (s *State) toBody() *snapshotBody {
	b := &snapshotBody{
		Version: s.version, Cluster: s.cluster,
		NextStream: s.nextStream, NextGroup: s.nextGroup, NextFailover: s.nextFailover,
		Nodes: s.nodes, Streams: []streamBody{}, Deleted: []streamBody{}, Forgotten: s.forgotten, Failovers: []failoverBody{}, Documents: s.documents,
	}
	if s.nextReshard > 1 {
		b.NextReshard = s.nextReshard
		b.Reshards = slices.Collect(s.Reshards())
	}
	if s.nextScaling > 1 {
		b.NextScaling = s.nextScaling
		b.Scalings = slices.Collect(values(&s.scalings))
	}
	if b.Nodes == nil {
		b.Nodes = []*Node{}
	}
	for st := range s.Streams() {
		sb := streamToBody(st)
		for sh := range st.Shards() {
			sb.Shards = append(sb.Shards, s.shardToBody(sh))
		}
		b.Streams = append(b.Streams, sb)
	}
	for st := range s.DeletedStreams() {
		b.Deleted = append(b.Deleted, streamToBody(st))
	}
	for f := range s.Failovers() {
		b.Failovers = append(b.Failovers, failoverBody{
			Number: f.Number, Time: f.Time, Stream: f.StreamID, Shard: f.Shard, Group: f.Group,
			From: s.nodeIndex(f.From), To: s.nodeIndex(f.To), Term: f.Term, Reason: f.Reason,
		})
	}
	return b
}

func streamToBody(st *Stream) streamBody {
	return streamBody{
		ID: st.ID, Name: st.Name, Settings: st.Settings, State: st.State,
		Created: st.Created, Deleted: st.Deleted, Next: st.next, Groups: st.groups, Goal: st.goal, Goals: st.reachedGoals, Gone: st.gone,
		Scaling: st.scaling, Salted: st.salted, Usage: st.usage, Documents: st.documents,
	}
}

func (s *State) shardToBody(sh *Shard) shardBody {
	b := shardBody{
		Number: sh.Number, Group: sh.Group, Start: sh.Range.Start.String(), End: sh.Range.End.String(), State: sh.State,
		Parents: sh.Parents, Children: sh.Children, Created: sh.Created, Closed: sh.Closed,
		Initial: s.nodeIndexes(sh.Initial), DesiredAt: sh.DesiredVersion, Leader: s.nodeIndex(sh.Leader), Term: sh.Term, LeaderSince: sh.LeaderSince,
		MemberTerm: sh.MembersTerm, MemberSince: sh.MembersSince, MemberFor: sh.MembersFor,
	}
	if !slices.Equal(sh.Initial, sh.Desired) {
		b.Desired = s.nodeIndexes(sh.Desired)
	}
	if sh.Opened != sh.Created {
		b.Opened = sh.Opened
	}
	if sh.State == ShardClosed {
		b.Ends = &sh.End
	}
	for _, m := range sh.Members {
		b.Members = append(b.Members, memberBody{s.nodeIndex(m.Node), m.Voter, m.Lag})
	}
	return b
}

func (s *State) nodeIndex(id NodeID) int {
	if i, ok := slices.BinarySearchFunc(s.nodes, id, compareNode); ok {
		return i
	}
	return -1
}

func (s *State) nodeIndexes(ids []NodeID) []int {
	indexes := make([]int, len(ids))
	for i, id := range ids {
		indexes[i] = s.nodeIndex(id)
	}
	return indexes
}

var (
	errNodeIndex = errors.New("a node index is out of range")
	errNullNode  = errors.New("a node is null")
)

func (b *snapshotBody) toState() (*State, error) {
	s := &State{
		version: b.Version, cluster: b.Cluster,
		nextStream: b.NextStream, nextGroup: b.NextGroup, nextFailover: b.NextFailover, forgotten: b.Forgotten,
		nextReshard: max(b.NextReshard, 1), nextScaling: max(b.NextScaling, 1), documents: b.Documents,
	}
	if slices.Contains(b.Documents, nil) {
		return nil, errDocuments
	}
	for _, n := range b.Nodes {
		if n == nil {
			return nil, errNullNode
		}
		s.nodes = append(s.nodes, n)
	}
	e := new(edit)
	for i := range b.Streams {
		st, err := b.Streams[i].toStream(s, e)
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", b.Streams[i].ID, err)
		}
		s.streams.set(e, st.ID, st)
		s.names = append(s.names, &nameEntry{st.Name, st.ID})
	}
	for i := range b.Deleted {
		st, err := b.Deleted[i].toStream(s, e)
		if err != nil {
			return nil, fmt.Errorf("deleted stream %d: %w", b.Deleted[i].ID, err)
		}
		s.deleted.set(e, st.ID, st)
	}
	for _, r := range b.Reshards {
		if r == nil {
			return nil, errReshards
		}
		s.reshards.set(e, r.Number, r)
		if r.Phase.Active() {
			s.active = append(s.active, r.Number)
		}
	}
	for _, event := range b.Scalings {
		if event == nil {
			return nil, errScaling
		}
		s.scalings.set(e, event.Number, event)
	}
	s.tallies, s.documentBytes = s.recount(), s.sumDocuments()
	slices.SortFunc(s.names, compareName)
	slices.SortFunc(s.spans, compareSpan)
	for _, fb := range b.Failovers {
		from, err := s.nodeAt(fb.From)
		if err != nil {
			return nil, err
		}
		to, err := s.nodeAt(fb.To)
		if err != nil {
			return nil, err
		}
		s.failovers.set(e, fb.Number, &Failover{
			Number: fb.Number, Time: fb.Time, StreamID: fb.Stream, Shard: fb.Shard, Group: fb.Group,
			From: from, To: to, Term: fb.Term, Reason: fb.Reason,
		})
	}
	return s, nil
}

func (b *streamBody) toStream(s *State, e *edit) (*Stream, error) {
	st := &Stream{
		ID: b.ID, Name: b.Name, Settings: b.Settings, State: b.State,
		Created: b.Created, Deleted: b.Deleted, next: b.Next, groups: b.Groups, goal: b.Goal, reachedGoals: b.Goals, gone: b.Gone,
		scaling: b.Scaling, salted: b.Salted, usage: b.Usage, documents: b.Documents,
	}
	if slices.Contains(b.Goals, nil) {
		return nil, errGoal
	}
	if slices.Contains(b.Documents, nil) {
		return nil, errDocuments
	}
	for _, g := range b.Groups {
		s.spans = append(s.spans, streamSpan{g, b.ID})
	}
	for i := range b.Shards {
		sh, err := b.Shards[i].toShard(s)
		if err != nil {
			return nil, fmt.Errorf("shard %d: %w", b.Shards[i].Number, err)
		}
		sh.StreamID = b.ID
		st.shards.set(e, uint64(sh.Number), sh)
		if sh.State == ShardOpen {
			st.open = append(st.open, openShard{sh.Range.Start, sh.Number})
			if sh.Term == 0 {
				st.unled++
			}
		}
	}
	slices.SortFunc(st.open, func(a, b openShard) int { return a.start.Compare(b.start) })
	return st, nil
}

func (b *shardBody) toShard(s *State) (*Shard, error) {
	sh := &Shard{
		Number: b.Number, Group: b.Group, State: b.State, Parents: b.Parents, Children: b.Children,
		Created: b.Created, Closed: b.Closed, Term: b.Term, LeaderSince: b.LeaderSince,
		MembersTerm: b.MemberTerm, MembersSince: b.MemberSince, MembersFor: b.MemberFor,
		DesiredVersion: b.DesiredAt, Opened: b.Opened,
	}
	if sh.Opened == 0 && sh.State != ShardPending {
		sh.Opened = sh.Created
	}
	if b.Ends != nil {
		sh.End = *b.Ends
	}
	var err error
	if sh.Range.Start, err = hashkey.Parse(b.Start); err != nil {
		return nil, err
	}
	if sh.Range.End, err = hashkey.Parse(b.End); err != nil {
		return nil, err
	}
	if sh.Leader, err = s.nodeAt(b.Leader); err != nil {
		return nil, err
	}
	if sh.Initial, err = s.nodesAt(b.Initial); err != nil {
		return nil, err
	}
	sh.Desired = sh.Initial
	if b.Desired != nil {
		if sh.Desired, err = s.nodesAt(b.Desired); err != nil {
			return nil, err
		}
	}
	for _, m := range b.Members {
		id, err := s.nodeAt(m.Node)
		if err != nil {
			return nil, err
		}
		sh.Members = append(sh.Members, Member{id, m.Voter, m.Lag})
	}
	return sh, nil
}

// nodeAt returns the id at an index of the node list, "" for -1.
func (s *State) nodeAt(i int) (NodeID, error) {
	if i == -1 {
		return "", nil
	}
	if i < 0 || i >= len(s.nodes) {
		return "", errNodeIndex
	}
	return s.nodes[i].ID, nil
}

func (s *State) nodesAt(indexes []int) ([]NodeID, error) {
	ids := make([]NodeID, len(indexes))
	for i, at := range indexes {
		id, err := s.nodeAt(at)
		if err != nil || id == "" {
			return nil, errNodeIndex
		}
		ids[i] = id
	}
	return ids, nil
}
