package kinesis

import (
	"context"
	"strconv"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

type listShardsInput struct {
	streamRef
	NextToken               *string `is:"len=1:1048576"`
	ExclusiveStartShardId   *string `is:"len=1:128;match=shardId"`
	MaxResults              *int64  `is:"range=1:10000"`
	StreamCreationTimestamp *codec.Time
	ShardFilter             *shardFilter
}

type shardFilter struct {
	Type      *string `is:"required;enum=shardFilter"`
	ShardId   *string `is:"len=1:128;match=shardId"`
	Timestamp *codec.Time
}

// locate finds the stream by the token, if there is one. Some clients repeat beside it what they asked for first, paginators of SDKs among them. The original
// refuses that, and with it their second page; here it must only not contradict the token.
func (in *listShardsInput) locate(s *Server) (string, error) {
	if in.NextToken == nil {
		return s.resolve(&in.streamRef)
	}
	t, err := parseToken(*in.NextToken, "ListShards", s.opts.Now())
	if err != nil {
		return "", err
	}
	if in.StreamName != nil || in.StreamARN != nil {
		if name, err := s.resolve(&in.streamRef); err != nil {
			return "", err
		} else if name != t.Stream {
			return "", fail(codeInvalidArgument, "The NextToken is another stream's.")
		}
	}
	if in.ShardFilter != nil && *in.ShardFilter.Type != t.Filter {
		return "", fail(codeInvalidArgument, "The NextToken is that of a listing without this ShardFilter.")
	}
	return t.Stream, nil
}

type listShardsOutput struct {
	NextToken *string
	Shards    []shardShape
}

// listedShardsMax is the most that a page has.
const listedShardsMax = 1000

// listShards lists the shards of a stream that a filter lets through.
func listShards(ctx context.Context, s *Server, c *call, in *listShardsInput) (*listShardsOutput, error) {
	from, err := s.shardsToken(ctx, c, in)
	if err != nil {
		return nil, err
	}
	filter := client.ShardFilter{At: from.At}
	switch from.Filter {
	case "AT_LATEST":
		filter.Kind = levadav1.ShardFilter_SHARDS_OPEN
	case "AT_TRIM_HORIZON", "AT_TIMESTAMP":
		filter.Kind = levadav1.ShardFilter_SHARDS_AT
	case "FROM_TIMESTAMP":
		filter.Kind = levadav1.ShardFilter_SHARDS_FROM
	}
	all, err := s.cluster.ListShardsWhere(ctx, c.stream, filter)
	if err != nil {
		return nil, s.streamError(c.stream, err)
	}
	last := int64(-1)
	if from.After != "" {
		if last, err = strconv.ParseInt(from.After, 10, 64); err != nil {
			return nil, fail(codeInvalidArgument, "The NextToken is not valid.")
		}
	}
	out := &listShardsOutput{Shards: []shardShape{}}
	for _, sh := range all {
		if int64(sh.GetNumber()) <= last || sh.GetState() == shardPending {
			continue
		}
		if len(out.Shards) == pageSize(in.MaxResults, listedShardsMax) {
			from.After = strconv.FormatInt(last, 10)
			out.NextToken = s.token(from, c)
			break
		}
		last = int64(sh.GetNumber())
		out.Shards = append(out.Shards, shardShapeOf(sh))
	}
	return out, nil
}

// shardsToken returns the token with which a listing goes on, or one that begins it.
func (s *Server) shardsToken(ctx context.Context, c *call, in *listShardsInput) (nextToken, error) {
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nextToken{}, err
	}
	if in.StreamCreationTimestamp != nil && int64(*in.StreamCreationTimestamp)/1000 != k.stream.GetCreatedMs()/1000 {
		return nextToken{}, s.noStream(c.stream)
	}
	if in.NextToken != nil {
		t, err := parseToken(*in.NextToken, c.op.name, s.opts.Now())
		if err == nil && t.ID != k.stream.GetId() {
			err = fail(codeInvalidArgument, "The NextToken is that of a stream which was deleted.")
		}
		return t, err
	}
	t := nextToken{ID: k.stream.GetId()}
	start := in.ExclusiveStartShardId
	if f := in.ShardFilter; f != nil {
		t.Filter = *f.Type
		now := s.opts.Now().UnixMilli()
		horizon := max(k.stream.GetCreatedMs(), now-k.stream.GetSettings().GetRetentionMs())
		switch t.Filter {
		case "AFTER_SHARD_ID":
			if f.ShardId == nil {
				return t, fail(codeInvalidArgument, "ShardFilter with the type AFTER_SHARD_ID needs a ShardId.")
			}
			start = f.ShardId
		case "AT_TIMESTAMP", "FROM_TIMESTAMP":
			if f.Timestamp == nil {
				return t, fail(codeInvalidArgument, "ShardFilter with the type %s needs a Timestamp.", t.Filter)
			}
			t.At = min(max(int64(*f.Timestamp), horizon), now)
		case "AT_TRIM_HORIZON":
			t.At = horizon
		}
	}
	if start != nil {
		number, ok := parseShardID(*start)
		if !ok {
			return t, s.noShard(c.stream, *start)
		}
		t.After = strconv.FormatUint(uint64(number), 10)
	}
	return t, nil
}
