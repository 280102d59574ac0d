package raftfsm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

const (
	snapshotChunkBytes = 256 << 10
	// installAlive is how often the receiver of a snapshot says that it is still at work; a
	// restore may take as long as fetching a whole shard log.
	installAlive    = 5 * time.Second
	installPatience = 20 * time.Second
)

// InstallSnapshot implements raft.Transport. Every snapshot has a connection of its own, so
// that it delays nothing else; how many run towards one peer is bounded.
func (g *groupTransport) InstallSnapshot(id raft.ServerID, _ raft.ServerAddress, r *raft.InstallSnapshotRequest, a *raft.InstallSnapshotResponse, data io.Reader) error {
	p := g.t.peer(string(id))
	select {
	case p.streams <- struct{}{}:
	case <-g.closed:
		return g.endError()
	case <-g.t.closed:
		return errShutdown
	}
	defer func() { <-p.streams }()
	body, err := encodeInstall(nil, r)
	if err != nil {
		return err
	}
	k, reader, err := p.dial(laneSnapshot)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	defer func() {
		close(over)
		k.fail(errors.New("snapshot sent"))
		g.t.untrack(k.conn)
	}()
	if !g.t.start(func() { // the group's end must end the reads below
		select {
		case <-g.closed:
			k.fail(g.endError())
		case <-over:
		}
	}) {
		return errShutdown
	}
	if err := k.send(header{kind: kindInstallSnapshot, group: g.id}, body, nil, atOnce); err != nil {
		return err
	}
	if err := sendChunks(k, g.id, io.LimitReader(data, r.Size), r.Size); err != nil {
		return err
	}
	return awaitInstalled(k, reader, g.t.o.MaxFrame, a)
}

// sendChunks sends size bytes of a snapshot in frames.
func sendChunks(k *link, group uint64, data io.Reader, size int64) error {
	for size > 0 {
		chunk := make([]byte, min(size, snapshotChunkBytes)) // the queue keeps it
		if _, err := io.ReadFull(data, chunk); err != nil {
			return fmt.Errorf("snapshot is shorter than it says: %w", err)
		}
		if err := k.send(header{kind: kindSnapshotChunk, group: group}, nil, [][]byte{chunk}, atOnce); err != nil {
			return err
		}
		size -= int64(len(chunk))
	}
	return nil
}

// awaitInstalled reads signs of life until the answer comes.
func awaitInstalled(k *link, r *bufio.Reader, maxFrame int, a *raft.InstallSnapshotResponse) error {
	for {
		h, body, err := readFrame(k, r, maxFrame, installPatience)
		if err != nil {
			return err
		}
		if h.kind != kindInstallAlive {
			return decodeReply(h, body, k.peerBytes, a)
		}
	}
}

// readFrame reads one frame that must come within patience.
func readFrame(k *link, r *bufio.Reader, maxFrame int, patience time.Duration) (header, []byte, error) {
	if err := k.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return header{}, nil, err
	}
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(head[:], maxFrame)
	if err != nil {
		return header{}, nil, err
	}
	body := make([]byte, h.length)
	if _, err := io.ReadFull(r, body); err != nil {
		return header{}, nil, err
	}
	return h, body, checkBody(h, body)
}

// chunkReader is a snapshot's bytes as they arrive: exactly its size.
type chunkReader struct {
	k        *link
	r        *bufio.Reader
	maxFrame int
	group    uint64
	left     int64
	chunk    []byte
}

// Read implements io.Reader.
func (c *chunkReader) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if len(c.chunk) == 0 {
		h, body, err := readFrame(c.k, c.r, c.maxFrame, bodyStall)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the snapshot is not whole
			}
			return 0, err
		}
		if h.kind != kindSnapshotChunk || h.group != c.group || int64(len(body)) > c.left {
			return 0, fmt.Errorf("%w: kind %d inside a snapshot", ErrFrame, h.kind)
		}
		c.chunk = body
	}
	n := copy(b, c.chunk)
	c.chunk = c.chunk[n:]
	c.left -= int64(n)
	return n, nil
}

// receiveSnapshot serves a snapshot connection: one request, its chunks, one answer.
func (s *session) receiveSnapshot(r *bufio.Reader) error {
	h, body, err := readFrame(s.k, r, s.t.o.MaxFrame, bodyStall)
	if err != nil {
		return err
	}
	if s.k.outbound || h.kind != kindInstallSnapshot {
		return fmt.Errorf("%w: kind %d opens a snapshot", ErrFrame, h.kind)
	}
	request, err := decodeInstall(body, s.k.peerBytes)
	if err != nil {
		return err
	}
	answered := make(chan raft.RPCResponse, 1)
	in := inbound{
		link: s.k, header: h, command: request, bytes: headerSize + len(body),
		reader: &chunkReader{k: s.k, r: r, maxFrame: s.t.o.MaxFrame, group: h.group, left: request.Size},
		done:   func(a raft.RPCResponse) { answered <- a },
	}
	g := s.t.group(h.group)
	switch {
	case g == nil:
		answered <- raft.RPCResponse{Error: fault.New(fault.NotFound, "group %d does not run here", h.group)}
	case !g.inbox.push(in):
		answered <- raft.RPCResponse{Error: fault.New(fault.Throttled, "group %d has too much unhandled", h.group)}
	}
	return s.answerSnapshot(h, g, answered)
}

// answerSnapshot sends signs of life until the library is done, then its answer, and waits for the sender to hang up.
func (s *session) answerSnapshot(h header, g *groupTransport, answered <-chan raft.RPCResponse) error {
	tick := time.NewTicker(installAlive)
	defer tick.Stop()
	for {
		select {
		case a := <-answered:
			var fixed []byte
			h.kind, fixed = encodeReply(nil, a)
			if err := s.k.send(h, fixed, nil, atOnce); err != nil {
				return err
			}
			if g != nil && (g.ended() || s.t.base.Err() != nil) {
				return errLinkClosed // the library may not be done with the reader yet
			}
			if err := s.k.conn.SetReadDeadline(time.Now().Add(bodyStall)); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, s.r)
			return err
		case <-tick.C:
			if err := s.k.send(header{kind: kindInstallAlive, group: h.group}, nil, nil, atOnce); err != nil {
				return err
			}
		case <-s.k.closed:
			// The library may still hold the reader; it gets an error and lets go.
			<-answered
			return errLinkClosed
		}
	}
}
