package raftfsm

import (
	"encoding/binary"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

var errPipelineClosed = errors.New("append pipeline closed")

func appendUint64(dst []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(dst, v) }

// appendSize returns the body length of an append.
func appendSize(r *raft.AppendEntriesRequest) int {
	n := appendFixedSize
	for _, e := range r.Entries {
		n += appendEntrySize + len(e.Data) + len(e.Extensions)
	}
	return n
}

// splitAppend yields r in parts of at most about target bytes, at least one entry each. The
// library bounds a request by its number of entries only.
func splitAppend(r *raft.AppendEntriesRequest, target int) iter.Seq[*raft.AppendEntriesRequest] {
	return func(yield func(*raft.AppendEntriesRequest) bool) {
		if appendSize(r) <= target || len(r.Entries) < 2 {
			yield(r)
			return
		}
		part, size := *r, 0
		start := 0
		for i, e := range r.Entries {
			n := appendEntrySize + len(e.Data) + len(e.Extensions)
			if i > start && size+n > target {
				part.Entries = r.Entries[start:i]
				send := part
				if !yield(&send) {
					return
				}
				last := r.Entries[i-1]
				part.PrevLogEntry, part.PrevLogTerm = last.Index, last.Term
				start, size = i, 0
			}
			size += n
		}
		part.Entries = r.Entries[start:]
		yield(&part)
	}
}

// pipeline sends appends without waiting for their answers. Its window bounds what is under way.
type pipeline struct {
	g     *groupTransport
	to    string
	done  chan raft.AppendFuture // capacity: twice the window, so that a reader never waits
	freed chan struct{}          // capacity 1: a hint that the window moved
	quit  chan struct{}
	once  sync.Once

	mu       sync.Mutex
	requests int
	bytes    int
}

// AppendEntriesPipeline implements raft.Transport.
func (g *groupTransport) AppendEntriesPipeline(id raft.ServerID, _ raft.ServerAddress) (raft.AppendPipeline, error) {
	return &pipeline{
		g: g, to: string(id), done: make(chan raft.AppendFuture, 2*pipelineRequestsMax),
		freed: make(chan struct{}, 1), quit: make(chan struct{}),
	}, nil
}

// AppendEntries implements raft.AppendPipeline. It waits while the window is full.
func (p *pipeline) AppendEntries(r *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f := &appendFuture{start: time.Now(), request: r, response: a, finished: make(chan struct{}), p: p}
	if err := p.enter(appendSize(r), f); err != nil {
		return nil, err
	}
	k, err := p.g.t.peer(p.to).lane(laneBulk, p.quit)
	if err != nil {
		p.leave(f)
		return nil, err
	}
	var parts []*raft.AppendEntriesRequest
	for part := range splitAppend(p.g.committed(r), appendPartBytes) {
		if err := p.g.fits(part); err != nil {
			p.leave(f)
			return nil, err
		}
		parts = append(parts, part)
	}
	f.left = len(parts)
	for i, part := range parts {
		h, body, data := p.g.appendFrame(part)
		s := &partReply{f: f, from: k.peerBytes}
		if _, err := k.request(h, body, data, appendUrgency(part), p.g.t.o.BulkTimeout, s); err != nil {
			if i == 0 {
				p.leave(f)
				return nil, err
			}
			f.finish(nil, err, len(parts)-i)
			break
		}
	}
	return f, nil
}

// enter waits until the window has room for n bytes.
func (p *pipeline) enter(n int, f *appendFuture) error {
	for {
		p.mu.Lock()
		full := p.requests >= pipelineRequestsMax || (p.requests > 0 && p.bytes+n > pipelineBytesMax)
		// What the library has not taken from done yet counts too, or a reader could have to wait.
		full = full || p.requests+len(p.done) >= cap(p.done)
		if !full {
			p.requests++
			p.bytes += n
			f.bytes = n
		}
		p.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-p.freed:
		case <-time.After(5 * time.Millisecond): // nothing tells when the library takes from done
		case <-p.quit:
			return errPipelineClosed
		case <-p.g.closed:
			return errPipelineClosed
		}
	}
}

// leave gives an append's room back.
func (p *pipeline) leave(f *appendFuture) {
	p.mu.Lock()
	p.requests--
	p.bytes -= f.bytes
	p.mu.Unlock()
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close implements raft.AppendPipeline. Answers that come later are dropped.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.quit) })
	return nil
}

// appendFuture is one append under way.
type appendFuture struct {
	p        *pipeline
	start    time.Time
	request  *raft.AppendEntriesRequest
	response *raft.AppendEntriesResponse
	bytes    int
	finished chan struct{}

	mu      sync.Mutex
	left    int // parts without an answer
	settled bool
	err     error
}

// partReply receives the answer of one part of an append.
type partReply struct {
	f    *appendFuture
	from []byte
}

func (s *partReply) resolve(h header, body []byte, err error) {
	var a raft.AppendEntriesResponse
	if err == nil {
		err = decodeReply(h, body, s.from, &a)
	}
	s.f.finish(&a, err, 1)
}

// finish counts the answers of n parts. The first failure is the append's outcome; else the last part's answer is.
func (f *appendFuture) finish(a *raft.AppendEntriesResponse, err error, n int) {
	f.mu.Lock()
	f.left -= n
	if !f.settled && (err != nil || !a.Success || f.left == 0) {
		f.settled = true
		f.err = err
		if err == nil {
			*f.response = *a
		}
	}
	last := f.left == 0
	f.mu.Unlock()
	if !last {
		return
	}
	close(f.finished)
	f.p.done <- f // has room: see enter
	f.p.leave(f)
}

// Error implements raft.Future.
func (f *appendFuture) Error() error {
	<-f.finished
	return f.err
}

// Start implements raft.AppendFuture.
func (f *appendFuture) Start() time.Time { return f.start }

// Request implements raft.AppendFuture.
func (f *appendFuture) Request() *raft.AppendEntriesRequest { return f.request }

// Response implements raft.AppendFuture.
func (f *appendFuture) Response() *raft.AppendEntriesResponse { return f.response }
