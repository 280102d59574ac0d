package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// fakeCluster is one server that plays a cluster of one node: it keeps streams
// and records in memory.
type fakeCluster struct {
	levadav1.UnimplementedAdminServer
	levadav1.UnimplementedStreamsServer
	address string

	mu        sync.Mutex
	streams   map[string]*levadav1.Stream
	shards    map[string][]*fakeShard
	documents map[string]*levadav1.Document // of the cluster
	version   uint64                        // of the document that was set last
	unhealthy []string                      // problems
	refuse    func(r record.Record) error   // of a batch that holds such a record
	hold      func(done <-chan struct{})    // called before each acknowledgement
}

// fakeShard is one shard: blocks as stored.
type fakeShard struct {
	blocks []*levadav1.Block
	next   uint64
}

// fakeTime is the time of every record in a fake cluster.
const fakeTime = 1_795_417_200_000

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeCluster{address: listener.Addr().String(), streams: map[string]*levadav1.Stream{}, shards: map[string][]*fakeShard{}, documents: map[string]*levadav1.Document{}}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(16<<20))
	levadav1.RegisterAdminServer(server, f)
	levadav1.RegisterStreamsServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return f
}

func notFound(name string) error {
	return faultpb.Status(fault.New(fault.NotFound, "stream %q does not exist", name))
}

func (f *fakeCluster) CreateStream(_ context.Context, in *levadav1.CreateStreamRequest) (*levadav1.CreateStreamResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.GetSettings().GetShards() > 10000 {
		return nil, faultpb.Status(fault.InvalidField("shards", "shards must be between 1 and 10000, not %d", in.GetSettings().GetShards()))
	}
	if in.GetSettings().GetShards() > 9000 {
		return nil, faultpb.Status(fault.LimitField("shard_replicas", 6000, "9001 shards need 9001 shard replicas; the nodes hold 0 of 6000 (limits.shard_replicas_max)"))
	}
	if s := f.streams[in.GetName()]; s != nil {
		return &levadav1.CreateStreamResponse{Stream: s, Existed: true}, nil
	}
	s := &levadav1.Stream{
		Name: in.GetName(), Id: uint64(len(f.streams) + 1), Settings: in.GetSettings(), State: "active",
		CreatedMs: fakeTime, OpenShards: in.GetSettings().GetShards(), Durability: "in memory",
	}
	f.streams[in.GetName()] = s
	for range in.GetSettings().GetShards() {
		f.shards[in.GetName()] = append(f.shards[in.GetName()], &fakeShard{})
	}
	return &levadav1.CreateStreamResponse{Stream: s}, nil
}

func (f *fakeCluster) DescribeStream(_ context.Context, in *levadav1.DescribeStreamRequest) (*levadav1.DescribeStreamResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[in.GetName()]
	if s == nil {
		return nil, notFound(in.GetName())
	}
	return &levadav1.DescribeStreamResponse{Stream: s}, nil
}

func (f *fakeCluster) ListStreams(context.Context, *levadav1.ListStreamsRequest) (*levadav1.ListStreamsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &levadav1.ListStreamsResponse{}
	for _, s := range f.streams {
		out.Streams = append(out.Streams, s)
	}
	return out, nil
}

func (f *fakeCluster) DeleteStream(_ context.Context, in *levadav1.DeleteStreamRequest) (*levadav1.DeleteStreamResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams[in.GetName()] == nil {
		return nil, notFound(in.GetName())
	}
	delete(f.streams, in.GetName())
	return &levadav1.DeleteStreamResponse{}, nil
}

func (f *fakeCluster) ListShards(_ context.Context, in *levadav1.ListShardsRequest) (*levadav1.ListShardsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shards := f.shards[in.GetStream()]
	if shards == nil {
		return nil, notFound(in.GetStream())
	}
	out := &levadav1.ListShardsResponse{MapVersion: 1}
	for i, r := range hashkey.SplitEven(len(shards)) {
		out.Shards = append(out.Shards, &levadav1.Shard{
			Number: uint32(i), Id: shardID(uint32(i)), Group: uint64(i + 1), HashStart: r.Start.String(), HashEnd: r.End.String(),
			State: "open", LeaderNode: "id-1", LeaderAddress: f.address,
			Replicas: []*levadav1.Replica{{Node: "id-1", NodeName: "node1", Address: f.address, Leader: true}},
		})
	}
	return out, nil
}

func (f *fakeCluster) GetCluster(context.Context, *levadav1.GetClusterRequest) (*levadav1.GetClusterResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &levadav1.GetClusterResponse{
		ClusterId: "c-1", ClusterName: "fake", MetaLeader: "id-1", Healthy: len(f.unhealthy) == 0, Problems: f.unhealthy,
		Nodes: []*levadav1.Node{{Id: "id-1", Name: "node1", State: "alive", GrpcAddress: f.address}},
	}, nil
}

func (f *fakeCluster) RemoveNode(_ context.Context, in *levadav1.RemoveNodeRequest) (*levadav1.RemoveNodeResponse, error) {
	if in.GetNode() != "node1" {
		return nil, faultpb.Status(fault.New(fault.NotFound, "there is no node %q", in.GetNode()))
	}
	return &levadav1.RemoveNodeResponse{Id: "id-1"}, nil
}

func (f *fakeCluster) Append(call levadav1.Streams_AppendServer) error {
	var stream string
	var shard uint32
	for first := true; ; first = false {
		in, err := call.Recv()
		if err != nil {
			return nil // the client hung up
		}
		if first {
			stream, shard = in.GetStream(), in.GetShard()
		}
		if len(in.GetBatch()) == 0 {
			continue
		}
		f.mu.Lock()
		hold := f.hold
		f.mu.Unlock()
		if hold != nil {
			hold(call.Context().Done())
		}
		if err := call.Send(f.store(stream, shard, in)); err != nil {
			return err
		}
	}
}

func (f *fakeCluster) store(stream string, number uint32, in *levadav1.AppendRequest) *levadav1.AppendResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	failed := func(err error) *levadav1.AppendResponse {
		return &levadav1.AppendResponse{Id: in.GetId(), Error: faultpb.ToProto(err)}
	}
	batch, _, err := record.Parse(in.GetBatch())
	if err != nil {
		return failed(fault.New(fault.Invalid, "%v", err))
	}
	if f.refuse != nil {
		for _, r := range batch.Records() {
			if err := f.refuse(r); err != nil {
				return failed(err)
			}
		}
	}
	s := f.shards[stream][number]
	s.blocks = append(s.blocks, &levadav1.Block{FirstOrdinal: s.next, Count: uint32(batch.Count()), TimeMs: fakeTime, Payload: bytes.Clone(batch)})
	out := &levadav1.AppendResponse{Id: in.GetId(), Ranges: []*levadav1.AppendedRange{{Count: uint32(batch.Count()), FirstOrdinal: s.next, TimeMs: fakeTime}}}
	s.next += uint64(batch.Count())
	return out
}

func (f *fakeCluster) Read(in *levadav1.ReadRequest, call levadav1.Streams_ReadServer) error {
	f.mu.Lock()
	shards := f.shards[in.GetStream()]
	if shards == nil || int(in.GetShard()) >= len(shards) {
		f.mu.Unlock()
		return notFound(in.GetStream())
	}
	s := shards[in.GetShard()]
	out := &levadav1.ReadResponse{Blocks: append([]*levadav1.Block{}, s.blocks...), NextOrdinal: s.next, TailOrdinal: s.next}
	f.mu.Unlock()
	return call.Send(out)
}

// outcome is how a command line ended.
type outcome struct {
	code     int
	out, err string
}

// command runs a command line against a fake cluster.
func (f *fakeCluster) command(ctx context.Context, stdin string, args ...string) outcome {
	return command(ctx, stdin, append(args, "--endpoint", f.address, "--timeout", "5s")...)
}

func command(ctx context.Context, stdin string, args ...string) outcome {
	return commandFrom(ctx, strings.NewReader(stdin), args...)
}

func commandFrom(ctx context.Context, stdin io.Reader, args ...string) outcome {
	var out, errs lockedBuffer
	code := run(ctx, args, environment{
		in: stdin, out: &out, err: &errs, lookup: func(string) (string, bool) { return "", false }, environ: func() []string { return nil },
	})
	return outcome{code, out.String(), errs.String()}
}

// lockedBuffer is a buffer that several goroutines may write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// create makes a stream in the fake cluster.
func (f *fakeCluster) create(t *testing.T, name string, shards int) {
	t.Helper()
	if o := f.command(t.Context(), "", "stream", "create", name, "--shards", fmt.Sprint(shards)); o.code != 0 {
		t.Fatalf("create: %+v", o)
	}
}

// within fails the test if f takes longer than any machine needs.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not end", what)
	}
}
