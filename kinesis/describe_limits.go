package kinesis

import "context"

type describeLimitsInput struct{ general }

type describeLimitsOutput struct {
	ChannelCount             int64
	ChannelCountLimit        int64
	OnDemandStreamCount      int64
	OnDemandStreamCountLimit int64
	OpenShardCount           int64
	ShardLimit               int64
}

const (
	// channelsMax is how many channels there may be.
	channelsMax = 1000
	// shardLimit is the number of shards a program may plan with: the cluster's own limits are those of its nodes and streams.
	shardLimit = 100_000
)

// describeLimits tells how much there is, and may be.
func describeLimits(ctx context.Context, s *Server, _ *call, _ *describeLimitsInput) (*describeLimitsOutput, error) {
	streams, err := s.cluster.ListStreams(ctx)
	if err != nil {
		return nil, err
	}
	channels, err := s.channelsOf(ctx, "")
	if err != nil {
		return nil, err
	}
	out := &describeLimitsOutput{ChannelCount: int64(len(channels)), ChannelCountLimit: channelsMax, OnDemandStreamCountLimit: shardLimit, ShardLimit: shardLimit}
	for _, st := range streams {
		out.OpenShardCount += int64(st.GetOpenShards())
		if st.GetScaling().GetOnDemand() {
			out.OnDemandStreamCount++
		}
	}
	return out, nil
}
