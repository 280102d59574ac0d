package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// devChildren are nodes whose admin ports are played by the handlers; nil plays
// a port that nobody listens on.
func devChildren(t *testing.T, ports ...http.HandlerFunc) *devCluster {
	t.Helper()
	d := &devCluster{}
	for i, port := range ports {
		name, _, log := devPaths(t.TempDir(), i)
		if err := os.WriteFile(log, []byte("first line\nlast line of "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		child := &devChild{node: devNode{name: name, log: log}, ended: make(chan struct{})}
		child.node.config.Listen.HTTP = "127.0.0.1:1"
		if port != nil {
			server := httptest.NewServer(port)
			t.Cleanup(server.Close)
			child.node.config.Listen.HTTP = strings.TrimPrefix(server.URL, "http://")
		}
		d.children = append(d.children, child)
	}
	return d
}

func ready(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ready\n")) }

func TestDevWaitsForItsNodes(t *testing.T) {
	var asked atomic.Int32
	late := func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not ready: starting", http.StatusServiceUnavailable)
			return
		}
		ready(w, r)
	}
	within(t, "waiting for nodes that are ready", func() {
		if err := devChildren(t, ready, late, ready).awaitReady(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestDevSaysWhatNodesLack(t *testing.T) {
	starting := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not ready: 3 shard replicas are starting", http.StatusServiceUnavailable)
	}
	// The last question is cut short by the end of ctx: the answer before it counts.
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int32
	cut := func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			starting(w, r)
			return
		}
		cancel()
		<-r.Context().Done()
	}
	err := devChildren(t, ready, nil, cut).awaitReady(ctx)
	if err == nil {
		t.Fatal("nodes that are not ready pass")
	}
	for _, want := range []string{"2 of 3", "--start-timeout", "node2: its admin port does not answer", "last line of node2", "node3: not ready: 3 shard replicas are starting"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "node1") || strings.Contains(err.Error(), "first line") {
		t.Errorf("%v says too much", err)
	}
}

func TestDevSaysHowANodeEnded(t *testing.T) {
	d := devChildren(t, ready, nil)
	d.children[1].err = errors.New("exit status 2")
	close(d.children[1].ended)
	err := d.awaitReady(t.Context())
	if err == nil || !strings.Contains(err.Error(), "node2 ended") || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), "last line of node2") {
		t.Errorf("%v", err)
	}
}

func TestDevRefusesWhatIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flag string
		c    devCommand
	}{
		{"--data", devCommand{Data: file, StartTimeout: time.Minute}},
		{"--data", devCommand{StartTimeout: time.Minute}},
		{"--start-timeout", devCommand{Data: t.TempDir()}},
	} {
		flag, c := tc.flag, tc.c
		if err := c.check(nil); exitCode(err) != exitUsage || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if err := (devCommand{Data: file + "-absent", StartTimeout: time.Minute}).check(nil); err != nil {
		t.Errorf("a directory to be made: %v", err)
	}
}
