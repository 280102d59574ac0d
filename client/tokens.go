package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// TokenBucket is a bucket to take from, of a shard. It holds Burst at most and fills by Rate a second.
type TokenBucket struct {
	Name              string
	Take, Rate, Burst float64
}

// TakeTokens takes from buckets that a shard's leader keeps in memory, all or none. If nothing was taken it says how long after
// it might be. What is in a bucket when anything is gives leave to take more: it is owed, and nothing more is given before it has come in.
func (c *Client) TakeTokens(ctx context.Context, stream string, shard uint32, buckets ...TokenBucket) (wait time.Duration, err error) {
	return c.takeTokens(ctx, &levadav1.TakeTokensRequest{Stream: stream, Shard: shard}, buckets)
}

// TakeAppendTokens is TakeTokens for records that are to be appended. A shard that takes no more answers ShardClosed; ShardFor then names
// one that took over.
func (c *Client) TakeAppendTokens(ctx context.Context, stream string, shard uint32, buckets ...TokenBucket) (wait time.Duration, err error) {
	wait, err = c.takeTokens(ctx, &levadav1.TakeTokensRequest{Stream: stream, Shard: shard, Append: true}, buckets)
	if IsShardClosed(err) {
		c.maps.outdate(stream, time.Now())
	}
	return wait, err
}

// SpendTokens takes from buckets what has been spent already, however little is in them: it is owed.
func (c *Client) SpendTokens(ctx context.Context, stream string, shard uint32, buckets ...TokenBucket) error {
	_, err := c.takeTokens(ctx, &levadav1.TakeTokensRequest{Stream: stream, Shard: shard, Spent: true}, buckets)
	return err
}

func (c *Client) takeTokens(ctx context.Context, in *levadav1.TakeTokensRequest, buckets []TokenBucket) (wait time.Duration, err error) {
	for _, b := range buckets {
		in.Buckets = append(in.Buckets, &levadav1.TokenBucket{Name: b.Name, Take: b.Take, Rate: b.Rate, Burst: b.Burst})
	}
	var out *levadav1.TakeTokensResponse
	_, err = c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewStreamsClient(cc).TakeTokens(ctx, in)
		return err
	})
	if err != nil || out.GetTaken() {
		return 0, err
	}
	return max(time.Millisecond, time.Duration(out.GetRetryAfterMs())*time.Millisecond), nil
}

// ShardFor returns the number of the shard that takes a record now.
func (c *Client) ShardFor(ctx context.Context, stream string, r Record) (uint32, error) {
	m, err := c.maps.get(ctx, stream)
	if err != nil {
		return 0, err
	}
	if sh := m.lookup(r.HashKey()); sh != nil {
		return sh.number, nil
	}
	return 0, newError(Unavailable, "the map of stream %s has no shard for the record's hash key now", stream)
}
