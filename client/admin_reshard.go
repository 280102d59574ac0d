package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// Reshard is a split or a merge to ask for.
type Reshard struct {
	// ID makes it safe to ask again: the same id is the same reshard. Empty: a new one.
	ID     string
	Reason string // kept with it
	Wait   bool   // until it is done or aborted
}

func (r Reshard) id() string {
	if r.ID != "" {
		return r.ID
	}
	return rand.Text()
}

// SplitShard replaces a shard by several: at bounds, which are the decimal first hash keys of all children
// but the first, or into even parts, two if parts is 0. Only writers of that shard wait, for a moment.
func (c *Client) SplitShard(ctx context.Context, stream string, shard uint32, bounds []string, parts uint32, r Reshard) (*levadav1.Reshard, error) {
	return c.split(ctx, &levadav1.SplitShardRequest{Id: r.id(), Stream: stream, Shard: shard, Bounds: bounds, Parts: parts, Reason: r.Reason, Wait: r.Wait})
}

// SplitShardByLoad replaces a shard by parts, two if parts is 0, that each take about the same share of its load of the last minutes.
// It is a Conflict if one key is nearly all of it.
func (c *Client) SplitShardByLoad(ctx context.Context, stream string, shard, parts uint32, r Reshard) (*levadav1.Reshard, error) {
	return c.split(ctx, &levadav1.SplitShardRequest{Id: r.id(), Stream: stream, Shard: shard, Parts: parts, ByLoad: true, Reason: r.Reason, Wait: r.Wait})
}

func (c *Client) split(ctx context.Context, in *levadav1.SplitShardRequest) (*levadav1.Reshard, error) {
	return c.reshard(ctx, in.GetWait(), func(ctx context.Context, api levadav1.AdminClient) (*levadav1.ReshardResponse, error) {
		return api.SplitShard(ctx, in)
	})
}

// MergeShards replaces two neighbours by one. Only their writers wait, for a moment.
func (c *Client) MergeShards(ctx context.Context, stream string, shard, with uint32, r Reshard) (*levadav1.Reshard, error) {
	in := &levadav1.MergeShardsRequest{Id: r.id(), Stream: stream, Shard: shard, With: with, Reason: r.Reason, Wait: r.Wait}
	return c.reshard(ctx, r.Wait, func(ctx context.Context, api levadav1.AdminClient) (*levadav1.ReshardResponse, error) {
		return api.MergeShards(ctx, in)
	})
}

// AbortReshard gives up a reshard whose parents are not being sealed yet. Later it is a Conflict.
func (c *Client) AbortReshard(ctx context.Context, id, reason string) (*levadav1.Reshard, error) {
	in := &levadav1.AbortReshardRequest{Id: id, Reason: reason}
	return c.reshard(ctx, false, func(ctx context.Context, api levadav1.AdminClient) (*levadav1.ReshardResponse, error) {
		return api.AbortReshard(ctx, in)
	})
}

// The phases in which a reshard has ended.
const (
	reshardDone    = "done"
	reshardAborted = "aborted"
)

// reshard calls until the reshard has ended, if that is to be waited for: one call waits for a while only.
func (c *Client) reshard(ctx context.Context, wait bool, call func(context.Context, levadav1.AdminClient) (*levadav1.ReshardResponse, error)) (*levadav1.Reshard, error) {
	for {
		var out *levadav1.ReshardResponse
		_, err := c.unary(ctx, c.waitLimit(wait), func(ctx context.Context, cc *grpc.ClientConn) (err error) {
			out, err = call(ctx, levadav1.NewAdminClient(cc))
			return err
		})
		if phase := out.GetReshard().GetPhase(); err != nil || !wait || phase == reshardDone || phase == reshardAborted {
			return out.GetReshard(), err
		}
	}
}

// waitLimit bounds one try of a call; one that waits takes as long as the service lets it.
func (c *Client) waitLimit(wait bool) time.Duration {
	if wait {
		return reshardWait + c.opts.tryTimeout
	}
	return c.opts.tryTimeout
}

// reshardWait is how long the service lets one call wait.
const reshardWait = 10 * time.Second

// SetShardCount brings a stream to a number of shards over even parts of the key space. With Wait it returns when that is reached or given up;
// the stream's goal tells which.
func (c *Client) SetShardCount(ctx context.Context, stream string, shards uint32, r Reshard) (*levadav1.Stream, error) {
	in := &levadav1.SetShardCountRequest{Id: r.id(), Stream: stream, Shards: shards, Reason: r.Reason, Wait: r.Wait}
	for {
		var out *levadav1.SetShardCountResponse
		_, err := c.unary(ctx, c.waitLimit(r.Wait), func(ctx context.Context, cc *grpc.ClientConn) (err error) {
			out, err = levadav1.NewAdminClient(cc).SetShardCount(ctx, in)
			return err
		})
		if g := out.GetStream().GetGoal(); err != nil || !r.Wait || g.GetId() != in.GetId() || g.GetEndedMs() != 0 {
			return out.GetStream(), err
		}
	}
}

// CancelShardCount gives a number of shards up that was set and is not reached. What was done stays.
func (c *Client) CancelShardCount(ctx context.Context, stream, reason string) (*levadav1.Stream, error) {
	var out *levadav1.SetShardCountResponse
	_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewAdminClient(cc).CancelShardCount(ctx, &levadav1.CancelShardCountRequest{Stream: stream, Reason: reason})
		return err
	})
	return out.GetStream(), err
}

// ListReshards returns up to most reshards of a stream, of all streams for "", the latest first; 0 stands for all that are remembered.
func (c *Client) ListReshards(ctx context.Context, stream string, active bool, most int) ([]*levadav1.Reshard, error) {
	var all []*levadav1.Reshard
	in := &levadav1.ListReshardsRequest{Stream: stream, Active: active, Limit: pageLimit}
	for {
		if most > 0 {
			in.Limit = uint32(min(pageLimit, most-len(all)))
		}
		var out *levadav1.ListReshardsResponse
		_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
			out, err = levadav1.NewAdminClient(cc).ListReshards(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, out.GetReshards()...)
		if !out.GetMore() || len(out.GetReshards()) == 0 || most > 0 && len(all) >= most {
			return all, nil
		}
		in = &levadav1.ListReshardsRequest{Stream: stream, Active: active, Limit: pageLimit, Before: all[len(all)-1].GetNumber()}
	}
}

// ShardFilter chooses shards by when they own keys.
type ShardFilter struct {
	Kind levadav1.ShardFilter
	At   int64 // ms since the Unix epoch, for SHARDS_AT and SHARDS_FROM
}

// ListShardsWhere is ListShards for the shards that a filter lets through.
func (c *Client) ListShardsWhere(ctx context.Context, stream string, f ShardFilter) ([]*levadav1.Shard, error) {
	if f.Kind < 0 || f.Kind > levadav1.ShardFilter_SHARDS_FROM {
		return nil, &Error{Kind: Invalid, Field: "filter", Message: fmt.Sprintf("unknown shard filter %d", f.Kind)}
	}
	all, _, err := c.listShards(ctx, &levadav1.ListShardsRequest{Stream: stream, Filter: f.Kind, AtMs: f.At})
	return all, err
}
