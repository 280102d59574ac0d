package client

import (
	"context"
	"crypto/rand"
	"time"

	"google.golang.org/grpc"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// pageLimit is the number of entries asked for per page.
const pageLimit = 1000

// CreateStream creates a stream, or finds the one of that name with the same
// settings; existed says which. With wait it returns once every shard has a
// leader. A stream of that name with other settings is a Conflict.
func (c *Client) CreateStream(ctx context.Context, name string, settings *levadav1.StreamSettings, wait bool) (s *levadav1.Stream, existed bool, err error) {
	limit := c.opts.tryTimeout
	if wait {
		limit = 0
	}
	var out *levadav1.CreateStreamResponse
	uncertain, err := c.unary(ctx, limit, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewAdminClient(cc).CreateStream(ctx, &levadav1.CreateStreamRequest{Name: name, Settings: settings, Wait: wait})
		return err
	})
	if err != nil {
		return nil, false, err
	}
	// After an attempt of unknown outcome the stream found may be our own work.
	return out.GetStream(), out.GetExisted() && !uncertain, nil
}

// NewStream says what a stream that CreateNewStream makes has from the beginning.
type NewStream struct {
	Settings *levadav1.StreamSettings
	// Scaling is its scaling policy, nil for none. Fields that are 0 get their defaults.
	Scaling *levadav1.Scaling
	// Documents are its documents, at least one. Versions do not matter.
	Documents []Document
}

// CreateNewStream creates a stream, all of it or nothing. Of many who create one of a name at the same time one does; for the others, and whenever there is one
// already, it is a Conflict.
func (c *Client) CreateNewStream(ctx context.Context, name string, stream NewStream) error {
	in := &levadav1.CreateStreamRequest{Name: name, Settings: stream.Settings, Id: rand.Text(), Scaling: stream.Scaling}
	for _, d := range stream.Documents {
		in.Documents = append(in.Documents, &levadav1.Document{Name: d.Name, Value: d.Value})
	}
	return c.admin(ctx, func(ctx context.Context, api levadav1.AdminClient) error {
		_, err := api.CreateStream(ctx, in)
		return err
	})
}

// StreamChange names the settings to change; nil leaves one as it is.
type StreamChange struct {
	Retention      *time.Duration
	RetentionBytes *int64
	MaxRecordBytes *uint32
}

// UpdateStream changes the settings of a stream and returns it as it is then.
func (c *Client) UpdateStream(ctx context.Context, name string, change StreamChange) (*levadav1.Stream, error) {
	in := &levadav1.UpdateStreamRequest{Name: name, RetentionBytes: change.RetentionBytes, MaxRecordBytes: change.MaxRecordBytes}
	if change.Retention != nil {
		ms := change.Retention.Milliseconds()
		in.RetentionMs = &ms
	}
	var out *levadav1.UpdateStreamResponse
	_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewAdminClient(cc).UpdateStream(ctx, in)
		return err
	})
	return out.GetStream(), err
}

// DeleteStream deletes a stream and its records. A stream that does not exist is NotFound.
func (c *Client) DeleteStream(ctx context.Context, name string) error {
	uncertain, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) error {
		_, err := levadav1.NewAdminClient(cc).DeleteStream(ctx, &levadav1.DeleteStreamRequest{Name: name})
		return err
	})
	if uncertain && IsNotFound(err) {
		return nil // the attempt without answer did it
	}
	return err
}

// RemoveNode retires a node, named by its name or id, that is gone for good,
// and returns its id. A living node is a Conflict.
func (c *Client) RemoveNode(ctx context.Context, node string) (id string, err error) {
	var out *levadav1.RemoveNodeResponse
	_, err = c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewAdminClient(cc).RemoveNode(ctx, &levadav1.RemoveNodeRequest{Node: node})
		return err
	})
	return out.GetId(), err
}

// DescribeStream returns a stream.
func (c *Client) DescribeStream(ctx context.Context, name string) (*levadav1.Stream, error) {
	var out *levadav1.DescribeStreamResponse
	_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewAdminClient(cc).DescribeStream(ctx, &levadav1.DescribeStreamRequest{Name: name})
		return err
	})
	return out.GetStream(), err
}

// ListStreams returns all streams in order of name.
func (c *Client) ListStreams(ctx context.Context) ([]*levadav1.Stream, error) {
	var all []*levadav1.Stream
	after := ""
	for {
		var out *levadav1.ListStreamsResponse
		_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
			out, err = levadav1.NewAdminClient(cc).ListStreams(ctx, &levadav1.ListStreamsRequest{After: after, Limit: pageLimit})
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, out.GetStreams()...)
		if !out.GetMore() || len(out.GetStreams()) == 0 {
			return all, nil
		}
		after = all[len(all)-1].GetName()
	}
}

// ListShards returns all shards of a stream, closed ones too, in order of number.
func (c *Client) ListShards(ctx context.Context, stream string) ([]*levadav1.Shard, error) {
	all, _, err := c.listShards(ctx, &levadav1.ListShardsRequest{Stream: stream})
	return all, err
}

// listShards pages through what a request asks for. When it changes under way the version of
// the first page counts: the next refresh then sees a newer one.
func (c *Client) listShards(ctx context.Context, in *levadav1.ListShardsRequest) (all []*levadav1.Shard, version uint64, _ error) {
	in.Limit = pageLimit
	for {
		var out *levadav1.ListShardsResponse
		_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
			out, err = levadav1.NewAdminClient(cc).ListShards(ctx, in)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		if len(all) == 0 {
			version = out.GetMapVersion()
		}
		all = append(all, out.GetShards()...)
		if !out.GetMore() || len(out.GetShards()) == 0 {
			return all, version, nil
		}
		in.HasAfter, in.After = true, all[len(all)-1].GetNumber()
	}
}

// Cluster returns the cluster as the node that answers sees it, with the last
// failovers up to the limit.
func (c *Client) Cluster(ctx context.Context, failovers uint32) (*levadav1.GetClusterResponse, error) {
	var out *levadav1.GetClusterResponse
	_, err := c.unary(ctx, c.opts.tryTimeout, func(ctx context.Context, cc *grpc.ClientConn) (err error) {
		out, err = levadav1.NewAdminClient(cc).GetCluster(ctx, &levadav1.GetClusterRequest{FailoverLimit: failovers})
		return err
	})
	return out, err
}
