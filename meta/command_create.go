package meta

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// CreateStream makes a stream with its shards over even parts of the key space.
//
// Placement holds the replicas of each shard in ascending order of their
// ranges, as Place chose them; the first of each is the preferred leader.
// Idempotent by name: with equal settings the stream that exists is answered,
// with others it is a Conflict. A placement on nodes that meanwhile left is a
// Conflict too: place again and propose again. A stream too many, and a placement that
// takes a node above its ReplicasMax, are LimitReached.
//
// With a Writer it wants a new stream: one of that name is a Conflict, whatever its settings, unless the first of its documents
// remembers that writer, and so is the work of this very command.
type CreateStream struct {
	Name       string
	Settings   Settings // complete; see Settings.WithDefaults
	Placement  [][]NodeID
	StreamsMax int // streams that the cluster may have with this one, 0 for no limit; version 2
	Time       int64

	// What the stream has from the beginning, all of version 3.
	Writer    string // needs a document
	Scaling   *Scaling
	Documents []NewDocument
}

// A NewDocument is a document of a stream that is created.
type NewDocument struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// StreamResult answers CreateStream, UpdateStream and DeleteStream.
type StreamResult struct {
	Version  uint64 `json:"version"`
	StreamID uint64 `json:"stream_id"`
	Changed  bool   `json:"changed"` // false if the stream was as wanted before
}

// Type returns "create_stream".
func (CreateStream) Type() string { return "create_stream" }

func (c CreateStream) version() int {
	if c.Writer != "" || c.Scaling != nil || len(c.Documents) > 0 {
		return 3
	}
	return versionIf(c.StreamsMax != 0)
}

// createStreamWire names each node once: a UUID for every replica of 10,000
// shards would be a megabyte.
type createStreamWire struct {
	Name       string   `json:"name"`
	Settings   Settings `json:"settings"`
	Nodes      []NodeID `json:"nodes"`     // in order of first appearance
	Placement  [][]int  `json:"placement"` // indexes into nodes
	StreamsMax int      `json:"streams_max,omitempty"`
	Time       int64    `json:"time"`

	Writer    string        `json:"writer,omitempty"`
	Scaling   *Scaling      `json:"scaling,omitempty"`
	Documents []NewDocument `json:"documents,omitempty"`
}

// MarshalJSON writes the compact form.
func (c CreateStream) MarshalJSON() ([]byte, error) {
	w := createStreamWire{Name: c.Name, Settings: c.Settings, StreamsMax: c.StreamsMax, Time: c.Time, Writer: c.Writer, Scaling: c.Scaling, Documents: c.Documents}
	w.Nodes, w.Placement = packPlacement(c.Placement)
	return json.Marshal(w)
}

// packPlacement returns the nodes of a placement in order of first appearance, and the placement as indexes of them.
func packPlacement(placement [][]NodeID) (nodes []NodeID, packed [][]int) {
	nodes, packed = []NodeID{}, make([][]int, len(placement))
	index := make(map[NodeID]int)
	for i, replicas := range placement {
		packed[i] = make([]int, len(replicas))
		for j, id := range replicas {
			at, ok := index[id]
			if !ok {
				at = len(nodes)
				index[id] = at
				nodes = append(nodes, id)
			}
			packed[i][j] = at
		}
	}
	return nodes, packed
}

func unpackPlacement(nodes []NodeID, packed [][]int) ([][]NodeID, error) {
	placement := make([][]NodeID, len(packed))
	for i, replicas := range packed {
		placement[i] = make([]NodeID, len(replicas))
		for j, at := range replicas {
			if at < 0 || at >= len(nodes) {
				return nil, errPlacementIndex
			}
			placement[i][j] = nodes[at]
		}
	}
	return placement, nil
}

var errPlacementIndex = errors.New("placement names a node that is not listed")

// UnmarshalJSON reads the compact form.
func (c *CreateStream) UnmarshalJSON(data []byte) error {
	var w createStreamWire
	if err := unmarshalStrict(data, &w); err != nil {
		return err
	}
	placement, err := unpackPlacement(w.Nodes, w.Placement)
	*c = CreateStream{
		Name: w.Name, Settings: w.Settings, Placement: placement, StreamsMax: w.StreamsMax, Time: w.Time,
		Writer: w.Writer, Scaling: w.Scaling, Documents: w.Documents,
	}
	return err
}

func (c CreateStream) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	if err := checkName("name", c.Name); err != nil {
		return nil, err
	}
	if err := c.Settings.Validate(); err != nil {
		return nil, err
	}
	if err := checkRange("streams_max", int64(c.StreamsMax), 0, StreamsMax); err != nil {
		return nil, err
	}
	documents, err := c.furnishings(t.next.version)
	if err != nil {
		return nil, err
	}
	if st, ok := t.next.StreamByName(c.Name); ok {
		if c.Writer != "" {
			return c.repeated(st, t.next.version)
		}
		if st.Settings != c.Settings {
			return nil, fault.New(fault.Conflict, "stream %q exists with other settings", c.Name)
		}
		return StreamResult{Version: t.next.version, StreamID: st.ID}, nil
	}
	if n := t.next.joined(); c.Settings.Replicas > n {
		return nil, limitError("replicas", uint64(n), "the stream wants %d replicas and the cluster has %d nodes", c.Settings.Replicas, n)
	}
	if err := checkPlacement(t.next, c.Placement, c.Settings.Shards, c.Settings.Replicas); err != nil {
		return nil, err
	}
	if err := c.CheckLimits(t.next); err != nil {
		return nil, err
	}
	if err := t.resize(0, documents.bytes()); err != nil {
		return nil, err
	}
	st := &Stream{ID: t.next.nextStream, Name: c.Name, Settings: c.Settings, State: StreamCreating, Created: c.Time, documents: documents, owner: t.edit}
	t.next.nextStream++
	shards := make([]*Shard, len(c.Placement))
	st.open = make([]openShard, len(shards))
	for i, r := range hashkey.SplitEven(len(shards)) {
		replicas := t.next.intern(c.Placement[i])
		shards[i] = &Shard{Range: r, State: ShardOpen, Created: c.Time, Opened: c.Time, Initial: replicas, Desired: replicas, DesiredVersion: t.next.version}
		st.open[i] = openShard{r.Start, uint32(i)}
	}
	t.addShards(st, shards)
	t.next.streams.set(t.edit, st.ID, st)
	t.events.Streams = append(t.events.Streams, st.ID)
	at, _ := t.next.nameIndex(c.Name)
	t.next.names = slices.Insert(slices.Clone(t.next.names), at, &nameEntry{c.Name, st.ID})
	if c.Scaling != nil {
		policy := *c.Scaling
		st.scaling = &policy
		t.addScaling(ScalingEvent{StreamID: st.ID, Time: c.Time, Kind: ScalingPolicy, Reason: fmt.Sprintf("mode %s: created with it", policy.Mode)})
	}
	return StreamResult{t.next.version, st.ID, true}, nil
}

// furnishings returns the documents that the new stream has, after a check of all that it has from the beginning.
func (c CreateStream) furnishings(version uint64) (Documents, error) {
	if c.Writer != "" && len(c.Documents) == 0 {
		return nil, fault.InvalidField("documents", "a stream that is to be new needs a document")
	}
	if c.Scaling != nil {
		if err := c.Scaling.Validate(); err != nil {
			return nil, err
		}
	}
	var all Documents
	for _, d := range c.Documents {
		if err := checkDocument(d.Name, d.Value, c.Writer); err != nil {
			return nil, err
		}
		if all.Get(d.Name) != nil {
			return nil, fault.InvalidField("documents", "document %q is there twice", d.Name)
		}
		var err error
		if all, err = all.with(&Document{Name: d.Name, Value: d.Value, Version: version, Writer: c.Writer}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// repeated answers for a stream that exists and was to be new.
func (c CreateStream) repeated(st *Stream, version uint64) (any, error) {
	if d := st.documents.Get(c.Documents[0].Name); d == nil || !d.wrote(c.Writer) {
		return nil, fault.New(fault.Conflict, "stream %q exists", c.Name)
	}
	return StreamResult{Version: version, StreamID: st.ID}, nil
}

// checkPlacement wants so many shards, each on so many nodes that take part.
func checkPlacement(s *State, placement [][]NodeID, shards, replicas int) error {
	if len(placement) != shards {
		return fault.InvalidField("placement", "%d shards are placed, there are %d", len(placement), shards)
	}
	for _, nodes := range placement {
		if len(nodes) != replicas {
			return fault.InvalidField("placement", "a shard is placed on %d nodes, the settings want %d", len(nodes), replicas)
		}
		if err := checkReplicas("placement", s, nodes, nil); err != nil {
			return err
		}
	}
	return nil
}

// checkReplicas wants distinct nodes that take part, or were replicas before.
func checkReplicas(field string, s *State, replicas, before []NodeID) error {
	for i, id := range replicas {
		if slices.Contains(replicas[:i], id) {
			return fault.InvalidField(field, "%s names node %s twice for one shard", field, id)
		}
		n, ok := s.Node(id)
		switch {
		case !ok:
			return fault.New(fault.NotFound, "%s names node %q, which is not registered", field, id)
		case n.State != NodeJoined && !slices.Contains(before, id):
			return fault.New(fault.Conflict, "%s names node %s, which is %s; place again", field, id, n.State)
		}
	}
	return nil
}

// intern returns the ids as the node records hold them, so that shards share
// their text. All ids are known.
func (s *State) intern(ids []NodeID) []NodeID {
	shared := make([]NodeID, len(ids))
	for i, id := range ids {
		n, _ := s.Node(id)
		shared[i] = n.ID
	}
	return shared
}
