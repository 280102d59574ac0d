package raftfsm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readBufferBytes is a connection's read buffer; larger bodies are read straight into their own memory.
	readBufferBytes = 64 << 10
	// smallBodyMax is the largest body that is copied into the send queue rather than referenced.
	smallBodyMax = 2 << 10
	// writeStall is how long one gathered write may take before the connection counts as dead.
	writeStall = 30 * time.Second
	// bodyStall is how long a body may take once its header came.
	bodyStall = 30 * time.Second
)

// errUnread ends a connection whose other end does not read what it is sent.
var errUnread = errors.New("the peer does not read its answers")

// errLinkClosed is wrapped by every failure of a request whose connection ended.
var errLinkClosed = errors.New("connection closed")

// urgency says when a queued frame is written.
type urgency uint8

const (
	atOnce    urgency = iota
	coalesced         // within the coalescing window, with whatever else is queued by then
	corked            // when the reader has handled everything it received
)

// reply receives the end of one request, exactly once: a response or an error. It is called
// from the connection's reader and must not block; body is valid during the call only,
// except a call reply's, which belongs to the receiver.
type reply interface {
	resolve(h header, body []byte, err error)
}

// waiting is a request that has no response yet.
type waiting struct {
	reply    reply
	sent     time.Time
	deadline time.Time
}

// link is one connection: a writer goroutine that gathers what is queued, and a reader that
// runs in the goroutine of whoever serves it. Frames keep their order.
type link struct {
	// immutable
	conn      net.Conn
	peer      string // id of the node at the other end
	peerBytes []byte // the same, shared by every decoded request
	lane      lane
	outbound  bool
	queueMax  int // bytes
	window    time.Duration
	closed    chan struct{}
	wake      chan struct{} // capacity 1: a pending wake-up is enough
	received  atomic.Int64  // unix ns of the last batch of bytes

	mu      sync.Mutex
	room    sync.Cond          // on mu: bytes left the queue, or the link failed
	tail    []byte             // small frames at the end of the queue
	queue   [][]byte           // what goes out before tail
	bytes   int                // queued or being written
	next    uint64             // last request id given
	pending map[uint64]waiting // nil once failed
	err     error              // set once, when closed
	flusher *time.Timer        // wakes the writer for coalesced frames
	armed   bool               // flusher is running
}

func newLink(conn net.Conn, peer string, l lane, outbound bool, queueMax int, window time.Duration) *link {
	k := &link{
		conn: conn, peer: peer, peerBytes: []byte(peer), lane: l, outbound: outbound, queueMax: queueMax, window: window,
		closed: make(chan struct{}), wake: make(chan struct{}, 1), pending: map[uint64]waiting{},
	}
	k.room.L = &k.mu
	k.received.Store(time.Now().UnixNano())
	return k
}

// request queues a request and registers who gets its response. It waits for room in the
// queue if data is large. On an error reply is never called.
func (k *link) request(h header, body []byte, data [][]byte, u urgency, timeout time.Duration, r reply) (uint64, error) {
	k.prepare(&h, body, data)
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.waitRoom(int(h.length)); err != nil {
		return 0, err
	}
	k.next++
	h.request = k.next
	k.pending[h.request] = waiting{reply: r, sent: now, deadline: now.Add(timeout)}
	k.push(h, body, data, u)
	return h.request, nil
}

// send queues a frame that wants no response, or is one. Small frames do not wait for room; where
// twice the queue has gathered the other end asks without reading, and the connection ends.
func (k *link) send(h header, body []byte, data [][]byte, u urgency) error {
	k.prepare(&h, body, data)
	k.mu.Lock()
	if int(h.length) <= smallBodyMax && k.bytes > 2*k.queueMax {
		k.mu.Unlock()
		k.fail(errUnread)
		return errUnread
	}
	defer k.mu.Unlock()
	if err := k.waitRoom(int(h.length)); err != nil {
		return err
	}
	k.push(h, body, data, u)
	return nil
}

// prepare fills in what depends on the body; it runs outside the lock since it reads every byte.
func (k *link) prepare(h *header, body []byte, data [][]byte) {
	n := len(body)
	for _, d := range data {
		n += len(d)
	}
	h.length = uint32(n)
	if !h.summed {
		h.bodyCRC = bodyChecksum(body, data)
	}
}

// waitRoom blocks while the queue is full, if n bytes are worth waiting for. Small frames always
// pass: votes and answers must not wait behind data, and their number is bounded by the groups'. Called with mu held.
func (k *link) waitRoom(n int) error {
	for k.err == nil && n > smallBodyMax && k.bytes > 0 && k.bytes+n > k.queueMax {
		k.room.Wait()
	}
	return k.err
}

// push appends a frame to the queue. Called with mu held.
func (k *link) push(h header, body []byte, data [][]byte, u urgency) {
	k.tail = append(appendHeader(k.tail, h), body...)
	for _, d := range data {
		if len(d) <= smallBodyMax {
			k.tail = append(k.tail, d...)
			continue
		}
		k.queue = append(k.queue, k.tail, d)
		k.tail = nil
	}
	k.bytes += headerSize + int(h.length)
	switch u {
	case atOnce:
		k.signal()
	case coalesced:
		if !k.armed {
			k.armed = true
			if k.flusher == nil {
				k.flusher = time.AfterFunc(k.window, k.signal)
			} else {
				k.flusher.Reset(k.window)
			}
		}
	case corked:
	}
}

// signal wakes the writer.
func (k *link) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// uncork wakes the writer if anything is queued.
func (k *link) uncork() {
	k.mu.Lock()
	queued := len(k.tail) > 0 || len(k.queue) > 0
	k.mu.Unlock()
	if queued {
		k.signal()
	}
}

// writeLoop writes the queue until the link fails.
func (k *link) writeLoop() {
	var spare []byte // the last written tail, for reuse
	for {
		select {
		case <-k.wake:
		case <-k.closed:
			return
		}
		for {
			k.mu.Lock()
			queue, tail, bytes := k.queue, k.tail, k.bytes
			k.queue, k.tail = nil, spare[:0]
			k.armed = false
			k.mu.Unlock()
			spare = nil
			if len(queue) == 0 && len(tail) == 0 {
				spare = tail
				break
			}
			if err := k.write(queue, tail); err != nil {
				k.fail(err)
				return
			}
			if cap(tail) <= readBufferBytes {
				spare = tail
			}
			k.mu.Lock()
			k.bytes -= bytes
			k.room.Broadcast()
			k.mu.Unlock()
		}
	}
}

func (k *link) write(queue [][]byte, tail []byte) error {
	if err := k.conn.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
		return err
	}
	if len(queue) == 0 {
		_, err := k.conn.Write(tail)
		return err
	}
	buffers := net.Buffers(append(queue, tail))
	_, err := buffers.WriteTo(k.conn)
	return err
}

// readLoop reads frames, checks all but appends, and hands them to handle until an error, which it returns. Bodies of
// appends and calls are exact allocations that handle may keep; others are reused.
func (k *link) readLoop(r *bufio.Reader, maxFrame int, handle func(header, []byte) error) error {
	var head [headerSize]byte
	small := make([]byte, 0, smallBodyMax)
	for {
		if r.Buffered() < headerSize {
			k.uncork()
		}
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		if r.Buffered() < headerSize {
			k.received.Store(time.Now().UnixNano())
		}
		h, err := parseHeader(head[:], maxFrame)
		if err != nil {
			return err
		}
		body, err := k.readBody(r, h, small)
		if err != nil {
			return err
		}
		if err := handle(h, body); err != nil {
			return err
		}
	}
}

func (k *link) readBody(r *bufio.Reader, h header, small []byte) ([]byte, error) {
	var body []byte
	switch {
	case h.kind == kindAppend || h.kind == kindCall || h.kind == kindCallReply || int(h.length) > cap(small):
		body = make([]byte, h.length)
	default:
		body = small[:h.length]
	}
	if int(h.length) > r.Buffered() {
		if err := k.conn.SetReadDeadline(time.Now().Add(bodyStall)); err != nil {
			return nil, err
		}
		defer func() { _ = k.conn.SetReadDeadline(time.Time{}) }() // a connection that cannot clear it fails at its next read
	}
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if h.kind == kindAppend {
		return body, nil // handle checks it, entry by entry
	}
	return body, checkBody(h, body)
}

// answer hands a response to whoever waits for it. One that nobody waits for came too late.
func (k *link) answer(h header, body []byte) {
	k.mu.Lock()
	w, ok := k.pending[h.request]
	delete(k.pending, h.request)
	k.mu.Unlock()
	if ok {
		w.reply.resolve(h, body, nil)
	}
}

// forget drops a request whose caller has left.
func (k *link) forget(id uint64) {
	k.mu.Lock()
	delete(k.pending, id)
	k.mu.Unlock()
}

// expire fails the requests whose time is over, and the whole link if nothing at all has come
// back since one of them was sent: after a partition a fresh connection heals sooner than the
// kernel's retransmissions.
func (k *link) expire(now time.Time) {
	var late []waiting
	dead := false
	k.mu.Lock()
	for id, w := range k.pending {
		if now.Before(w.deadline) {
			continue
		}
		late = append(late, w)
		delete(k.pending, id)
		dead = dead || k.received.Load() < w.sent.UnixNano()
	}
	k.mu.Unlock()
	for _, w := range late {
		w.reply.resolve(header{}, nil, errTimeout)
	}
	if dead {
		k.fail(fmt.Errorf("%w: the peer is silent", errTimeout))
	}
}

// fail closes the link and ends everything that waits on it. Only the first call counts.
func (k *link) fail(err error) {
	k.mu.Lock()
	if k.err != nil {
		k.mu.Unlock()
		return
	}
	k.err = fmt.Errorf("%w: %w", errLinkClosed, err)
	pending, reason := k.pending, k.err
	k.pending = nil
	k.queue, k.tail = nil, nil
	if k.flusher != nil {
		k.flusher.Stop()
	}
	close(k.closed)
	k.room.Broadcast()
	k.mu.Unlock()
	_ = k.conn.Close() // the link is over either way
	for _, w := range pending {
		w.reply.resolve(header{}, nil, reason)
	}
}

// alive reports whether the link has not failed.
func (k *link) alive() bool {
	select {
	case <-k.closed:
		return false
	default:
		return true
	}
}
