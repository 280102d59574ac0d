package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// messageMax is the largest answer that the tests take.
const messageMax = 32 << 20

// Conn returns a connection to the node's native API, one for all its lives.
func (n *Node) Conn() (*grpc.ClientConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		return n.conn, nil
	}
	conn, err := grpc.NewClient(
		"passthrough:///"+n.GRPC,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax), grpc.MaxCallSendMsgSize(messageMax)),
		// A node is back soon after a test restarted it: look often.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 250 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
	)
	n.conn = conn
	return conn, err
}

func (n *Node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		n.conn.Close() // nothing is lost with a connection of a finished test
		n.conn = nil
	}
}

// Admin returns the node's administrative API.
func (n *Node) Admin() (levadav1.AdminClient, error) {
	conn, err := n.Conn()
	if err != nil {
		return nil, err
	}
	return levadav1.NewAdminClient(conn), nil
}

// Streams returns the node's data path.
func (n *Node) Streams() (levadav1.StreamsClient, error) {
	conn, err := n.Conn()
	if err != nil {
		return nil, err
	}
	return levadav1.NewStreamsClient(conn), nil
}

// State returns the cluster as this node sees it.
func (n *Node) State(ctx context.Context) (*levadav1.GetClusterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	admin, err := n.Admin()
	if err != nil {
		return nil, err
	}
	return admin.GetCluster(ctx, &levadav1.GetClusterRequest{})
}

// State returns the cluster as the first node that answers sees it.
func (c *Cluster) State(ctx context.Context) (*levadav1.GetClusterResponse, error) {
	err := errors.New("no node is running")
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		state, e := n.State(ctx)
		if e == nil {
			return state, nil
		}
		err = e
	}
	return nil, err
}

// ByID returns the node that has this identity in state, nil if it is none of ours.
func (c *Cluster) ByID(state *levadav1.GetClusterResponse, id string) *Node {
	for _, n := range state.GetNodes() {
		if n.GetId() != id || n.GetState() == "replaced" || n.GetState() == "removed" {
			continue
		}
		for _, own := range c.Nodes {
			if own.Name == n.GetName() {
				return own
			}
		}
	}
	return nil
}

// CreateStream creates a stream through any running node and waits until its shards have leaders.
func (c *Cluster) CreateStream(ctx context.Context, name string, settings *levadav1.StreamSettings) error {
	admin, err := c.AnyAdmin()
	if err != nil {
		return err
	}
	_, err = admin.CreateStream(ctx, &levadav1.CreateStreamRequest{Name: name, Settings: settings, Wait: true})
	return err
}

// AnyAdmin returns the administrative API of a node that runs.
func (c *Cluster) AnyAdmin() (levadav1.AdminClient, error) {
	for _, n := range c.Nodes {
		if n.Running() {
			return n.Admin()
		}
	}
	return nil, errors.New("no node is running")
}

// Shards returns the partition map of a stream as node n sees it.
func (n *Node) Shards(ctx context.Context, stream string) ([]*levadav1.Shard, error) {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	admin, err := n.Admin()
	if err != nil {
		return nil, err
	}
	req := &levadav1.ListShardsRequest{Stream: stream}
	var out []*levadav1.Shard
	for {
		page, err := admin.ListShards(ctx, req)
		if err != nil {
			return nil, err
		}
		out = append(out, page.GetShards()...)
		if !page.GetMore() || len(page.GetShards()) == 0 {
			return out, nil
		}
		req.After, req.HasAfter = out[len(out)-1].GetNumber(), true
	}
}

// Bounds are what a replica says about itself when it is read.
type Bounds struct {
	First, Next, Tail uint64
}

// Visit is called for each record read, in order; the record is valid during the call only.
type Visit func(seq seqno.Number, r record.Record) error

// Read reads one shard from an ordinal on through node n and calls visit for each record. Without
// follow it ends at the tail; with follow only with the context or an error. With local it is answered from
// n's own replica. Bounds are what was last said, also when there is an error.
func (n *Node) Read(ctx context.Context, req *levadav1.ReadRequest, visit Visit) (Bounds, error) {
	var b Bounds
	streams, err := n.Streams()
	if err != nil {
		return b, err
	}
	call, err := streams.Read(ctx, req)
	if err != nil {
		return b, err
	}
	for first := true; ; first = false {
		resp, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if first {
			b.First = resp.GetFirstOrdinal()
		}
		b.Next, b.Tail = resp.GetNextOrdinal(), resp.GetTailOrdinal()
		for _, block := range resp.GetBlocks() {
			if err := visitBlock(block, req.GetShard(), visit); err != nil {
				return b, err
			}
		}
	}
}

// FromOrdinal is the position of the record with this ordinal.
func FromOrdinal(ordinal uint64) *levadav1.Position {
	return &levadav1.Position{At: &levadav1.Position_AtOrdinal{AtOrdinal: ordinal}}
}

func visitBlock(block *levadav1.Block, shard uint32, visit Visit) error {
	rest, i := block.GetPayload(), uint64(0)
	for len(rest) > 0 {
		batch, after, err := record.Parse(rest)
		if err != nil {
			return fmt.Errorf("block at ordinal %d: %w", block.GetFirstOrdinal(), err)
		}
		rest = after
		for _, r := range batch.Records() {
			if i >= uint64(block.GetSkip()) {
				if err := visit(seqno.New(block.GetTimeMs(), block.GetFirstOrdinal()+i, shard), r); err != nil {
					return err
				}
			}
			i++
		}
	}
	if i != uint64(block.GetCount()) {
		return fmt.Errorf("block at ordinal %d says %d records and holds %d", block.GetFirstOrdinal(), block.GetCount(), i)
	}
	return nil
}

// Resources returns the goroutines of the node's process, by its metrics, and its
// descriptors other than data files, by the system. The number of data files
// grows with the data.
func (n *Node) Resources(ctx context.Context) (goroutines, fds int, err error) {
	g, err := n.Metric(ctx, "go_goroutines")
	if err != nil {
		return 0, 0, err
	}
	return int(g), descriptors(n.PID(), n.Data), nil
}

// Metric returns the value of one of the node's metrics, named with its labels as /metrics shows them.
func (n *Node) Metric(ctx context.Context, name string) (float64, error) {
	page, err := n.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(page))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s: /metrics has no %s", n.Name, name)
}
