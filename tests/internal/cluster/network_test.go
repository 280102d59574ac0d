package cluster

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNetworkHoldsBackAndDelivers cuts one direction of one link: bytes of that
// direction wait, the other's do not, and the wait ends with Mend.
func TestNetworkHoldsBackAndDelivers(t *testing.T) {
	dir := t.TempDir()
	a := newNode(dir, "a", "", make([]string, portsPerNode))
	b := newNode(dir, "b", "", make([]string, portsPerNode))
	const greeting = "hello, I am 11111111-2222-3333-4444-555555555555 calling b"
	if err := os.Mkdir(a.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Data, "identity.json"), []byte(`{"node_id":"11111111-2222-3333-4444-555555555555"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b.Raft = server.Addr().String()
	network, addrs, err := newNetwork([]*Node{a, b})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	dialled, err := net.Dial("tcp", addrs[1])
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	exchange := func(to, from net.Conn, text string, within time.Duration) error {
		if _, err := to.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return receive(from, text, within)
	}
	if _, err := dialled.Write([]byte(greeting)); err != nil {
		t.Fatal(err)
	}
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if err := receive(accepted, greeting, time.Second); err != nil {
		t.Fatal(err)
	}
	network.Cut(a, b)
	if err := exchange(dialled, accepted, "request", 50*time.Millisecond); err == nil {
		t.Error("a request passed over a cut link")
	}
	if err := exchange(accepted, dialled, "answer", time.Second); err != nil {
		t.Errorf("the other direction is not cut: %v", err)
	}
	network.Mend()
	if err := receive(accepted, "request", time.Second); err != nil {
		t.Errorf("the request did not arrive after the link was mended: %v", err)
	}
	network.Isolate(b)
	if err := exchange(accepted, dialled, "answer", 50*time.Millisecond); err == nil {
		t.Error("an answer left an isolated node")
	}
}

// receive reads exactly text from conn.
func receive(conn net.Conn, text string, within time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, len(text)))
	return err
}
