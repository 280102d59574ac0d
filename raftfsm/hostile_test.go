package raftfsm

import (
	"net"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// TestAnswersNobodyReadsEndTheConnection: a peer that asks and never reads the answers loses its
// connection, not this node its memory.
func TestAnswersNobodyReadsEndTheConnection(t *testing.T) {
	mine, theirs := net.Pipe()
	defer theirs.Close()
	k := newLink(mine, "peer", laneControl, false, 1<<20, DefaultCoalesce)
	defer k.fail(errShutdown)
	s := &session{k: k}
	refusal := fault.New(fault.NotFound, "group does not run here")
	sent := 0
	for range 1_000_000 {
		if s.refuse(header{kind: kindHeartbeat}, refusal) != nil {
			break
		}
		sent++
	}
	if k.alive() || sent*headerSize > 4<<20 {
		t.Errorf("%d answers are queued for a peer that reads nothing", sent)
	}
}

// TestSmallRequestsAreChargedWhatTheyTake: a group that takes nothing must not hold a multiple of its budget.
func TestSmallRequestsAreChargedWhatTheyTake(t *testing.T) {
	tr := memTransport(t, newMemNet(), "a")
	defer tr.Close()
	g, err := tr.join(1)
	if err != nil {
		t.Fatal(err)
	}
	defer g.leave()
	n := 0
	for range 100_000 {
		in := inbound{header: header{kind: kindHeartbeat}, command: &raft.AppendEntriesRequest{Term: 9}, bytes: headerSize + heartbeatBodySize}
		in.link = newLink(nil, "peer", laneControl, false, 1<<20, DefaultCoalesce)
		if !g.inbox.push(in) {
			break
		}
		n++
	}
	const least = 300 // bytes of a queued request and its decoded form
	if n*least > 2*tr.o.GroupBytes {
		t.Errorf("%d requests, at least %d bytes, in a budget of %d", n, n*least, tr.o.GroupBytes)
	}
	g.inbox.mu.Lock()
	g.inbox.items = nil
	g.inbox.mu.Unlock()
}
