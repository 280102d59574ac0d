package node

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
	"github.com/levada-stream/levada/wal/record"
)

// streamsServer serves the data path.
type streamsServer struct {
	pb.UnimplementedStreamsServer
	n *Node
}

// appendWindow is how many requests of one call may wait for their results;
// the call's flow control holds back a client that sends more.
const appendWindow = 64

// Append runs one client's appends to one shard, here or, if another node
// leads the shard, by passing them on to it.
func (s *streamsServer) Append(call pb.Streams_AppendServer) error {
	first, err := call.Recv()
	if err != nil {
		return endOfCall(err)
	}
	sh, err := s.n.shardOf(first.GetStream(), first.GetShard())
	if err != nil {
		return err
	}
	if id := first.GetStreamId(); id != 0 && id != sh.StreamID {
		// Records for a stream must not go to one of that name which is gone, nor is what that one's shards say of this one's.
		return fault.New(fault.Unavailable, "this node knows stream %q by id %d, not %d: it was deleted and created again", first.GetStream(), sh.StreamID, id)
	}
	here := s.n.shards.byGroup(sh.Group)
	if here != nil && here.raft.IsLeader() {
		return s.appendHere(call, first, here)
	}
	if first.GetNoForward() {
		return s.n.notLeader(sh)
	}
	return s.appendForward(call, first, sh)
}

// endOfCall hides the end of a call that the caller closed before its first message.
func endOfCall(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// shardOf finds an open or closed shard by stream name and number.
func (n *Node) shardOf(stream string, number uint32) (*meta.Shard, error) {
	st, err := streamByName(n.metaStore.State(), stream)
	if err != nil {
		return nil, err
	}
	sh := st.Shard(number)
	if sh == nil {
		e := fault.New(fault.NotFound, "stream %q has no shard %s; `levada shard list %s` shows its shards", stream, meta.ShardID(number), stream)
		e.Field = "shard"
		return nil, e
	}
	return sh, nil
}

// notLeader names the node to go to, if one is known.
func (n *Node) notLeader(sh *meta.Shard) *fault.Error {
	e := fault.New(fault.NotLeader, "node %s does not lead %s", n.name, sh.ID())
	if leader := n.leaderOf(sh); leader != n.nodeID {
		e.LeaderNode = leader
		if node, ok := n.metaStore.State().Node(leader); ok {
			e.LeaderAddr = node.Addresses.GRPC
		}
	}
	return e
}

// slot holds the place of one request's response in the order of requests.
type slot chan *pb.AppendResponse

// appendHere enqueues each request at the replica and sends results in the
// order of the requests.
func (s *streamsServer) appendHere(call pb.Streams_AppendServer, first *pb.AppendRequest, here *shard) error {
	ctx, cancel := context.WithCancel(call.Context())
	defer cancel()
	slots := make(chan slot, appendWindow)
	sent := make(chan error, 1)
	go func() {
		sent <- sendInOrder(ctx, call, slots)
		cancel()
	}()
	var err error
	for req := first; ; {
		if len(req.GetBatch()) > 0 {
			place := make(slot, 1)
			select {
			case slots <- place:
				s.enqueue(ctx, here, req, place)
			case <-ctx.Done():
			}
		}
		if req, err = call.Recv(); err != nil || ctx.Err() != nil {
			break
		}
	}
	close(slots)
	return errors.Join(<-sent, endOfCall(err))
}

func sendInOrder(ctx context.Context, call pb.Streams_AppendServer, slots <-chan slot) error {
	for place := range slots {
		select {
		case resp := <-place:
			if err := call.Send(resp); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// enqueue checks one request and hands it to the replica, which fills the slot.
// While the replica has no room it waits, for a time: that holds back the
// client by flow control instead of sending it round in circles.
func (s *streamsServer) enqueue(ctx context.Context, here *shard, req *pb.AppendRequest, place slot) {
	id := req.GetId()
	batch, rest, err := record.Parse(req.GetBatch())
	switch {
	case err != nil:
		err = fault.InvalidField("batch", "%w", err)
	case len(rest) > 0:
		err = fault.InvalidField("batch", "the request holds %d bytes after its batch", len(rest))
	}
	if err == nil {
		err = s.n.disk.refusal()
	}
	if err == nil {
		err = here.replica.EnqueueWait(ctx, roomWaitMax, []record.Batch{batch}, func(results []partition.AppendResult, _ error) {
			place <- s.appendResponse(here, id, results[0])
		})
	}
	if err != nil {
		place <- s.refusal(here, id, err)
	}
}

// roomWaitMax is how long an append waits for room before the client is told.
const roomWaitMax = 2 * time.Second

// refusal answers a request that was not taken, or whose outcome is not known:
// that is what an error without a kind means to the client.
func (s *streamsServer) refusal(here *shard, id uint64, err error) *pb.AppendResponse {
	e := fault.As(err)
	switch {
	case e == nil:
		e = fault.New(fault.Unavailable, "%w", err)
	case e.Kind == fault.ShardClosed:
		e = s.n.withSuccessors(e, here)
	}
	return &pb.AppendResponse{Id: id, Error: faultpb.ToProto(s.n.withAddress(e))}
}

// withSuccessors adds to the refusal of a sealed shard who takes over from it.
func (n *Node) withSuccessors(e *fault.Error, here *shard) *fault.Error {
	state := n.metaStore.State()
	sh, ok := state.ShardByGroup(here.group)
	if !ok {
		return e
	}
	named := *e
	named.Successors = state.Successors(sh)
	return &named
}

func (s *streamsServer) appendResponse(here *shard, id uint64, result partition.AppendResult) *pb.AppendResponse {
	if result.Err != nil {
		return s.refusal(here, id, result.Err)
	}
	resp := &pb.AppendResponse{Id: id, Ranges: make([]*pb.AppendedRange, len(result.Ranges))}
	for i, r := range result.Ranges {
		resp.Ranges[i] = &pb.AppendedRange{Count: r.Count, FirstOrdinal: r.First, TimeMs: r.Time, Duplicate: r.Duplicate}
		if r.Elsewhere {
			resp.Ranges[i].Ancestor = &r.Shard
		}
	}
	return resp
}

// appendForward passes a call on to the shard's leader and its results back.
// It ends with the leader's error: a client resends what it has no result for.
func (s *streamsServer) appendForward(call pb.Streams_AppendServer, first *pb.AppendRequest, sh *meta.Shard) error {
	e := s.n.notLeader(sh)
	if e.LeaderAddr == "" {
		e.Kind = fault.Unavailable
		e.Message = sh.ID() + " has no leader at the moment; retry"
		return e
	}
	conn, err := s.n.peers.conn(e.LeaderAddr)
	if err != nil {
		return fault.New(fault.Unavailable, "reach the leader of %s: %w", sh.ID(), err)
	}
	ctx, cancel := context.WithCancel(call.Context())
	defer cancel()
	onward, err := pb.NewStreamsClient(conn).Append(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "reach the leader of %s: %w", sh.ID(), err)
	}
	first.NoForward = true
	go func() {
		// The error of a failed send is the one that Recv below returns.
		for req, err := first, error(nil); err == nil; req, err = call.Recv() {
			if onward.Send(req) != nil {
				return
			}
		}
		_ = onward.CloseSend()
	}()
	for {
		resp, err := onward.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return faultpb.FromStatus(err)
		}
		if err := call.Send(resp); err != nil {
			return err
		}
	}
}
