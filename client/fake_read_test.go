package client

import (
	"time"

	"google.golang.org/grpc"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/seqno"
)

// lagging cuts what node n shows of a shard, as a replica that is behind does.
func (n *fakeNode) lagging(sh *fakeShard) uint64 {
	if t, ok := n.tails[sh.number]; ok {
		return min(t, sh.next)
	}
	return sh.next
}

func (n *fakeNode) resolve(sh *fakeShard, p *levadav1.Position) (uint64, error) {
	switch at := p.GetAt().(type) {
	case *levadav1.Position_Latest:
		return n.lagging(sh), nil
	case *levadav1.Position_AtOrdinal:
		return at.AtOrdinal, nil
	case *levadav1.Position_AtSequence:
		s, err := seqno.Parse(at.AtSequence)
		if err != nil {
			return 0, fault.InvalidField("position", "%v", err)
		}
		return s.Ordinal(), nil
	case *levadav1.Position_AfterSequence:
		s, err := seqno.Parse(at.AfterSequence)
		if err != nil {
			return 0, fault.InvalidField("position", "%v", err)
		}
		return s.Ordinal() + 1, nil
	case *levadav1.Position_AtTimeMs:
		for _, b := range sh.blocks {
			if b.GetTimeMs() >= at.AtTimeMs {
				return b.GetFirstOrdinal(), nil
			}
		}
		return sh.next, nil
	}
	return sh.first, nil
}

// Read serves the readers.
func (n *fakeNode) Read(in *levadav1.ReadRequest, stream grpc.ServerStreamingServer[levadav1.ReadResponse]) error {
	f := n.f
	f.mu.Lock()
	sh, e := f.shard(in.GetStream(), in.GetShard())
	if e != nil {
		f.mu.Unlock()
		return faultpb.Status(e)
	}
	next, err := n.resolve(sh, in.GetFrom())
	f.mu.Unlock()
	if err != nil {
		return faultpb.Status(err)
	}
	for sent := 0; ; sent++ {
		f.mu.Lock()
		if f.reads != nil {
			if err := f.reads(n, sh, sent); err != nil {
				f.mu.Unlock()
				return faultpb.Status(err)
			}
		}
		m, changed := n.page(sh, next), sh.changed
		if sent == 0 {
			m.FirstOrdinal = sh.first
		}
		f.mu.Unlock()
		next = max(next, m.GetNextOrdinal())
		if err := stream.Send(m); err != nil {
			return nil
		}
		switch {
		case m.GetEndOfShard():
			return nil
		case len(m.GetBlocks()) > 0:
			continue
		case !in.GetFollow():
			return nil
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Second): // a sign of life
		case <-stream.Context().Done():
			return nil
		}
	}
}

// page returns up to three blocks from next on.
func (n *fakeNode) page(sh *fakeShard, next uint64) *levadav1.ReadResponse {
	tail := n.lagging(sh)
	start := max(next, sh.first)
	m := &levadav1.ReadResponse{NextOrdinal: max(next, sh.first), TailOrdinal: tail}
	for _, b := range sh.blocks {
		end := b.GetFirstOrdinal() + uint64(b.GetCount())
		if end <= start || len(m.Blocks) == 3 || end > tail {
			continue
		}
		out := &levadav1.Block{FirstOrdinal: b.GetFirstOrdinal(), Count: b.GetCount(), TimeMs: b.GetTimeMs(), Payload: b.GetPayload()}
		if start > b.GetFirstOrdinal() {
			out.Skip = uint32(start - b.GetFirstOrdinal())
		}
		m.Blocks = append(m.Blocks, out)
		m.NextOrdinal, start = end, end
	}
	if m.NextOrdinal < tail {
		m.MillisBehind = 7
	}
	if (sh.closed || sh.sealed) && m.NextOrdinal >= sh.next {
		m.EndOfShard, m.Children = true, sh.children
	}
	return m
}
