package meta

import (
	"slices"

	"github.com/levada-stream/levada/internal/fault"
)

// SetReplicas says where the replicas of one shard shall be. The shard's leader
// walks there in single steps (ReconcileMembership). A retired node may stay in
// the list, it may not come in.
type SetReplicas struct {
	Group    uint64   `json:"group"`
	Replicas []NodeID `json:"replicas"` // the first is the preferred leader
	Previous []NodeID `json:"previous"` // if not empty, Conflict unless these are desired now: two proposers do not overtake each other
	Time     int64    `json:"time"`
}

// ReplicasResult answers SetReplicas.
type ReplicasResult struct {
	Version uint64 `json:"version"`
	Changed bool   `json:"changed"`
}

// Type returns "set_replicas".
func (SetReplicas) Type() string { return "set_replicas" }

func (c SetReplicas) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	old, ok := t.next.ShardByGroup(c.Group)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no shard with group %d", c.Group)
	}
	if len(c.Replicas) == 0 || len(c.Replicas) > DesiredReplicasMax {
		return nil, limitError("replicas", DesiredReplicasMax, "a shard needs 1 to %d replicas, not %d", DesiredReplicasMax, len(c.Replicas))
	}
	if len(c.Previous) > 0 && !slices.Equal(c.Previous, old.Desired) {
		return nil, fault.New(fault.Conflict, "the replicas of group %d changed meanwhile", c.Group)
	}
	if err := checkReplicas("replicas", t.next, c.Replicas, old.Desired); err != nil {
		return nil, err
	}
	if slices.Equal(c.Replicas, old.Desired) {
		return ReplicasResult{Version: t.next.version}, nil
	}
	sh := *old
	sh.Desired, sh.DesiredVersion = t.next.intern(c.Replicas), t.next.version
	t.putShard(&sh)
	return ReplicasResult{t.next.version, true}, nil
}
