package raftfsm

import (
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// inbound is one request waiting for its group.
type inbound struct {
	link    *link
	header  header
	command any
	reader  io.Reader // snapshots only
	bytes   int
	done    func(raft.RPCResponse) // instead of answering on link; snapshots only
}

// inbox queues a group's requests in order of arrival. A goroutine works it off while there are
// any, so that an idle group costs none and a slow one never blocks a connection.
type inbox struct {
	g   *groupTransport
	max int

	mu      sync.Mutex
	items   []inbound
	bytes   int
	running bool
}

const (
	// inboundOverhead and entryOverhead are what a queued request takes in memory beside its bytes.
	inboundOverhead = 512
	entryOverhead   = 112
)

// push queues a request. It reports false if the group or the node has too much queued, or the group has ended.
func (b *inbox) push(in inbound) bool {
	t := b.g.t
	in.bytes += inboundOverhead
	if r, ok := in.command.(*raft.AppendEntriesRequest); ok {
		in.bytes += entryOverhead * len(r.Entries)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.g.ended() || (b.bytes > 0 && b.bytes+in.bytes > b.max) || t.inboundBytes.Load()+int64(in.bytes) > t.o.InboundBytes {
		return false
	}
	if !b.running && !t.start(b.work) {
		return false
	}
	b.running = true
	b.items = append(b.items, in)
	b.bytes += in.bytes
	t.inboundBytes.Add(int64(in.bytes))
	return true
}

// work hands requests to the library one at a time, as it wants them.
func (b *inbox) work() {
	for {
		b.mu.Lock()
		if len(b.items) == 0 {
			b.running = false
			b.items = nil
			b.mu.Unlock()
			return
		}
		in := b.items[0]
		b.items[0] = inbound{}
		b.items = b.items[1:]
		b.mu.Unlock()

		answer := b.g.deliver(in)
		b.mu.Lock()
		b.bytes -= in.bytes
		b.mu.Unlock()
		b.g.t.inboundBytes.Add(-int64(in.bytes))
		if in.done != nil {
			in.done(answer)
			continue
		}
		var scratch [64]byte
		h := in.header
		var body []byte
		h.kind, body = encodeReply(scratch[:0], answer)
		_ = in.link.send(h, body, nil, atOnce) // a lost connection ends the request at the other side too
	}
}
