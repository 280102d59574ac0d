package node

import (
	"context"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
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
	if req.GetAppend() && sh.State == meta.ShardClosed {
		e := fault.New(fault.ShardClosed, "%s of stream %q takes no more records", sh.ID(), req.GetStream())
		e.Successors = s.n.metaStore.State().Successors(sh)
		return nil, e
	}
	if s.leads(sh) {
		wait := s.n.tokens.take(sh.Group, req.GetBuckets(), req.GetSpent(), s.n.now())
		return &pb.TakeTokensResponse{Taken: wait == 0, RetryAfterMs: uint32(wait.Milliseconds())}, nil
	}
	leader, err := s.leader(sh, req.GetNoForward())
	if err != nil {
		return nil, err
	}
	req.NoForward = true
	resp, err := leader.TakeTokens(ctx, req)
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	return resp, nil
}

// Claim takes, renews or ends a claim on a shard that this node leads, or passes the call on to the node that does.
func (s *streamsServer) Claim(ctx context.Context, req *pb.ClaimRequest) (*pb.ClaimResponse, error) {
	if err := checkClaim(req); err != nil {
		return nil, err
	}
	sh, err := s.n.shardOf(req.GetStream(), req.GetShard())
	if err != nil {
		return nil, err
	}
	if here := s.n.shards.byGroup(sh.Group); here != nil && here.raft.IsLeader() {
		_, term := here.raft.Leader()
		return s.claim(claimKey(sh.Group, term, req.GetName()), req), nil
	}
	leader, err := s.leader(sh, req.GetNoForward())
	if err != nil {
		return nil, err
	}
	req.NoForward = true
	resp, err := leader.Claim(ctx, req)
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	return resp, nil
}

func (s *streamsServer) claim(key bucketKey, req *pb.ClaimRequest) *pb.ClaimResponse {
	all, now := s.n.claims, s.n.now()
	switch {
	case req.GetRelease():
		all.release(key, req.GetHolder())
		return &pb.ClaimResponse{}
	case req.GetRenew():
		return &pb.ClaimResponse{Held: all.renew(key, req.GetHolder(), time.Duration(req.GetAgeMs())*time.Millisecond, now)}
	}
	held, wait := all.take(key, req.GetHolder(), time.Duration(req.GetTakeOverAfterMs())*time.Millisecond, now)
	return &pb.ClaimResponse{Held: held, RetryAfterMs: uint32(wait.Milliseconds())}
}

// leads reports whether this node leads a shard.
func (s *streamsServer) leads(sh *meta.Shard) bool {
	here := s.n.shards.byGroup(sh.Group)
	return here != nil && here.raft.IsLeader()
}

// leader reaches the node that leads a shard. With here it is only told who that is.
func (s *streamsServer) leader(sh *meta.Shard, here bool) (pb.StreamsClient, error) {
	refused := s.n.notLeader(sh)
	if here || refused.LeaderAddr == "" {
		return nil, refused
	}
	conn, err := s.n.peers.conn(refused.LeaderAddr)
	if err != nil {
		return nil, err
	}
	return pb.NewStreamsClient(conn), nil
}
