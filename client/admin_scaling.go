package client

import (
	"context"

	"google.golang.org/grpc"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// admin makes one call of the Admin service.
func (c *Client) admin(ctx context.Context, call func(context.Context, levadav1.AdminClient) error) error {
	_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) error {
		return call(ctx, levadav1.NewAdminClient(cc))
	})
	return err
}

// SetScaling sets the policy by which the number of a stream's shards follows its load. Fields that are 0 get their defaults.
func (c *Client) SetScaling(ctx context.Context, stream string, policy *levadav1.Scaling, reason string) (*levadav1.Stream, error) {
	var out *levadav1.SetScalingResponse
	err := c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
		out, err = api.SetScaling(ctx, &levadav1.SetScalingRequest{Stream: stream, Scaling: policy, Reason: reason})
		return err
	})
	return out.GetStream(), err
}

// ListScalingEvents returns up to most decisions about a stream's shards, of all streams for "", the latest first; 0 stands for all that are remembered.
func (c *Client) ListScalingEvents(ctx context.Context, stream string, most int) ([]*levadav1.ScalingEvent, error) {
	var all []*levadav1.ScalingEvent
	for before := uint64(0); ; before = all[len(all)-1].GetNumber() {
		in := &levadav1.ListScalingEventsRequest{Stream: stream, Limit: pageLimit, Before: before}
		if most > 0 {
			in.Limit = uint32(min(pageLimit, most-len(all)))
		}
		var out *levadav1.ListScalingEventsResponse
		err := c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
			out, err = api.ListScalingEvents(ctx, in)
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, out.GetEvents()...)
		if !out.GetMore() || len(out.GetEvents()) == 0 || most > 0 && len(all) >= most {
			return all, nil
		}
	}
}

// ListLoads returns the loads of a stream's open shards in the order of their keys, averaged over so many seconds, 60 if 0, and how
// the keys spread of the shards named.
func (c *Client) ListLoads(ctx context.Context, stream string, windowSeconds uint32, shards ...uint32) ([]*levadav1.ShardLoad, error) {
	var out *levadav1.ListLoadsResponse
	err := c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
		out, err = api.ListLoads(ctx, &levadav1.ListLoadsRequest{Stream: stream, WindowSeconds: windowSeconds, Shards: shards})
		return err
	})
	return out.GetLoads(), err
}

// ReportProblem says what is wrong with shards of a stream, with none the most loaded one, and returns what is done about it. An empty id
// stands for a new problem.
func (c *Client) ReportProblem(ctx context.Context, in *levadav1.ReportProblemRequest) (*levadav1.ReportProblemResponse, error) {
	if in.GetId() == "" {
		in = &levadav1.ReportProblemRequest{Id: Reshard{}.id(), Stream: in.GetStream(), Problem: in.GetProblem(), Shards: in.GetShards(), Reporter: in.GetReporter()}
	}
	var out *levadav1.ReportProblemResponse
	err := c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
		out, err = api.ReportProblem(ctx, in)
		return err
	})
	return out, err
}

// SaltKey spreads the records of one hash key, in decimal, over parts others, or with 0 no longer. The stream's scaling policy must permit it.
func (c *Client) SaltKey(ctx context.Context, stream, hashKey string, parts uint32, reason string) (*levadav1.Stream, error) {
	var out *levadav1.SaltKeyResponse
	err := c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) (err error) {
		out, err = api.SaltKey(ctx, &levadav1.SaltKeyRequest{Stream: stream, HashKey: hashKey, Parts: parts, Reason: reason})
		return err
	})
	return out.GetStream(), err
}
