package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/levada-stream/levada/api/faultpb"
	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/wal"
)

const (
	// readBytesDefault and readBytesMax bound one message to a reader.
	readBytesDefault = 1 << 20
	readBytesMax     = 4 << 20
	// signOfLife is how often an idle follower of a shard hears from it.
	signOfLife = 5 * time.Second
	// readWaitMax is the longest a GetRecords may wait.
	readWaitMax = 60 * time.Second
)

// Read pushes a shard's records until the tail or, following, until the caller leaves.
func (s *streamsServer) Read(req *pb.ReadRequest, call pb.Streams_ReadServer) error {
	sh, here, err := s.n.readable(req.GetStream(), req.GetShard(), req.GetLocalOnly() || req.GetNoForward())
	if err != nil {
		return err
	}
	if here == nil {
		return s.readForward(req, call, sh)
	}
	if !req.GetFollow() && !req.GetLocalOnly() {
		if err := s.n.complete(call.Context(), here); err != nil {
			return err
		}
	}
	from, err := here.resolve(req.GetFrom(), sh)
	if err != nil {
		return err
	}
	r := reader{n: s.n, shard: here, meta: sh, next: from, most: readBytes(req.GetMaxBytes())}
	firstOrdinal := here.replica.First()
	out := outbox{call: call, budget: s.n.readBudget, stall: readStallMax}
	defer out.close()
	idle := false
	for ctx := call.Context(); ; {
		if leader, _ := here.raft.Leader(); idle && leader == "" && !req.GetLocalOnly() {
			return fault.New(fault.Unavailable, "this replica of %s has lost its leader; go on at another", sh.ID())
		}
		if s.n.shards.byGroup(sh.Group) != here {
			return fault.New(fault.Unavailable, "this node no longer serves %s; go on at another", sh.ID())
		}
		// What waits at the tail needs no room yet; it is counted when it comes.
		if r.next < here.replica.Tail() {
			if err := out.reserve(ctx, int64(r.most)); err != nil {
				return err
			}
		}
		resp, err := r.page(ctx, req.GetFollow(), signOfLife)
		if err != nil {
			return err
		}
		idle = len(resp.Blocks) == 0
		resp.FirstOrdinal, firstOrdinal = firstOrdinal, 0
		done := resp.EndOfShard || (!req.GetFollow() && resp.NextOrdinal >= resp.TailOrdinal)
		if err := out.send(resp); err != nil || done {
			return err
		}
	}
}

// GetRecords answers one page.
func (s *streamsServer) GetRecords(ctx context.Context, req *pb.GetRecordsRequest) (*pb.ReadResponse, error) {
	sh, here, err := s.n.readable(req.GetStream(), req.GetShard(), req.GetLocalOnly() || req.GetNoForward())
	if err != nil {
		return nil, err
	}
	if here == nil {
		conn, err := s.n.replicaConn(sh)
		if err != nil {
			return nil, err
		}
		req.NoForward = true
		resp, err := pb.NewStreamsClient(conn).GetRecords(ctx, req)
		if err != nil {
			return nil, faultpb.FromStatus(err)
		}
		return resp, nil
	}
	if !req.GetLocalOnly() {
		if err := s.n.complete(ctx, here); err != nil {
			return nil, err
		}
	}
	from, err := here.resolve(req.GetFrom(), sh)
	if err != nil {
		return nil, err
	}
	r := reader{n: s.n, shard: here, meta: sh, next: from, most: readBytes(req.GetMaxBytes())}
	wait := min(time.Duration(req.GetWaitMs())*time.Millisecond, readWaitMax)
	resp, err := r.page(ctx, wait > 0, wait)
	if err == nil {
		resp.FirstOrdinal = here.replica.First()
	}
	return resp, err
}

// leads reports whether this replica leads and has all that was acknowledged.
func (s *shard) leads() bool {
	_, term := s.raft.Leader()
	return s.raft.IsLeader() && s.settled.Load() == term
}

const (
	// completeTimeout bounds how long a read waits for its replica to catch up.
	completeTimeout = 5 * time.Second
	completePoll    = 5 * time.Millisecond
	// applyPoll is how often a leader looks whether it has applied what is committed.
	applyPoll = time.Millisecond
)

// end returns where the shard ends and whether it is closed there, no earlier than any replica had it before the call.
// Only its leader can tell.
func (s *shard) end(ctx context.Context) (next uint64, closed, ok bool) {
	if !s.leads() {
		return 0, false, false
	}
	// A leader that was paused or cut off does not know yet that another one has gone on. If this one lost
	// the lead meanwhile and has it again, it must have settled again.
	index, err := s.raft.ReadIndex()
	if err != nil || !s.leads() {
		return 0, false, false
	}
	for s.raft.AppliedIndex() < index {
		select {
		case <-time.After(applyPoll):
		case <-ctx.Done():
			return 0, false, false
		}
	}
	next, closed = s.replica.End()
	return next, closed, true
}

// complete returns once this replica has every record that was acknowledged, or read from any replica, before the
// call, and knows that the shard is closed if any did: a reader that asks where the end is must not miss its own
// writes, nor what it was told before, because a follower, or a leader just elected, has not applied them yet.
func (n *Node) complete(ctx context.Context, here *shard) error {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	tick := time.NewTicker(completePoll)
	defer tick.Stop()
	var end groupStatus // Settled once it is known
	for {
		if end.Settled {
			if tail, closed := here.replica.End(); tail >= end.Next && (closed || !end.Closed) {
				return nil
			}
		} else if _, _, ok := here.end(ctx); ok {
			return nil
		} else if leader, _ := here.raft.Leader(); leader != "" && leader != n.nodeID {
			if st, err := n.groupStatusOf(ctx, leader, here.group); err == nil && st.Settled {
				end = st
				continue
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "this replica of %s cannot tell where the end is: it has no leader, or has not caught up; retry or read local only", meta.ShardID(here.number))
		}
	}
}

func readBytes(asked uint32) int {
	if asked == 0 {
		return readBytesDefault
	}
	return int(min(asked, readBytesMax))
}

// readable finds a shard and its replica here, nil if it has to be read elsewhere.
func (n *Node) readable(stream string, number uint32, hereOnly bool) (*meta.Shard, *shard, error) {
	sh, err := n.shardOf(stream, number)
	if err != nil {
		return nil, nil, err
	}
	here := n.shards.byGroup(sh.Group)
	if here == nil && hereOnly {
		return nil, nil, fault.New(fault.Unavailable, "node %s has no running replica of %s", n.name, sh.ID())
	}
	return sh, here, nil
}

// replicaConn connects to a node that has a replica of the shard, its leader if it is known.
func (n *Node) replicaConn(sh *meta.Shard) (*grpc.ClientConn, error) {
	state := n.metaStore.State()
	alive := n.aliveNodes()
	var err error = fault.New(fault.Unavailable, "no node with a replica of %s can be reached", sh.ID())
	for _, id := range slices.Concat([]string{n.leaderOf(sh)}, sh.Desired) {
		if id == n.nodeID || !alive[id] {
			continue
		}
		if node, ok := state.Node(id); ok {
			conn, dialErr := n.peers.conn(node.Addresses.GRPC)
			if dialErr == nil {
				return conn, nil
			}
			err = dialErr
		}
	}
	return nil, err
}

func (s *streamsServer) readForward(req *pb.ReadRequest, call pb.Streams_ReadServer, sh *meta.Shard) error {
	conn, err := s.n.replicaConn(sh)
	if err != nil {
		return err
	}
	req.NoForward = true
	onward, err := pb.NewStreamsClient(conn).Read(call.Context(), req)
	if err != nil {
		return faultpb.FromStatus(err)
	}
	for {
		resp, err := onward.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return faultpb.FromStatus(err)
		}
		if err := call.Send(resp); err != nil {
			return err
		}
	}
}

// resolve turns a position into an ordinal: that of the nearest record at or after it.
func (s *shard) resolve(p *pb.Position, sh *meta.Shard) (uint64, error) {
	switch at := p.GetAt().(type) {
	case nil, *pb.Position_TrimHorizon:
		return s.replica.First(), nil
	case *pb.Position_Latest:
		return s.replica.Tail(), nil
	case *pb.Position_AtOrdinal:
		return at.AtOrdinal, nil
	case *pb.Position_AtTimeMs:
		return s.replica.SeekTime(at.AtTimeMs)
	case *pb.Position_AtSequence:
		return resolveSequence("at_sequence", at.AtSequence, sh, 0)
	case *pb.Position_AfterSequence:
		return resolveSequence("after_sequence", at.AfterSequence, sh, 1)
	}
	return 0, fault.InvalidField("from", "unknown kind of position %T", p.GetAt())
}

func resolveSequence(field, text string, sh *meta.Shard, add uint64) (uint64, error) {
	seq, err := seqno.Parse(text)
	if err != nil {
		return 0, fault.InvalidField(field, "%s %q: %w", field, text, err)
	}
	if seq.Shard() != uint16(sh.Number) {
		return 0, fault.InvalidField(field, "sequence number %s is of another shard than %s", text, sh.ID())
	}
	return seq.Ordinal() + add, nil
}

// reader walks one shard.
type reader struct {
	n     *Node
	shard *shard
	meta  *meta.Shard
	next  uint64
	most  int
}

// page returns the next blocks. With wait it waits up to most for a first
// record; a page without blocks says that there is none.
func (r *reader) page(ctx context.Context, wait bool, most time.Duration) (*pb.ReadResponse, error) {
	if wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	blocks, err := r.shard.replica.Read(ctx, r.next, r.most, wait)
	var trimmed *wal.TrimmedError
	for errors.As(err, &trimmed) {
		// What is not kept any more is passed over; the caller sees the gap in the ordinals.
		r.next = max(r.next, trimmed.First, r.shard.replica.First())
		blocks, err = r.shard.replica.Read(ctx, r.next, r.most, wait)
	}
	if err != nil && !(wait && errors.Is(err, context.DeadlineExceeded)) {
		return nil, readError(err, r.meta)
	}
	resp := &pb.ReadResponse{Blocks: make([]*pb.Block, len(blocks))}
	var last int64
	for i, b := range blocks {
		skip := uint64(0)
		if r.next > b.First {
			skip = r.next - b.First
		}
		resp.Blocks[i] = &pb.Block{FirstOrdinal: b.First, Count: b.Count, TimeMs: b.Time, Payload: joined(b.Payload), Skip: uint32(skip)}
		r.next, last = b.First+uint64(b.Count), b.Time
	}
	resp.NextOrdinal = r.next
	tail, closed := r.shard.replica.End() // at once: between two questions the last record could come
	resp.TailOrdinal = max(tail, r.next)
	if resp.NextOrdinal < resp.TailOrdinal {
		resp.MillisBehind = max(0, r.n.now().UnixMilli()-last)
	}
	if closed && resp.NextOrdinal >= resp.TailOrdinal {
		if resp.EndOfShard, resp.Children = true, r.n.successors(r.meta); len(resp.Children) == 0 {
			return nil, fault.New(fault.Unavailable, "this node does not know yet who takes over from %s; go on at another", r.meta.ID())
		}
	}
	return resp, nil
}

// successors returns who takes over from a shard that was sealed.
func (n *Node) successors(sh *meta.Shard) []uint32 {
	state := n.metaStore.State()
	if now, ok := state.Shard(sh.StreamID, sh.Number); ok {
		return state.Successors(now)
	}
	return sh.Children
}

// joined returns a block's payload in one piece, without a copy where it is in one piece: nobody changes it.
func joined(parts [][]byte) []byte {
	if len(parts) == 1 {
		return parts[0]
	}
	return bytes.Join(parts, nil)
}

// readError gives the log's errors their kind.
func readError(err error, sh *meta.Shard) error {
	if fault.As(err) != nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Internal, "read %s: %w", sh.ID(), err)
}
