package raftfsm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

const benchFrameMax = 16 << 20

// benchAppend is an append of one full entry.
func benchAppend(size int) *raft.AppendEntriesRequest {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return &raft.AppendEntriesRequest{
		RPCHeader: rpcHeader(peerID), Term: 7, PrevLogEntry: 41, PrevLogTerm: 7, LeaderCommitIndex: 40,
		Entries: []*raft.Log{{Index: 42, Term: 7, Type: raft.LogCommand, Data: data, Extensions: make([]byte, 16), AppendedAt: time.Unix(1_700_000_000, 0)}},
	}
}

// BenchmarkEncodeAppend encodes an append of a full entry for one follower. The checksum of the entry is known from the
// other follower or the journal, or it is not.
func BenchmarkEncodeAppend(b *testing.B) {
	for _, known := range []bool{true, false} {
		b.Run(fmt.Sprintf("entry=256KiB/known=%t", known), func(b *testing.B) {
			r := benchAppend(256 << 10)
			b.SetBytes(256 << 10)
			b.ReportAllocs()
			for all := new(sums); b.Loop(); {
				if !known {
					clear(all.slots)
				}
				fixed, _ := encodeAppend(nil, r)
				appendChecksum(fixed, r.Entries, all)
			}
		})
	}
}

// BenchmarkDecodeAppend checks and decodes an append of a full entry, once it is read.
func BenchmarkDecodeAppend(b *testing.B) {
	r := benchAppend(256 << 10)
	fixed, data := encodeAppend(nil, r)
	h := header{kind: kindAppend, bodyCRC: bodyChecksum(fixed, data)}
	body := joined(fixed, data)
	b.Run("entry=256KiB", func(b *testing.B) {
		b.SetBytes(256 << 10)
		b.ReportAllocs()
		for b.Loop() {
			if err := checkAppend(h, body, func(int, uint32) {}); err != nil {
				b.Fatal(err)
			}
			if _, err := decodeAppend(body, peerID); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHeartbeat encodes a heartbeat's frame and decodes it, without a connection.
func BenchmarkHeartbeat(b *testing.B) {
	var frame []byte
	b.ReportAllocs()
	for b.Loop() {
		var body [heartbeatBodySize]byte
		binary.LittleEndian.PutUint64(body[:], 7)
		frame = appendHeader(frame[:0], header{kind: kindHeartbeat, group: 5, request: 6, length: heartbeatBodySize, bodyCRC: bodyChecksum(body[:], nil)})
		frame = append(frame, body[:]...)
		h, err := parseHeader(frame, benchFrameMax)
		if err == nil {
			err = checkBody(h, frame[headerSize:])
		}
		if err != nil {
			b.Fatal(err)
		}
		if _, err := decodeRequest(h, frame[headerSize:], peerID); err != nil {
			b.Fatal(err)
		}
	}
}

// linkPair is a connection over loopback: frames that asker sends are decoded and answered at the other end.
type linkPair struct {
	asker, answerer *link
	running         sync.WaitGroup
}

func connectLinks(b *testing.B) *linkPair {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	p := &linkPair{
		asker:    newLink(near, "far", laneBulk, true, 8<<20, time.Millisecond),
		answerer: newLink(far, "near", laneBulk, false, 8<<20, time.Millisecond),
	}
	p.run(p.asker, func(h header, body []byte) error {
		p.asker.answer(h, body)
		return nil
	})
	p.run(p.answerer, p.serve)
	return p
}

func (p *linkPair) run(k *link, handle func(header, []byte) error) {
	p.running.Go(k.writeLoop)
	p.running.Go(func() {
		k.fail(k.readLoop(bufio.NewReaderSize(k.conn, readBufferBytes), benchFrameMax, handle))
	})
}

// serve answers a request as a session does whose group says yes at once.
func (p *linkPair) serve(h header, body []byte) error {
	u := corked
	if h.kind == kindAppend {
		if err := checkAppend(h, body, func(int, uint32) {}); err != nil {
			return err
		}
		u = atOnce
	}
	if _, err := decodeRequest(h, body, peerID); err != nil {
		return err
	}
	var scratch [appendReplySize]byte
	h.kind, h.summed = kindAppendReply, false
	return p.answerer.send(h, encodeAppendReply(scratch[:0], &raft.AppendEntriesResponse{Term: 7, LastLog: 42, Success: true}), nil, u)
}

func (p *linkPair) close() {
	p.asker.fail(net.ErrClosed)
	p.answerer.fail(net.ErrClosed)
	p.running.Wait()
}

// slotReply gives a place in the window back when its request is answered.
type slotReply struct {
	b      *testing.B
	window chan struct{}
}

func (s slotReply) resolve(h header, _ []byte, err error) {
	if err != nil || h.kind != kindAppendReply {
		s.b.Errorf("answered with kind %d, %v", h.kind, err)
	}
	<-s.window
}

// BenchmarkLink asks over a real TCP connection on loopback and waits for the answers, with a window of requests
// under way: appends of a full entry whose checksum is known, as to a second follower, and heartbeats of many groups.
func BenchmarkLink(b *testing.B) {
	r := benchAppend(256 << 10)
	known := new(sums)
	known.of(r.Entries[0])
	for _, c := range []struct {
		frame  string
		bytes  int64
		window int
		encode func() (h header, body []byte, data [][]byte)
	}{
		{"append", 256 << 10, 8, func() (h header, body []byte, data [][]byte) {
			h = header{kind: kindAppend, group: 5, summed: true}
			body, data = encodeAppend(nil, r)
			h.bodyCRC = appendChecksum(body, r.Entries, known)
			return h, body, data
		}},
		{"heartbeat", heartbeatBodySize, 64, func() (header, []byte, [][]byte) {
			return header{kind: kindHeartbeat, group: 5}, appendUint64(nil, 7), nil
		}},
	} {
		b.Run(fmt.Sprintf("frame=%s/window=%d", c.frame, c.window), func(b *testing.B) {
			p := connectLinks(b)
			reply := slotReply{b, make(chan struct{}, c.window)}
			b.SetBytes(c.bytes)
			b.ReportAllocs()
			for b.Loop() {
				reply.window <- struct{}{}
				h, body, data := c.encode()
				if _, err := p.asker.request(h, body, data, atOnce, time.Minute, reply); err != nil {
					b.Fatal(err)
				}
			}
			for range c.window {
				reply.window <- struct{}{} // everything is answered
			}
			p.close()
		})
	}
}
