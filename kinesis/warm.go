package kinesis

import (
	"context"

	"google.golang.org/protobuf/proto"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

const (
	// onDemandShards is how many shards an on-demand stream has at least.
	onDemandShards = 4
	// warmMiBpsMax is the most that a stream can be made ready for.
	warmMiBpsMax = 10_240
	// shardsMaxDefault is how many shards a policy permits that does not say it.
	shardsMaxDefault = 256
)

// warmShards is how many shards an on-demand stream has at least that is ready for so many MiB/s: one for each, which is what a shard of such a stream is meant
// to take.
func warmShards(mibps int64) uint32 {
	return uint32(min(max(mibps, onDemandShards), warmMiBpsMax))
}

// onDemandPolicy is the policy of streams that have no number of shards of their own. It keeps as many as are needed to be ready for a rate; what else the policy
// before it said stays. nil: there was none.
func onDemandPolicy(before *levadav1.Scaling, warmMiBps int64) *levadav1.Scaling {
	policy := &levadav1.Scaling{}
	if before != nil {
		policy = proto.CloneOf(before)
	}
	policy.Mode, policy.OnDemand, policy.ShardsMin = "on", true, warmShards(warmMiBps)
	if most := policy.GetShardsMax(); policy.ShardsMin > max(most, shardsMaxDefault) || most != 0 && policy.ShardsMin > most {
		policy.ShardsMax = policy.ShardsMin
	}
	return policy
}

// warm makes a stream one whose number of shards follows the load, and ready for a rate: it begins to split shards until there are enough.
func (s *Server) warm(ctx context.Context, c *call, k *known, mibps int64, reason string) error {
	var before *levadav1.Scaling
	if k.onDemand() {
		before = k.stream.GetScaling()
	}
	if _, err := s.cluster.SetScaling(ctx, c.stream, onDemandPolicy(before, mibps), reason); err != nil {
		return s.streamError(c.stream, err)
	}
	shards := warmShards(mibps)
	if shards <= k.stream.GetOpenShards() || mibps == 0 { // to as few as any such stream has at least the cluster comes by itself
		return nil
	}
	_, err := s.cluster.SetShardCount(ctx, c.stream, shards, client.Reshard{ID: c.id, Reason: reason})
	return s.reshardError(c.stream, err)
}
