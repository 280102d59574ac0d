package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// fakeCluster is a cluster in this process: real gRPC over in-memory pipes, and
// one shared state in the place of replication. Its shards follow the rules of
// the API: a producer's batch is taken once and only in order, and a late copy
// of a batch is judged when it arrives. Faults are injected by a plan.
type fakeCluster struct {
	// dialing is held while a connection is made. bufconn starts timers that are due already, and a synctest bubble
	// runs those where they are started: two at a time share what the race detector keeps of the bubble's timers, and crash it.
	dialing chan struct{}

	t testing.TB

	mu      sync.Mutex
	closed  bool // nodes that are down stay so
	nodes   []*fakeNode
	streams map[string]*fakeStream
	made    uint64 // streams ever
	plan    func(f *fakeCluster, n *fakeNode, sh *fakeShard, b record.Batch) fate
	opens   func(n *fakeNode) error // fails an append call as a whole
	late    sync.WaitGroup          // copies of batches still under way
	clock   int64                   // time of the last append
	maps    int                     // ListShards calls
	version uint64
	reads   func(n *fakeNode, sh *fakeShard, sent int) error // breaks a read call

	// mapTrouble says how long a call for the map takes, and whether it fails then.
	mapTrouble func() (time.Duration, error)
}

// fate is what happens to one append request.
type fate struct {
	apply  bool          // the batch reaches the state machine now
	late   time.Duration // > 0: a copy reaches it then
	delay  time.Duration // before anything is answered
	answer *fault.Error  // in the response's stead
	die    bool          // the call breaks in the response's stead
	hang   bool          // the call goes on without a response
	kill   bool          // all connections of the node break
}

type fakeNode struct {
	levadav1.UnimplementedStreamsServer
	levadav1.UnimplementedAdminServer
	f       *fakeCluster
	addr    string
	server  *grpc.Server
	lis     *bufconn.Listener
	down    bool
	appends int // append calls opened
	tails   map[uint32]uint64
}

type fakeStream struct {
	name     string
	id       uint64
	settings *levadav1.StreamSettings
	shards   []*fakeShard
	salted   []*levadav1.SaltedKey
}

type fakeShard struct {
	number    uint32
	keys      hashkey.Range
	leader    int  // index of the node, -1 for none
	pending   bool // has not taken over from its parents yet
	sealed    bool // takes no records, though the map may say that it is open
	closed    bool // sealed, and the map says so
	open      bool // the map says that it owns its keys, or did
	parents   []uint32
	children  []uint32
	blocks    []*levadav1.Block
	next      uint64
	first     uint64
	producers map[record.ProducerID]*fakeProducer
	changed   chan struct{} // closed and replaced at each append
	refuse    map[string]bool
}

type fakeProducer struct {
	highest uint64
	ranges  map[uint64]*levadav1.AppendedRange // by first sequence
}

func newFake(t testing.TB, nodes int) *fakeCluster {
	f := &fakeCluster{dialing: make(chan struct{}, 1), t: t, streams: map[string]*fakeStream{}, clock: 1_700_000_000_000, version: 1}
	for i := range nodes {
		n := &fakeNode{f: f, addr: fmt.Sprintf("node%d:1", i), tails: map[uint32]uint64{}}
		n.up()
		f.nodes = append(f.nodes, n)
	}
	return f
}

func (n *fakeNode) up() {
	lis := bufconn.Listen(256 << 10)
	// Stop waits for the handlers: after it nothing changes the shards any more.
	server := grpc.NewServer(grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax), grpc.WaitForHandlers(true))
	levadav1.RegisterStreamsServer(server, n)
	levadav1.RegisterAdminServer(server, n)
	go func() { _ = server.Serve(lis) }()
	n.lis, n.server, n.down = lis, server, false
}

// close returns when nothing touches the shared state any more: first no
// handler runs, and none starts; then no copy of a batch is under way.
func (f *fakeCluster) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for _, n := range f.nodes {
		n.stop()
	}
	f.late.Wait()
}

// stop breaks all connections of a node, waits for its handlers and reports
// whether it was up.
func (n *fakeNode) stop() bool {
	n.f.mu.Lock()
	server, down := n.server, n.down
	n.down = true
	n.f.mu.Unlock()
	if !down {
		server.Stop()
	}
	return !down
}

// restart breaks all connections of a node and takes new ones.
func (f *fakeCluster) restart(n *fakeNode) {
	if !n.stop() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		n.up()
	}
}

func (f *fakeCluster) dial(ctx context.Context, address string) (net.Conn, error) {
	f.mu.Lock()
	var lis *bufconn.Listener
	for _, n := range f.nodes {
		if n.addr == address && !n.down {
			lis = n.lis
		}
	}
	f.mu.Unlock()
	if lis == nil {
		return nil, fmt.Errorf("connection to %s refused", address)
	}
	f.dialing <- struct{}{}
	defer func() { <-f.dialing }()
	return lis.DialContext(ctx)
}

func (f *fakeCluster) client(opts ...Option) *Client {
	f.t.Helper()
	var addrs []string
	for _, n := range f.nodes {
		addrs = append(addrs, n.addr)
	}
	c, err := Dial(context.Background(), addrs, append([]Option{WithDialer(f.dial)}, opts...)...)
	if err != nil {
		f.t.Fatalf("dial: %v", err)
	}
	return c
}

func (f *fakeCluster) create(name string, shards int) *fakeStream {
	f.made++
	s := &fakeStream{name: name, id: f.made, settings: &levadav1.StreamSettings{Shards: uint32(shards)}}
	for i, keys := range hashkey.SplitEven(shards) {
		s.shards = append(s.shards, newFakeShard(uint32(i), keys, i%len(f.nodes)))
		s.shards[i].open = true
	}
	f.mu.Lock()
	f.streams[name] = s
	f.mu.Unlock()
	return s
}

func newFakeShard(number uint32, keys hashkey.Range, leader int) *fakeShard {
	return &fakeShard{
		number: number, keys: keys, leader: leader, producers: map[record.ProducerID]*fakeProducer{}, changed: make(chan struct{}),
		refuse: map[string]bool{},
	}
}

func (f *fakeCluster) shard(stream string, number uint32) (*fakeShard, *fault.Error) {
	s := f.streams[stream]
	if s == nil {
		return nil, fault.New(fault.NotFound, "no stream %s", stream)
	}
	for _, sh := range s.shards {
		if sh.number == number {
			return sh, nil
		}
	}
	return nil, fault.New(fault.NotFound, "stream %s has no shard %d", stream, number)
}

// reshard replaces neighbours, one to split or two to merge, by shards with the ranges given, in the phases of a real
// one; between them it waits for as long as pause says.
func (f *fakeCluster) reshard(s *fakeStream, parents []*fakeShard, keys []hashkey.Range, pause func()) {
	f.mu.Lock()
	var numbers, born []uint32
	for _, p := range parents {
		numbers = append(numbers, p.number)
	}
	var children []*fakeShard
	for i, r := range keys {
		child := newFakeShard(uint32(len(s.shards)), r, i%len(f.nodes))
		child.pending, child.parents = true, numbers
		s.shards = append(s.shards, child)
		children, born = append(children, child), append(born, child.number)
	}
	f.version++
	f.mu.Unlock()
	for _, p := range parents {
		pause()
		f.mu.Lock()
		p.sealed, p.children = true, born
		f.mu.Unlock()
	}
	pause()
	f.mu.Lock()
	for _, c := range children {
		c.pending = false
	}
	f.mu.Unlock()
	pause()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range parents {
		p.closed = true
		close(p.changed)
		p.changed = make(chan struct{})
	}
	for _, c := range children {
		c.open = true
	}
	f.version++
}

// open returns the shards that own keys, in order of these.
func (s *fakeStream) open() (all []*fakeShard) {
	for _, sh := range s.shards {
		if sh.open && !sh.closed {
			all = append(all, sh)
		}
	}
	slices.SortFunc(all, func(a, b *fakeShard) int { return a.keys.Start.Compare(b.keys.Start) })
	return all
}

// apply is the state machine: what the rules of the API say about a batch.
func (f *fakeCluster) apply(sh *fakeShard, b record.Batch) (*levadav1.AppendedRange, *fault.Error) {
	first, count := b.FirstSequence(), uint64(b.Count())
	p := sh.producers[b.Producer()]
	if !b.Producer().IsZero() {
		switch {
		case b.Producer().Repeatable() && p == nil:
			p = &fakeProducer{ranges: map[uint64]*levadav1.AppendedRange{}}
		case b.Producer().Repeatable() && p.ranges[first] == nil: // there is nothing to continue
		case p == nil && first != 1:
			return nil, fault.New(fault.StaleProducer, "unknown producer, sequence %d", first)
		case p == nil:
			p = &fakeProducer{ranges: map[uint64]*levadav1.AppendedRange{}}
		case first+count-1 <= p.highest:
			r := p.ranges[first]
			if r == nil || uint64(r.GetCount()) != count {
				f.t.Errorf("batch at %d was sent with other bounds before", first)
				return nil, fault.New(fault.StaleProducer, "bounds")
			}
			return &levadav1.AppendedRange{Count: r.GetCount(), FirstOrdinal: r.GetFirstOrdinal(), TimeMs: r.GetTimeMs(), Duplicate: true}, nil
		case first != p.highest+1:
			return nil, fault.New(fault.StaleProducer, "sequence %d after %d", first, p.highest)
		}
	}
	if sh.pending {
		return nil, fault.New(fault.Throttled, "not open yet")
	}
	if sh.closed || sh.sealed {
		return nil, &fault.Error{Kind: fault.ShardClosed, Message: "closed", Successors: sh.children}
	}
	for _, r := range b.Records() {
		if sh.refuse[string(r.Key)] {
			return nil, fault.InvalidField("data", "the service dislikes key %s", r.Key)
		}
		if !b.Pinned() && !sh.keys.Contains(r.HashKey()) {
			return nil, fault.New(fault.Invalid, "key outside the shard's range")
		}
	}
	f.clock++
	r := &levadav1.AppendedRange{Count: uint32(count), FirstOrdinal: sh.next, TimeMs: f.clock}
	sh.blocks = append(sh.blocks, &levadav1.Block{FirstOrdinal: sh.next, Count: uint32(count), TimeMs: f.clock, Payload: slices.Clone(b)})
	sh.next += count
	if p != nil {
		p.highest = max(p.highest, first+count-1)
		p.ranges[first] = r
		sh.producers[b.Producer()] = p
	}
	close(sh.changed)
	sh.changed = make(chan struct{})
	return r, nil
}

// Append serves the producers.
func (n *fakeNode) Append(stream grpc.BidiStreamingServer[levadav1.AppendRequest, levadav1.AppendResponse]) error {
	f := n.f
	var sh *fakeShard
	noForward := false
	f.mu.Lock()
	n.appends++
	opens := f.opens
	f.mu.Unlock()
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil
		}
		if opens != nil {
			if err := opens(n); err != nil {
				return faultpb.Status(err)
			}
		}
		f.mu.Lock()
		if sh == nil {
			var e *fault.Error
			if sh, e = f.shard(m.GetStream(), m.GetShard()); e != nil {
				f.mu.Unlock()
				return faultpb.Status(e)
			}
			if m.GetStreamId() != f.streams[m.GetStream()].id {
				f.mu.Unlock()
				return faultpb.Status(fault.New(fault.Unavailable, "another stream has the name"))
			}
			noForward = m.GetNoForward()
		}
		f.mu.Unlock()
		resp, err := n.append(stream.Context(), sh, m, noForward)
		if err != nil {
			return err
		}
		if resp != nil {
			if err := stream.Send(resp); err != nil {
				return nil
			}
		}
	}
}

func (n *fakeNode) append(ctx context.Context, sh *fakeShard, m *levadav1.AppendRequest, noForward bool) (*levadav1.AppendResponse, error) {
	f := n.f
	b, rest, err := record.Parse(m.GetBatch())
	if err != nil || len(rest) != 0 {
		f.t.Errorf("a batch arrived damaged: %v", err)
		return nil, faultpb.Status(fault.New(fault.Corrupt, "damaged"))
	}
	f.mu.Lock()
	ft := fate{apply: true}
	if f.plan != nil {
		ft = f.plan(f, n, sh, b)
	}
	f.mu.Unlock()
	if ft.delay > 0 {
		sleep(ctx, ft.delay)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	resp := &levadav1.AppendResponse{Id: m.GetId()}
	if leads := sh.leader >= 0 && f.nodes[sh.leader] == n; !leads && ft.answer == nil && (noForward || sh.leader < 0) {
		ft.apply = false
		ft.answer = &fault.Error{Kind: fault.NotLeader, Message: "not the leader"}
		if sh.leader >= 0 {
			ft.answer.LeaderAddr = f.nodes[sh.leader].addr
		}
	}
	if ft.apply {
		r, e := f.apply(sh, b)
		if e != nil {
			resp.Error = faultpb.ToProto(e)
		} else {
			resp.Ranges = []*levadav1.AppendedRange{r}
		}
		if e != nil && e.Kind == fault.Throttled {
			ft.late = 0 // it says that nothing was done, and nothing will be
		}
	}
	if ft.late > 0 {
		f.late.Add(1)
		go func() {
			defer f.late.Done()
			sleep(context.Background(), ft.late)
			f.mu.Lock()
			defer f.mu.Unlock()
			_, _ = f.apply(sh, b)
		}()
	}
	switch {
	case ft.kill:
		f.late.Add(1)
		go func() {
			defer f.late.Done()
			f.restart(n)
		}()
		return nil, faultpb.Status(fault.New(fault.Unavailable, "killed"))
	case ft.die:
		return nil, faultpb.Status(fault.New(fault.Unavailable, "broken"))
	case ft.hang:
		return nil, nil
	case ft.answer != nil:
		return &levadav1.AppendResponse{Id: m.GetId(), Error: faultpb.ToProto(ft.answer)}, nil
	}
	return resp, nil
}

// GetCluster answers Dial.
func (n *fakeNode) GetCluster(context.Context, *levadav1.GetClusterRequest) (*levadav1.GetClusterResponse, error) {
	return &levadav1.GetClusterResponse{ClusterId: "fake", Healthy: true}, nil
}

// DescribeStream answers from the shared state.
func (n *fakeNode) DescribeStream(ctx context.Context, in *levadav1.DescribeStreamRequest) (*levadav1.DescribeStreamResponse, error) {
	n.f.mu.Lock()
	if trouble := n.f.mapTrouble; trouble != nil {
		delay, err := trouble()
		n.f.mu.Unlock()
		sleep(ctx, delay)
		if err != nil {
			return nil, faultpb.Status(err)
		}
		n.f.mu.Lock()
	}
	defer n.f.mu.Unlock()
	s := n.f.streams[in.GetName()]
	if s == nil {
		return nil, faultpb.Status(fault.New(fault.NotFound, "no stream %s", in.GetName()))
	}
	return &levadav1.DescribeStreamResponse{Stream: &levadav1.Stream{Name: s.name, Id: s.id, Settings: s.settings, State: "active", SaltedKeys: s.salted}}, nil
}

// ListShards answers pages of two, so that paging is always in play.
func (n *fakeNode) ListShards(_ context.Context, in *levadav1.ListShardsRequest) (*levadav1.ListShardsResponse, error) {
	f := n.f
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[in.GetStream()]
	if s == nil {
		return nil, faultpb.Status(fault.New(fault.NotFound, "no stream %s", in.GetStream()))
	}
	f.maps++
	out := &levadav1.ListShardsResponse{MapVersion: f.version}
	for _, sh := range s.shards {
		if in.GetHasAfter() && sh.number <= in.GetAfter() {
			continue
		}
		if len(out.Shards) == 2 {
			out.More = true
			break
		}
		p := &levadav1.Shard{
			Number: sh.number, HashStart: sh.keys.Start.String(), HashEnd: sh.keys.End.String(), State: "open", Parents: sh.parents, Children: sh.children,
		}
		if sh.closed {
			p.State = "closed"
		} else if !sh.open {
			p.State = "pending"
		}
		if sh.leader >= 0 {
			p.LeaderAddress = f.nodes[sh.leader].addr
		}
		for _, o := range f.nodes {
			p.Replicas = append(p.Replicas, &levadav1.Replica{Address: o.addr})
		}
		out.Shards = append(out.Shards, p)
	}
	return out, nil
}

// seeded returns a random source for a seed. It is not for concurrent use.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x1e7ada)) }
