package client

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// Client is a connection to a cluster. Create it with Dial, end it with Close.
type Client struct {
	log   hclog.Logger
	opts  options
	conns *connections
	maps  *mapCache

	mu     sync.Mutex
	shared map[string]*Producer // per stream, behind Put
	all    map[*Producer]struct{}
	closed bool
}

// Dial returns a client of the cluster that the endpoints (host:port of the
// native API; any node will do) belong to. It returns once a node has
// answered, or with the last error when ctx ends or the call timeout passes.
func Dial(ctx context.Context, endpoints []string, opts ...Option) (*Client, error) {
	var list []string
	for _, e := range endpoints {
		if e = strings.TrimSpace(e); e != "" && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil, &Error{Kind: Invalid, Field: "endpoints", Message: "no endpoint given: name at least one node as host:port"}
	}
	o := newOptions(opts)
	c := &Client{
		log: o.logger, opts: o,
		conns:  newConnections(list, o.dialOptions()),
		shared: map[string]*Producer{}, all: map[*Producer]struct{}{},
	}
	c.maps = newMapCache(c.fetchMap, o.mapAge)
	if _, err := c.Cluster(ctx, 0); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends everything: producers (what they have not had acknowledged fails;
// close them first to flush), readers and connections. It is idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	all := make([]*Producer, 0, len(c.all))
	for p := range c.all {
		all = append(all, p)
	}
	c.mu.Unlock()
	for _, p := range all {
		p.abort()
	}
	c.maps.close()
	c.conns.close()
	return nil
}

// Put writes one record and waits until it is stored, through a producer that
// all Put calls on the stream share. Concurrent calls are batched together. The
// Result's error is also the error returned.
func (c *Client) Put(ctx context.Context, stream string, r Record) (Result, error) {
	p, err := c.sharedProducer(stream)
	if err != nil {
		return Result{Err: err}, err
	}
	pending, err := p.Put(ctx, r)
	if err != nil {
		return Result{Err: err}, err
	}
	return pending.Wait(ctx)
}

func (c *Client) sharedProducer(stream string) (*Producer, error) {
	c.mu.Lock()
	p := c.shared[stream]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	made, err := c.Producer(stream, ProducerOptions{})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if p = c.shared[stream]; p == nil {
		p, c.shared[stream] = made, made
	}
	c.mu.Unlock()
	if p != made {
		made.abort() // lost the race; it has had no record
	}
	return p, nil
}

// enlist makes p end with the client.
func (c *Client) enlist(p *Producer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return closedError("client")
	}
	c.all[p] = struct{}{}
	return nil
}

func (c *Client) delist(p *Producer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, p)
}

// fetchMap asks the cluster for a stream's map. It names every node that it
// learns of, so that any of them can answer the next call.
func (c *Client) fetchMap(ctx context.Context, stream string) (*partitionMap, error) {
	begun := time.Now()
	for try := 1; ; try++ {
		started := time.Now() // what changes under way may be missing in the answers
		info, err := c.DescribeStream(ctx, stream)
		if err != nil {
			return nil, err
		}
		shards, version, err := c.listShards(ctx, &levadav1.ListShardsRequest{Stream: stream})
		if err != nil {
			return nil, err
		}
		m, err := newPartitionMap(info, shards, version, started)
		if err != nil {
			return nil, err
		}
		if m.tiles() {
			c.conns.learn(m.addresses())
			return m, nil
		}
		// Shards split or merged between two pages.
		if time.Since(begun) > mapPatience || !sleep(ctx, mapPauseMin) {
			return nil, newError(Unavailable, "the map of stream %s changed each of the %d times that it was read", stream, try)
		}
	}
}

// mapPatience is how long a map is read anew whose pages do not fit each other.
const mapPatience = 10 * time.Second

func (c *Client) streams(address string) (levadav1.StreamsClient, error) {
	cc, err := c.conns.get(address)
	if err != nil {
		return nil, err
	}
	return levadav1.NewStreamsClient(cc), nil
}
