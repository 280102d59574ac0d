package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"

	"github.com/levada-stream/levada/autoscale"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
)

// loadsRequest asks a node for the loads of the shards of a stream that it leads, over two windows that end now.
type loadsRequest struct {
	Stream       uint64 `json:"stream"`
	SplitSeconds int64  `json:"split_seconds"`
	MergeSeconds int64  `json:"merge_seconds"`
}

// shardLoad is what a shard's leader says of its load.
type shardLoad struct {
	Shard uint32         `json:"shard"`
	Since int64          `json:"since"` // unix ms; what was stored before is missing
	Split partition.Rate `json:"split"`
	Merge partition.Rate `json:"merge"`
}

func (n *Node) serveLoads(_ context.Context, _ string, request []byte) ([]byte, error) {
	var r loadsRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, fault.New(fault.Invalid, "loads: %w", err)
	}
	now := n.now().UnixMilli()
	loads := []shardLoad{}
	for _, sh := range n.shards.all() {
		if sh.stream.ID == r.Stream && sh.raft.IsLeader() {
			loads = append(loads, shardLoad{
				Shard: sh.number, Since: sh.replica.LoadKnownSince(),
				Split: sh.replica.Load(now, time.Duration(r.SplitSeconds)*time.Second), Merge: sh.replica.Load(now, time.Duration(r.MergeSeconds)*time.Second),
			})
		}
	}
	return json.Marshal(loads)
}

func (n *Node) serveSamples(_ context.Context, _ string, request []byte) ([]byte, error) {
	if len(request) != 8 {
		return nil, fault.New(fault.Invalid, "samples want a group of 8 bytes, got %d", len(request))
	}
	sh, ok := n.metaStore.State().ShardByGroup(binary.LittleEndian.Uint64(request))
	if !ok {
		return nil, fault.New(fault.Unavailable, "the group is not known here")
	}
	here, err := n.ledHere(sh)
	if err != nil {
		return nil, err
	}
	samples := []autoscale.Sample{}
	for _, s := range here.replica.KeySamples(n.now().UnixMilli()) {
		samples = append(samples, autoscale.Sample(s))
	}
	return json.Marshal(samples)
}

// loads asks the leaders of a stream's open shards for their loads. A shard whose leader does not answer in time is left out.
func (n *Node) loads(ctx context.Context, st *meta.Stream, splitSeconds, mergeSeconds int64) map[uint32]shardLoad {
	ctx, cancel := context.WithTimeout(ctx, dutyCallTimeout)
	defer cancel()
	request, err := json.Marshal(loadsRequest{st.ID, splitSeconds, mergeSeconds})
	if err != nil {
		n.log.Error("cannot encode a request for loads", "error", err)
		return nil
	}
	leaders := map[string]bool{}
	for sh := range st.OpenShards() {
		if leader := n.leaderOf(sh); leader != "" {
			leaders[leader] = true
		}
	}
	var mu sync.Mutex
	var calls sync.WaitGroup
	all := map[uint32]shardLoad{}
	for leader := range leaders {
		calls.Go(func() {
			answer, err := n.transport.Call(ctx, leader, callLoads, request)
			var loads []shardLoad
			if err == nil {
				err = json.Unmarshal(answer, &loads)
			}
			if err != nil {
				n.log.Debug("a node does not tell the loads of its shards", "leader", leader, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, l := range loads {
				all[l.Shard] = l
			}
		})
	}
	calls.Wait()
	return all
}

// samples asks a shard's leader for samples of its records.
func (n *Node) samples(ctx context.Context, sh *meta.Shard) ([]autoscale.Sample, error) {
	answer, err := n.callLeader(ctx, dutyCallTimeout, sh.StreamID, sh.Number, callSamples, func(group uint64) []byte {
		return binary.LittleEndian.AppendUint64(nil, group)
	})
	if err != nil {
		return nil, err
	}
	var samples []autoscale.Sample
	return samples, json.Unmarshal(answer, &samples)
}

// loaded returns the open shards of a stream as the decisions about them see them, with samples for those that wantSamples says.
func (n *Node) loaded(ctx context.Context, st *meta.Stream, p meta.Scaling, wantSamples func(autoscale.Shard) bool) []autoscale.Shard {
	state := n.metaStore.State()
	busy := map[uint32]bool{}
	for r := range state.ActiveReshards() {
		if r.StreamID == st.ID {
			for _, number := range r.Parents {
				busy[number] = true
			}
		}
	}
	known := n.loads(ctx, st, p.SplitSeconds, p.MergeSeconds)
	var shards []autoscale.Shard
	for sh := range st.OpenShards() {
		s := autoscale.Shard{Number: sh.Number, Range: sh.Range, Opened: sh.Opened, Busy: busy[sh.Number]}
		if l, ok := known[sh.Number]; ok {
			s.Known, s.Split, s.Merge = l.Since, autoscale.Rate(l.Split), autoscale.Rate(l.Merge)
		}
		shards = append(shards, s)
	}
	// Errors leave a shard without samples: it would be cut evenly.
	_ = together(len(shards), func(i int) (err error) {
		sh, ok := state.Shard(st.ID, shards[i].Number)
		if ok && wantSamples(shards[i]) {
			shards[i].Samples, err = n.samples(ctx, sh)
		}
		return err
	})
	return shards
}
