package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/tests/internal/cluster"
)

// droppedMax bounds how long a node may keep a connection of somebody who has nothing to
// say: the handshake timeout (5 s by default) and some room for a slow machine.
const droppedMax = 15 * time.Second

// dropped reports how the node ended the connection, an error if it did not.
func dropped(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(droppedMax)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection was still open after %v", droppedMax)
	}
	return nil
}

// TestIntruders connects to the ports of a node and sends what no node or client
// would, or nothing. Each connection must be dropped. The Raft port must log it, once for
// all that comes from one machine. The cluster must not notice.
func TestIntruders(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), callMax)
	defer cancel()
	if err := c.CreateStream(ctx, "s", &levadav1.StreamSettings{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 64<<10)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(noise) // never fails
	target := c.Nodes[0]
	tests := []struct {
		name, address string
		send          []byte
	}{
		{"garbage on the Raft port", target.Raft, noise},
		{"HTTP on the Raft port", target.Raft, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"a claim of four gigabytes on the Raft port", target.Raft, []byte(strings.Repeat("\xff", 4096))},
		{"zeros on the Raft port", target.Raft, make([]byte, 4096)},
		{"silence on the Raft port", target.Raft, nil},
		{"garbage on the API port", target.GRPC, noise},
		{"silence on the API port", target.GRPC, nil},
		{"silence on the admin port", target.HTTP, nil},
		{"garbage on the admin port", target.HTTP, noise},
		{"garbage on the gossip port", target.Gossip, noise},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", test.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(test.send) // an early reset is as good an answer as any
			if err := dropped(conn); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		for range 200 {
			conn, err := net.Dial("tcp", target.Raft)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		writesWork(t, c, "s", 2)
	})
	t.Cleanup(func() { // after the parallel tests, before the cluster's own cleanup
		healthy, cancel := context.WithTimeout(context.Background(), callMax)
		defer cancel()
		if err := c.AwaitHealthy(healthy); err != nil {
			t.Errorf("the intruders harmed the cluster: %v", err)
		}
		text, err := target.LogText()
		if count := strings.Count(text, "dropped a connection"); err != nil || count < 1 || count > 3 {
			t.Errorf("%d lines of the log speak of dropped connections (%v)", count, err)
		}
	})
}

// TestForeignNode lets a node of another cluster, and one without the gossip key, seed
// from this one. Neither may ever show up, and both keep trying without filling the logs.
func TestForeignNode(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*callMax)
	defer cancel()
	if err := c.CreateStream(ctx, "s", &levadav1.StreamSettings{Shards: 1}); err != nil {
		t.Fatal(err)
	}
	foreign := c.Add(t, "foreign", "elsewhere", "")
	stranger := c.Add(t, "stranger", "", "")
	edit(t, stranger, "cluster:\n", "cluster:\n  secret_key: MDEyMzQ1Njc4OWFiY2RlZg==\n")
	for _, n := range []*cluster.Node{foreign, stranger} {
		n.MayExit = true
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	patience := time.NewTimer(8 * time.Second) // several rounds of gossip and joining
	defer patience.Stop()
	for waiting := true; waiting; {
		select {
		case <-patience.C:
			waiting = false
		case <-time.After(250 * time.Millisecond):
		}
		for _, n := range c.Nodes {
			state, err := n.State(ctx)
			if err != nil {
				t.Fatalf("%s: %v", n.Name, err)
			}
			for _, known := range state.GetNodes() {
				if name := known.GetName(); name == foreign.Name || name == stranger.Name {
					t.Fatalf("%s took %s for one of its own", n.Name, name)
				}
			}
		}
	}
	writesWork(t, c, "s", 1)
	if err := c.AwaitHealthy(ctx); err != nil {
		t.Errorf("the strangers harmed the cluster: %v", err)
	}
	for _, n := range []*cluster.Node{foreign, stranger} {
		if err := n.Ready(ctx); err == nil {
			t.Errorf("%s says that it is ready, without a cluster", n.Name)
		}
	}
	text, err := foreign.LogText()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "cluster") || strings.Count(text, "\n") > 200 {
		t.Errorf("the foreign node must say, and not over and over, that the cluster is another:\n%s", text)
	}
}
