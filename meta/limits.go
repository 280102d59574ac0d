package meta

import "github.com/levada-stream/levada/internal/fault"

// Limits on how much there may be, as against what one thing may be (Settings).
// What bounds a node is part of its registration, what bounds the cluster is part of the
// command that would pass it: so every copy of the state decides alike, whatever its node is configured to.

// TombstonesKept is how many tombstones a proposer of DeleteStream should keep.
// They give the history of failovers the names of streams that are gone, at some 400 bytes each.
const TombstonesKept = 1000

// CheckLimits refuses a stream too many and a placement that takes a node above its
// limit. Applying the command checks it again, on the state it meets; a proposer asks first
// to spare the log what would be refused.
func (c CreateStream) CheckLimits(s *State) error {
	if have := s.streams.len(); c.StreamsMax > 0 && have >= c.StreamsMax {
		return fault.LimitField("streams", uint64(c.StreamsMax),
			"the cluster has %d streams and may have %d (limits.streams_max): delete one or raise the limit", have, c.StreamsMax)
	}
	return checkRoom(s, c.Placement)
}

// checkRoom refuses a placement that takes a node above its limit.
func checkRoom(s *State, placement [][]NodeID) error {
	more := make(map[NodeID]int)
	for _, replicas := range placement {
		for _, id := range replicas {
			more[id]++
		}
	}
	for i, n := range s.nodes {
		if held := s.tallies[i].held; n.ReplicasMax > 0 && more[n.ID] > 0 && held+more[n.ID] > n.ReplicasMax {
			return fault.LimitField("shard_replicas", uint64(n.ReplicasMax),
				"node %s holds %d shard replicas and would get %d more, it takes %d (limits.shard_replicas_max)", n.Name, held, more[n.ID], n.ReplicasMax)
		}
	}
	return nil
}

// noRoom says what a stream needs, what there is, and how much of it would fit: as
// many shards as were placed before room ran out, whose replicas loads counts already.
func noRoom(s *State, loads []*nodeLoad, settings Settings, fit int) error {
	held, most := 0, 0
	for _, l := range loads {
		held += s.HeldReplicas(l.node.ID)
		most += l.node.ReplicasMax
	}
	return fault.LimitField("shard_replicas", uint64(most),
		"%d shards with %d replicas each need %d shard replicas; the %d nodes that take replicas hold %d of %d (limits.shard_replicas_max), where %d such shards would fit: delete streams, add nodes or raise the limit",
		settings.Shards, settings.Replicas, settings.Shards*settings.Replicas, len(loads), held, most, fit)
}
