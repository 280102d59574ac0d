package meta

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"

	"github.com/levada-stream/levada/internal/hashkey"
)

// NodeID is the UUID text that a node keeps on its disk.
type NodeID = string

// MetaGroup is the Raft group of this state machine; shards have groups from 1.
const MetaGroup uint64 = 0

// Addresses are the host:port pairs under which others reach a node.
type Addresses struct {
	Raft   string `json:"raft"`
	GRPC   string `json:"grpc,omitempty"`
	HTTP   string `json:"http,omitempty"`
	Gossip string `json:"gossip,omitempty"`
}

// NodeState says whether a node takes part in the cluster.
type NodeState string

// The states of a node. A node leaves NodeJoined once and never comes back:
// Replaced means another id registered under its name, Removed that somebody
// took it out.
const (
	NodeJoined   NodeState = "joined"
	NodeReplaced NodeState = "replaced"
	NodeRemoved  NodeState = "removed"
)

// Node is a registered node. Immutable.
type Node struct {
	ID          NodeID            `json:"id"`
	Name        string            `json:"name"`
	Incarnation uint64            `json:"incarnation"`
	Addresses   Addresses         `json:"addresses"`
	Zone        string            `json:"zone,omitempty"`
	Roles       []string          `json:"roles,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	DiskClass   string            `json:"disk_class,omitempty"`
	ReplicasMax int               `json:"replicas_max,omitempty"` // shard replicas that it takes, 0 for no limit
	State       NodeState         `json:"state"`
	Registered  int64             `json:"registered"`            // unix ms of the first registration
	Changed     int64             `json:"changed"`               // unix ms of the last change
	ReplacedBy  NodeID            `json:"replaced_by,omitempty"` // set iff State is NodeReplaced
}

func (n *Node) equal(o *Node) bool {
	return n.ID == o.ID && n.Name == o.Name && n.Incarnation == o.Incarnation && n.Addresses == o.Addresses &&
		n.Zone == o.Zone && n.DiskClass == o.DiskClass && n.ReplicasMax == o.ReplicasMax && n.State == o.State && n.ReplacedBy == o.ReplacedBy &&
		slices.Equal(n.Roles, o.Roles) && maps.Equal(n.Labels, o.Labels)
}

// StreamState is the life of a stream.
type StreamState string

// The states of a stream: creating until every open shard has had a leader,
// then active; deleting for good once somebody deleted it.
const (
	StreamCreating StreamState = "creating"
	StreamActive   StreamState = "active"
	StreamDeleting StreamState = "deleting"
)

// GroupSpan is a run of shards whose groups and numbers ascend together:
// shard Number+i has group First+i, for 0 <= i < Count.
type GroupSpan struct {
	First  uint64 `json:"first"`
	Count  uint64 `json:"count"`
	Number uint32 `json:"number"`
}

// Stream is one stream with its partition map. Immutable.
type Stream struct {
	ID       uint64
	Name     string
	Settings Settings
	State    StreamState
	Created  int64 // unix ms
	Deleted  int64 // unix ms, 0 unless State is StreamDeleting

	owner  *edit // transaction that may still change this copy
	next   uint32
	shards trie[Shard] // by number; empty once deleting
	open   []openShard // ascending; tiles the key space unless deleting
	unled  int         // open shards that never had a leader
	groups []GroupSpan // ascending; every group this stream ever had
	goal   *Goal       // the last set, nil if none was
	// reachedGoals are those before it, the latest last. All have ended.
	reachedGoals []*Goal
	gone         []NumberRange // numbers of shards that are gone: ascending, no two touch

	scaling *Scaling    // nil if none was set
	salted  []SaltedKey // ascending
	usage   *shardUsage // nil while the number of open shards never changed

	documents Documents
}

// A Goal is a number of shards that a stream is to have, over even parts of the key
// space. It is reached by splits and merges, one generation after the other. Immutable.
type Goal struct {
	ID      string `json:"id"` // chosen by who asked for it
	Shards  int    `json:"shards"`
	Reason  string `json:"reason,omitempty"`
	Started int64  `json:"started"`           // unix ms
	Ended   int64  `json:"ended,omitempty"`   // unix ms at which it was reached or given up, 0 before
	Failure string `json:"failure,omitempty"` // why it was given up
}

// Goal returns the goal set last, nil if none was.
func (s *Stream) Goal() *Goal { return s.goal }

// GoalByID returns the goal that was set with that id, nil if there was none or it is no longer remembered.
func (s *Stream) GoalByID(id string) *Goal {
	if s.goal != nil && s.goal.ID == id {
		return s.goal
	}
	for _, g := range s.reachedGoals {
		if g.ID == id {
			return g
		}
	}
	return nil
}

// An openShard is a row of the routing table of a stream.
type openShard struct {
	start  hashkey.Key
	number uint32
}

// Shard returns the shard of that number, nil if there is none (any more).
func (s *Stream) Shard(number uint32) *Shard { return s.shards.get(uint64(number)) }

// Shards yields all shards, open and closed, in ascending number. A deleting
// stream has none.
func (s *Stream) Shards() iter.Seq[*Shard] {
	return func(yield func(*Shard) bool) {
		for _, sh := range s.shards.all() {
			if !yield(sh) {
				return
			}
		}
	}
}

// NextShard is the number that the next new shard will have.
func (s *Stream) NextShard() uint32 { return s.next }

// OpenCount returns the number of open shards.
func (s *Stream) OpenCount() int { return len(s.open) }

// ShardCount returns the number of shards, open and closed.
func (s *Stream) ShardCount() int { return s.shards.len() }

// OpenShards yields the open shards in ascending order of their hash ranges.
func (s *Stream) OpenShards() iter.Seq[*Shard] {
	return func(yield func(*Shard) bool) {
		for _, o := range s.open {
			if !yield(s.Shard(o.number)) {
				return
			}
		}
	}
}

// ShardForHash returns the open shard that owns key, nil if the stream is deleting.
func (s *Stream) ShardForHash(key hashkey.Key) *Shard {
	i := sort.Search(len(s.open), func(i int) bool { return s.open[i].start.Compare(key) > 0 })
	if i == 0 {
		return nil
	}
	return s.Shard(s.open[i-1].number)
}

// Leaderless returns how many open shards never had a leader.
func (s *Stream) Leaderless() int { return s.unled }

// Groups returns the groups of all shards the stream ever had. The caller must not change it.
func (s *Stream) Groups() []GroupSpan { return s.groups }

// ShardState says whether a shard takes records.
type ShardState string

// The states of a shard. A pending one is to take over from others that are still open. A closed
// one was split or merged; it can be read until its records expire.
const (
	ShardPending ShardState = "pending"
	ShardOpen    ShardState = "open"
	ShardClosed  ShardState = "closed"
)

// Shard is an entry of the partition map. Immutable.
type Shard struct {
	StreamID uint64
	Number   uint32
	Group    uint64
	Range    hashkey.Range
	State    ShardState
	Parents  []uint32 // shards this one took over from, ascending by their ranges; they may be gone
	Children []uint32 // shards that took over, ascending by their ranges; empty until closed. They may be gone
	Created  int64    // unix ms
	Opened   int64    // unix ms from which on it owned its keys, 0 while pending
	Closed   int64    // unix ms from which on its children did, 0 until closed
	End      ShardEnd // where it ended; zero until closed

	Initial        []NodeID // the replicas that may bootstrap the group; never changes; the first is the preferred leader
	Desired        []NodeID // where the replicas shall be
	DesiredVersion uint64   // version that set Desired

	Leader      NodeID // last leader reported, "" before the first
	Term        uint64 // its term; 0 iff no leader was ever reported
	LeaderSince int64  // unix ms of the report that made Leader the leader

	Members      []Member // what a leader last reported, ascending by node; nil if never
	MembersTerm  uint64   // term of that leader
	MembersSince int64    // unix ms of that report
	MembersFor   uint64   // DesiredVersion that leader was working towards
}

// ID returns the public name of the shard inside its stream.
func (s *Shard) ID() string { return ShardID(s.Number) }

// ShardID returns the public name of shard number inside its stream.
func ShardID(number uint32) string { return fmt.Sprintf("shard-%012d", number) }

// Member is one server of a group's actual Raft membership.
type Member struct {
	Node  NodeID `json:"node"`
	Voter bool   `json:"voter"`
	Lag   uint64 `json:"lag,omitempty"` // log entries behind the leader at the time of the report; LagUnknown if never heard of
}

// LagUnknown is the lag of a server that the leader has not heard of.
const LagUnknown = ^uint64(0)

// Votes reports whether a leader last reported the node as a voter.
func (s *Shard) Votes(node NodeID) bool {
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.Node == node && m.Voter })
}

// Complete reports whether exactly the desired replicas vote, as far as a leader
// has reported. Until then a replica is on its way, and losing another one may cost the majority.
func (s *Shard) Complete() bool {
	return len(s.Members) == len(s.Desired) && !slices.ContainsFunc(s.Desired, func(id NodeID) bool { return !s.Votes(id) })
}

// Whole reports whether a shard is complete and none of its replicas is on a
// node that the cluster has given up: such a one votes as far as reported, and is to be replaced.
func (s *State) Whole(sh *Shard) bool {
	return sh.Complete() && !slices.ContainsFunc(sh.Desired, func(id NodeID) bool {
		n, ok := s.Node(id)
		return !ok || n.State != NodeJoined
	})
}

// voters returns the reported voters, or the initial replicas if nothing was reported yet.
func (s *Shard) voters() []NodeID {
	if s.Members == nil {
		return s.Initial
	}
	var ids []NodeID
	for _, m := range s.Members {
		if m.Voter {
			ids = append(ids, m.Node)
		}
	}
	return ids
}

// Failover is one change of a shard's leader from one node to another.
type Failover struct {
	Number   uint64 `json:"number"` // position in the cluster's history, from 1
	Time     int64  `json:"time"`   // unix ms
	StreamID uint64 `json:"stream"`
	Shard    uint32 `json:"shard"`
	Group    uint64 `json:"group"`
	From     NodeID `json:"from"`
	To       NodeID `json:"to"`
	Term     uint64 `json:"term"`
	Reason   string `json:"reason,omitempty"`
}

// Cluster is what is known about the cluster as a whole. Immutable.
type Cluster struct {
	ID       string          `json:"id"` // "" before InitCluster
	Name     string          `json:"name"`
	Created  int64           `json:"created"` // unix ms
	Settings ClusterSettings `json:"settings"`
}

// ClusterSettings are set by SetCluster.
type ClusterSettings struct {
	// DeadGraceSeconds is how long a node may be dead before its replicas are
	// rebuilt elsewhere.
	DeadGraceSeconds int64 `json:"dead_grace_seconds"`
	// RepairPaused stops Repair from proposing anything.
	RepairPaused bool `json:"repair_paused"`
}
