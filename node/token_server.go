package node

import (
	"context"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
)

// TakeTokens takes from buckets of a shard that this node leads, or passes the call on to the node that does.
func (s *streamsServer) TakeTokens(ctx context.Context, req *pb.TakeTokensRequest) (*pb.TakeTokensResponse, error) {
	if err := checkBuckets(req.GetBuckets()); err != nil {
		return nil, err
	}
	sh, err := s.n.shardOf(req.GetStream(), req.GetShard())
	if err != nil {
		return nil, err
	}
	if here := s.n.shards.byGroup(sh.Group); here != nil && here.raft.IsLeader() {
		wait := s.n.tokens.take(sh.Group, req.GetBuckets(), s.n.now())
		return &pb.TakeTokensResponse{Taken: wait == 0, RetryAfterMs: uint32(wait.Milliseconds())}, nil
	}
	refused := s.n.notLeader(sh)
	if req.GetNoForward() || refused.LeaderAddr == "" {
		return nil, refused
	}
	conn, err := s.n.peers.conn(refused.LeaderAddr)
	if err != nil {
		return nil, err
	}
	req.NoForward = true
	resp, err := pb.NewStreamsClient(conn).TakeTokens(ctx, req)
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	return resp, nil
}
