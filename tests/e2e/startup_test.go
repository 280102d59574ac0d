package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// endMax bounds how long a node that must refuse to start may take to say so.
const endMax = 20 * time.Second

// refusesToStart starts the node, which must end by itself with a failure and say
// each of the given things, none of them as a panic.
func refusesToStart(t *testing.T, n *cluster.Node, says ...string) {
	t.Helper()
	n.MayExit = true
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	code, err := n.Wait(endMax)
	if err != nil {
		t.Fatalf("it should refuse to start: %v", err)
	}
	text, err := n.LogText()
	if err != nil {
		t.Fatal(err)
	}
	if code <= 0 {
		t.Errorf("exit code %d", code)
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("it does not speak of %q:\n%s", s, text)
		}
	}
	if strings.Contains(text, "goroutine ") {
		t.Errorf("it shows a stack:\n%s", text)
	}
}

// edit changes a node's configuration file.
func edit(t *testing.T, n *cluster.Node, old, new string) {
	t.Helper()
	b, err := os.ReadFile(n.Config)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("the configuration has no %q:\n%s", old, b)
	}
	if err := os.WriteFile(n.Config, bytes.Replace(b, []byte(old), []byte(new), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestConfigurationRefused starts a node with configurations that cannot be meant.
func TestConfigurationRefused(t *testing.T) {
	tests := []struct {
		name     string
		old, new string
		says     []string
	}{
		{"an unknown key", "storage:\n", "storage:\n  segment_byte: 1MiB\n", []string{"segment_byte"}},
		{"an unknown section", "raft:\n", "rafts:\n  a: 1\nraft:\n", []string{"rafts"}},
		{"a size that is none", "segment_bytes: 1MiB", "segment_bytes: lots", []string{"lots"}},
		{"a size below its limit", "segment_bytes: 1MiB", "segment_bytes: 1KiB", []string{"segment_bytes"}},
		{"an address without a port", "listen:\n  grpc: ", "listen:\n  grpc: nowhere #", []string{"listen.grpc"}},
		{"no YAML", "cluster:", "cluster: [", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := cluster.New(t, cluster.Options{Nodes: 1}).Nodes[0]
			edit(t, n, test.old, test.new)
			refusesToStart(t, n, append(test.says, filepath.Base(n.Config))...)
		})
	}
}

// TestPortInUse takes each port of a node in turn before it starts.
func TestPortInUse(t *testing.T) {
	for _, port := range []string{"grpc", "raft", "http", "gossip"} {
		t.Run(port, func(t *testing.T) {
			n := cluster.New(t, cluster.Options{Nodes: 1}).Nodes[0]
			address := map[string]string{"grpc": n.GRPC, "raft": n.Raft, "http": n.HTTP, "gossip": n.Gossip}[port]
			taken, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			refusesToStart(t, n, address, "in use")
		})
	}
}

// TestDataDirectoryRefused stops a node of a cluster and changes what is in its
// data directory, or who comes to use it.
func TestDataDirectoryRefused(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1})
	owner := c.Nodes[0]
	t.Run("in use by a running node", func(t *testing.T) {
		refusesToStart(t, c.Add(t, "second", "", owner.Data), owner.Data, "in use")
	})
	if code, err := owner.Stop(endMax); err != nil || code != 0 {
		t.Fatalf("an orderly stop ended with code %d, %v", code, err)
	}
	t.Run("of another node", func(t *testing.T) {
		refusesToStart(t, c.Add(t, "other", "", owner.Data), "belongs to another node", owner.Name, "other")
	})
	t.Run("of another cluster", func(t *testing.T) {
		refusesToStart(t, c.Add(t, "foreign", "elsewhere", owner.Data), "belongs to another node")
	})
	identity := filepath.Join(owner.Data, "identity.json")
	original, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("of a newer format", func(t *testing.T) {
		var fields map[string]any
		if err := json.Unmarshal(original, &fields); err != nil {
			t.Fatal(err)
		}
		fields["format"] = 999
		newer, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		restore(t, identity, newer)
		refusesToStart(t, owner, "newer version", "999")
	})
	t.Run("with a damaged identity", func(t *testing.T) {
		restore(t, identity, []byte("{"))
		refusesToStart(t, owner, "identity.json", "damaged")
	})
	t.Run("without its identity", func(t *testing.T) {
		if err := os.Remove(identity); err != nil {
			t.Fatal(err)
		}
		refusesToStart(t, owner, "identity.json")
	})
	t.Run("put right again", func(t *testing.T) {
		restore(t, identity, original)
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), cluster.StartMax)
		defer cancel()
		if err := c.AwaitHealthy(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func restore(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
