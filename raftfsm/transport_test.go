package raftfsm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// addressBook is what Resolve knows.
type addressBook struct{ m sync.Map }

func (b *addressBook) resolve(id string) (string, bool) {
	a, ok := b.m.Load(id)
	if !ok {
		return "", false
	}
	return a.(string), true
}

// tcpTransport starts a transport on a loopback port.
func tcpTransport(t testing.TB, node, cluster string, addrs *addressBook, w io.Writer) *Transport {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addrs.m.Store(node, l.Addr().String())
	tr, err := NewTransport(TransportOptions{
		NodeID: node, ClusterID: func() string { return cluster }, Listener: l,
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", a)
		},
		Resolve: addrs.resolve,
		Logger:  hclog.New(&hclog.LoggerOptions{Output: w, Level: hclog.Info}), MaxFrame: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func echo(_ context.Context, from string, b []byte) ([]byte, error) {
	if string(b) == "fail" {
		return nil, fault.TooLargeField("key", 256, "too long")
	}
	return append([]byte(from+":"), b...), nil
}

func TestCallsOverTCP(t *testing.T) {
	addrs := new(addressBook)
	a, b := tcpTransport(t, "a", "c", addrs, io.Discard), tcpTransport(t, "b", "c", addrs, io.Discard)
	for _, x := range []*Transport{a, b} {
		x.Handle(1, echo)
		x.Handle(2, func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
	}
	ctx := t.Context()
	for _, to := range []string{"a", "b"} { // the first is a itself
		if got, err := a.Call(ctx, to, 1, []byte("x")); err != nil || string(got) != "a:x" {
			t.Errorf("call to %s: %q, %v", to, got, err)
		}
		_, err := a.Call(ctx, to, 1, []byte("fail"))
		if f := fault.As(err); f == nil || f.Kind != fault.TooLarge || f.Field != "key" || f.Limit != 256 {
			t.Errorf("fault from %s: %v", to, err)
		}
		if _, err := a.Call(ctx, to, 9, nil); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("unknown service of %s: %v", to, err)
		}
	}
	big := make([]byte, 900<<10)
	if got, err := a.Call(ctx, "b", 1, big); err != nil || len(got) != len(big)+2 {
		t.Errorf("big call: %d bytes, %v", len(got), err)
	}
	if _, err := a.Call(ctx, "b", 1, make([]byte, 2<<20)); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("oversize call: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := a.Call(short, "b", 2, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("hanging call: %v", err)
	}
	if _, err := a.Call(ctx, "nobody", 1, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("unknown node: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := a.Call(ctx, "b", 1, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("closed node: %v", err)
	}
}

// TestHostileConnections sends what a port scanner, a broken peer and a foreign cluster send; the
// connection is dropped, that is logged once, and others are served meanwhile.
func TestHostileConnections(t *testing.T) {
	addrs := new(addressBook)
	var log logBuffer
	a := tcpTransport(t, "a", "mine", addrs, &log)
	a.Handle(1, echo)
	address, _ := addrs.resolve("a")
	greeting := encodeHello(hello{version: wireVersion, lane: laneCalls, cluster: "mine", node: "b", target: "a"})
	frame := func(h header, body []byte) []byte {
		h.length, h.bodyCRC = uint32(len(body)), bodyChecksum(body, nil)
		return append(append(bytes.Clone(greeting), appendHeader(nil, h)...), body...)
	}
	oversize := append(bytes.Clone(greeting), appendHeader(nil, header{kind: kindCall, length: 2 << 20})...)
	spoiled := frame(header{kind: kindVote, group: 1}, make([]byte, voteBodySize))
	spoiled[len(spoiled)-1] ^= 1
	for name, bytes := range map[string][]byte{
		"http":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"zeros":         make([]byte, 4096),
		"half a hello":  greeting[:9],
		"wrong cluster": encodeHello(hello{version: wireVersion, cluster: "theirs", node: "b", target: "a"}),
		"wrong target":  encodeHello(hello{version: wireVersion, cluster: "mine", node: "b", target: "z"}),
		"wrong version": encodeHello(hello{version: 99, cluster: "mine", node: "b", target: "a"}),
		"oversize":      oversize,
		"body checksum": spoiled,
		"unknown kind":  frame(header{kind: 50}, nil),
		"a response":    frame(header{kind: kindCallReply}, nil),
		"bad append":    frame(header{kind: kindAppend, group: 1}, make([]byte, appendFixedSize+7)),
		"snapshot here": frame(header{kind: kindSnapshotChunk, group: 1}, []byte("x")),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write(bytes); err != nil {
				t.Fatal(err)
			}
			if name == "half a hello" {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			if err := c.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
		})
	}
	b := tcpTransport(t, "b", "mine", addrs, io.Discard)
	if got, err := b.Call(t.Context(), "a", 1, []byte("ok")); err != nil || string(got) != "b:ok" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	x := tcpTransport(t, "x", "theirs", addrs, io.Discard)
	if _, err := x.Call(t.Context(), "a", 1, nil); !errors.Is(err, ErrHandshake) || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("foreign node's call: %v", err)
	}
	if err := a.Close(); err != nil { // a connection is dropped before that is logged: wait for all
		t.Error(err)
	}
	if n := log.count("dropped a connection"); n != 1 {
		t.Errorf("bad handshakes from one address were logged %d times", n)
	}
	if n := log.count("peer sent garbage"); n != 1 {
		t.Errorf("bad frames from one address were logged %d times", n)
	}
}

// TestSilentClientIsDropped: who connects and says nothing is gone after five seconds, and a
// crowd of them keeps nobody out for longer.
func TestSilentClientIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		a := memTransport(t, n, "a")
		defer a.Close()
		a.Handle(1, echo)
		var silent []net.Conn
		for range 60 {
			c, err := n.dialer("evil")(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, c)
		}
		start := time.Now()
		for _, c := range silent {
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != handshakeTimeout {
			t.Errorf("dropped after %v", took)
		}
		b := memTransport(t, n, "b")
		defer b.Close()
		if _, err := b.Call(t.Context(), "a", 1, nil); err != nil {
			t.Error(err)
		}
	})
}

func memTransport(t *testing.T, n *memNet, id string) *Transport {
	t.Helper()
	tr, err := NewTransport(TransportOptions{
		NodeID: id, Listener: n.listen(id), Dial: n.dialer(id), Resolve: func(id string) (string, bool) { return id, true },
		GroupBytes: 10 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestSlowGroupDelaysNobody fills the inbox of a group that takes nothing; another group on the
// same connections is answered, and what exceeds the budget is refused.
func TestSlowGroupDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		a, b := memTransport(t, n, "a"), memTransport(t, n, "b")
		defer a.Close()
		defer b.Close()
		var send, receive [2]*groupTransport
		for i := range send {
			send[i], _ = a.join(uint64(i))
			receive[i], _ = b.join(uint64(i))
		}
		request := func(size int) *raft.AppendEntriesRequest {
			return &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1, PrevLogTerm: 1, Entries: []*raft.Log{{Index: 2, Term: 1, Data: make([]byte, size)}}}
		}
		stuck := make(chan error, 8)
		for range cap(stuck) { // nobody reads group 0's requests
			go func() { stuck <- send[0].AppendEntries("b", "b", request(3<<10), new(raft.AppendEntriesResponse)) }()
		}
		synctest.Wait()
		if err := <-stuck; fault.KindOf(err) != fault.Throttled {
			t.Errorf("beyond the budget: %v", err)
		}
		go func() {
			rpc := <-receive[1].Consumer()
			rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
		}()
		start := time.Now()
		var answer raft.AppendEntriesResponse
		if err := send[1].AppendEntries("b", "b", request(10), &answer); err != nil || !answer.Success {
			t.Errorf("the other group: %+v, %v", answer, err)
		}
		if took := time.Since(start); took > time.Millisecond {
			t.Errorf("the other group waited %v", took)
		}
		for i := range send {
			send[i].leave()
			receive[i].leave()
		}
	})
}

// TestHeartbeatsTravelTogether: heartbeats of many groups wait for each other, votes do not wait.
func TestHeartbeatsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		a, b := memTransport(t, n, "a"), memTransport(t, n, "b")
		defer a.Close()
		defer b.Close()
		in, _ := b.join(1)
		always := func(uint64) bool { return true }
		in.gate.Store(&always)
		in.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil) })
		out, _ := a.join(1)
		vote := func() time.Duration {
			go func() { rpc := <-in.Consumer(); rpc.Respond(&raft.RequestVoteResponse{Term: 3, Granted: true}, nil) }()
			start := time.Now()
			var v raft.RequestVoteResponse
			if err := out.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 3}, &v); err != nil || !v.Granted {
				t.Errorf("vote: %+v, %v", v, err)
			}
			return time.Since(start)
		}
		vote() // opens the connection
		start := time.Now()
		var h raft.AppendEntriesResponse
		if err := out.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 3}, &h); err != nil || !h.Success {
			t.Errorf("heartbeat: %+v, %v", h, err)
		}
		if took := time.Since(start); took != DefaultCoalesce {
			t.Errorf("heartbeat took %v", took)
		}
		if took := vote(); took != 0 {
			t.Errorf("vote took %v", took)
		}
		out.leave()
		in.leave()
	})
}

func TestWhoIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newMemNet()
		open := func(id, cluster string) *Transport {
			tr, err := NewTransport(TransportOptions{
				NodeID: id, ClusterID: func() string { return cluster }, Listener: net.listen(id),
				Dial: net.dialer(id), Resolve: func(id string) (string, bool) { return id, true },
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tr.Close() })
			return tr
		}
		a := open("a", "one")
		open("b", "two")
		for _, id := range []string{"a", "b"} {
			if got, err := a.WhoIs(t.Context(), id); err != nil || got != id {
				t.Errorf("at %s answers %q, %v", id, got, err)
			}
		}
		if got, err := a.WhoIs(t.Context(), "nowhere"); err == nil {
			t.Errorf("where nobody listens answers %q", got)
		}
	})
}
