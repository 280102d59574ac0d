package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// Services that nodes offer each other over the Raft transport. Numbers are a
// promise between versions and are never reused.
const (
	// callPropose takes a control command and answers, once it is applied, the
	// version of the control state that holds it: 8 bytes, little-endian.
	callPropose uint8 = 1
	// callGroupStatus takes a group id, 8 bytes little-endian, and answers a groupStatus in JSON.
	callGroupStatus uint8 = 2
	// callFetch takes group, first ordinal, most bytes (8 bytes each, little-endian) and answers
	// blocks of the shard log, verbatim.
	callFetch uint8 = 3
	// callFound takes a founding in JSON and answers nothing: the node agrees that
	// the sender founds the cluster.
	callFound uint8 = 4
	// callFounder takes nothing and answers in JSON which founder the node has agreed to.
	callFounder uint8 = 5
	// callSeal takes group, version of the control state and number of a reshard (8 bytes each, little-endian), seals the
	// shard and answers what it leaves to its children (docs/formats/raft-commands.md).
	callSeal uint8 = 6
	// callAdopt takes a group, 8 bytes little-endian, and what its parents leave, and answers nothing once the shard has taken
	// over. With nothing behind the group it only asks: a Conflict says that the shard has yet to.
	callAdopt uint8 = 7
	// callLoads takes a loadsRequest in JSON and answers the loads of the shards that the node leads, in JSON.
	callLoads uint8 = 8
	// callSamples takes a group, 8 bytes little-endian, and answers samples of the shard's records in JSON.
	callSamples uint8 = 9
)

// groupStatus is what one node says of its replica of a group.
type groupStatus struct {
	Running bool   `json:"running"`
	Leader  bool   `json:"leader"`
	Applied uint64 `json:"applied"`
	// Settled: it leads, and the shard ended no earlier when it was asked. Else Next is what this replica has, and Closed is not told.
	Settled bool   `json:"settled"`
	Next    uint64 `json:"next_ordinal"`
	Closed  bool   `json:"closed,omitempty"`
}

func (n *Node) registerCalls() {
	n.transport.Handle(callPropose, n.servePropose)
	n.transport.Handle(callGroupStatus, n.serveGroupStatus)
	n.transport.Handle(callFetch, n.serveFetch)
	n.transport.Handle(callFound, n.serveFound)
	n.transport.Handle(callFounder, n.serveFounder)
	n.transport.Handle(callSeal, n.serveSeal)
	n.transport.Handle(callAdopt, n.serveAdopt)
	n.transport.Handle(callLoads, n.serveLoads)
	n.transport.Handle(callSamples, n.serveSamples)
}

// statusPatience bounds how long an answer waits for the leader's replica to apply what is committed.
const statusPatience = time.Second

func (n *Node) serveGroupStatus(ctx context.Context, _ string, request []byte) ([]byte, error) {
	if len(request) != 8 {
		return nil, fault.New(fault.Invalid, "group status wants 8 bytes, got %d", len(request))
	}
	group := binary.LittleEndian.Uint64(request)
	var st groupStatus
	if group == meta.MetaGroup {
		st = groupStatus{Running: true, Leader: n.metaRaft.IsLeader(), Applied: n.metaRaft.AppliedIndex()}
	} else if s := n.shards.byGroup(group); s != nil {
		ctx, cancel := context.WithTimeout(ctx, statusPatience)
		defer cancel()
		st = groupStatus{Running: true, Leader: s.raft.IsLeader(), Applied: s.raft.AppliedIndex()}
		if st.Next, st.Closed, st.Settled = s.end(ctx); !st.Settled {
			st.Next = s.replica.Tail()
		}
	}
	return json.Marshal(st)
}

// groupStatusOf asks a node about its replica of a group.
func (n *Node) groupStatusOf(ctx context.Context, nodeID string, group uint64) (groupStatus, error) {
	var st groupStatus
	b, err := n.transport.Call(ctx, nodeID, callGroupStatus, binary.LittleEndian.AppendUint64(nil, group))
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(b, &st)
}

func (n *Node) serveFetch(_ context.Context, _ string, request []byte) ([]byte, error) {
	if len(request) != 24 {
		return nil, fault.New(fault.Invalid, "fetch wants 24 bytes, got %d", len(request))
	}
	group := binary.LittleEndian.Uint64(request)
	s := n.shards.byGroup(group)
	if s == nil {
		return nil, fault.New(fault.NotFound, "no replica of group %d runs here", group)
	}
	from, most := binary.LittleEndian.Uint64(request[8:]), binary.LittleEndian.Uint64(request[16:])
	return s.replica.ServeFetch(from, int(min(most, fetchBytesMax)))
}

// fetchBytesMax bounds one answer of callFetch.
const fetchBytesMax = 4 << 20

// fetch copies a piece of a shard's log from any other replica of the group
// that has it. It satisfies partition's Fetcher.
func (n *Node) fetch(ctx context.Context, group, from uint64, most int) ([]byte, error) {
	sh, ok := n.metaStore.State().ShardByGroup(group)
	if !ok {
		return nil, fault.New(fault.NotFound, "group %d is not in the control state", group)
	}
	request := binary.LittleEndian.AppendUint64(nil, group)
	request = binary.LittleEndian.AppendUint64(request, from)
	request = binary.LittleEndian.AppendUint64(request, uint64(most))
	// The leader first: it is sure to have everything that is committed.
	peers := slices.Concat([]string{sh.Leader}, sh.Desired, sh.Initial)
	var last error = fault.New(fault.Unavailable, "no other replica of group %d is known", group)
	for i, peer := range peers {
		if peer == "" || peer == n.nodeID || slices.Contains(peers[:i], peer) {
			continue
		}
		b, err := n.callPeer(ctx, peer, callFetch, request)
		if err == nil && len(b) > 0 {
			return b, nil
		}
		if err != nil {
			last = fmt.Errorf("fetch group %d from ordinal %d of node %s: %w", group, from, peer, err)
		}
	}
	return nil, last
}

// fetchTimeout bounds one call for a piece of a log.
const fetchTimeout = 15 * time.Second

func (n *Node) callPeer(ctx context.Context, peer string, service uint8, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	return n.transport.Call(ctx, peer, service, request)
}
