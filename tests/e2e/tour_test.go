package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

const (
	tourLines = 200_000
	// devMax is how long a new dev cluster may take until it serves.
	devMax = 30 * time.Second
)

// devCluster is a running `levada dev`.
type devCluster struct {
	cmd   *exec.Cmd
	ended chan error
	nodes []devNode
}

type devNode struct {
	Name   string `json:"name"`
	PID    int    `json:"pid"`
	GRPC   string `json:"grpc"`
	HTTP   string `json:"http"`
	Config string `json:"config"`
}

// startDev starts `levada dev` and waits until it has written dev.json.
func startDev(t *testing.T, dir string) *devCluster {
	t.Helper()
	logPath := filepath.Join(t.TempDir(), "dev.log")
	log, err := os.Create(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &devCluster{ended: make(chan error, 1)}
	d.cmd = exec.Command(cluster.Binary(t, false), "dev", "--nodes", "3", "--data", dir, "--base-port", strconv.Itoa(basePort(t)))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.ended <- d.cmd.Wait() }()
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill() // its nodes must end with it; TestTour looks
		}
		for _, n := range d.nodes {
			_ = syscall.Kill(n.PID, syscall.SIGKILL) // gone already, unless the test failed
		}
		if b, err := os.ReadFile(logPath); err == nil && t.Failed() {
			t.Logf("levada dev said:\n%s", b)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), devMax)
	defer cancel()
	err = cluster.Await(ctx, func(context.Context) error {
		select {
		case err := <-d.ended:
			t.Fatalf("levada dev ended: %v", err)
		default:
		}
		b, err := os.ReadFile(filepath.Join(dir, "dev.json"))
		if err != nil {
			return err
		}
		var state struct{ Nodes []devNode }
		if err := json.Unmarshal(b, &state); err != nil {
			return err
		}
		d.nodes = state.Nodes
		return nil
	})
	if err != nil || len(d.nodes) != 3 {
		t.Fatalf("levada dev does not serve within %v: %v; nodes %v", devMax, err, d.nodes)
	}
	return d
}

// basePort returns a port from which on forty are free.
func basePort(t *testing.T) int {
	t.Helper()
	for base := 21000 + os.Getpid()%100*50; base < 32000; base += 50 {
		free := true
		for port := base; port < base+40 && free; port++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if free = err == nil; free {
				l.Close() // only probed
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no forty free ports in a row")
	return 0
}

func (d *devCluster) endpoints() string {
	var out []string
	for _, n := range d.nodes {
		out = append(out, n.GRPC)
	}
	return strings.Join(out, ",")
}

// gone waits until none of the cluster's node processes is left.
func (d *devCluster) gone(ctx context.Context) error {
	return cluster.Await(ctx, func(context.Context) error {
		for _, n := range d.nodes {
			if err := syscall.Kill(n.PID, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("%s (pid %d) is still there: %v", n.Name, n.PID, err)
			}
		}
		return nil
	})
}

// TestTour is the README's tour: a cluster on this machine, a stream, a file in, the
// same file out; then Ctrl-C, and the same data after the next start.
func TestTour(t *testing.T) {
	dir := t.TempDir()
	d := startDev(t, dir)
	sh := shell{t, d.endpoints()}
	if out := sh.must(nil, "cluster", "status"); !strings.Contains(out, "healthy") {
		t.Errorf("cluster status says\n%s", out)
	}
	sh.must(nil, "stream", "create", "access", "--shards", "4")
	if out := sh.must(nil, "stream", "list", "-o", "json"); !strings.Contains(out, `"access"`) {
		t.Errorf("stream list says\n%s", out)
	}
	if out := sh.must(nil, "shard", "list", "access"); !strings.Contains(out, "shard-000000000003") {
		t.Errorf("shard list says\n%s", out)
	}
	lines := makeLines(tourLines)
	sh.must(nil, "put", "access", writeFile(t, lines), "--key-regex", keyPattern)
	sameLines(t, lines, sh.must(nil, "read", "access", "--format", "raw"))
	t.Run("exit codes", func(t *testing.T) { exitCodes(shell{t, d.endpoints()}) })
	d.interrupt(t)
	again := startDev(t, dir)
	sameLines(t, lines, shell{t, again.endpoints()}.must(nil, "read", "access", "--format", "raw"))
	// When dev itself dies, nothing of it may stay behind.
	if err := again.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), devMax)
	defer cancel()
	if err := again.gone(ctx); err != nil {
		t.Errorf("levada dev was killed, but %v", err)
	}
}

// interrupt presses Ctrl-C and expects an orderly end of everything.
func (d *devCluster) interrupt(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), devMax)
	defer cancel()
	select {
	case err := <-d.ended:
		if err != nil {
			t.Errorf("levada dev ended with %v on Ctrl-C", err)
		}
	case <-ctx.Done():
		t.Fatalf("levada dev did not end within %v of Ctrl-C", devMax)
	}
	if err := d.gone(ctx); err != nil {
		t.Error(err)
	}
}

// exitCodes checks what scripts rely on.
func exitCodes(sh shell) {
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"stream", "describe", "access"}, 0, ""},
		{[]string{"stream", "describe", "nope"}, 3, "nope"},
		{[]string{"read", "nope"}, 3, "nope"},
		{[]string{"read", "access", "--shard", "shard-000000000099"}, 3, "shard"},
		{[]string{"read", "access", "--from", "at:12x"}, 2, "12x"},
		{[]string{"read", "access", "--from", "yesterday"}, 2, "yesterday"},
		{[]string{"stream", "create", "a b", "--shards", "1"}, 2, ""},
		{[]string{"nonsense"}, 2, "nonsense"},
		{[]string{"cluster", "status", "--endpoint", "127.0.0.1:1", "--timeout", "2s"}, 10, "127.0.0.1:1"},
		{[]string{"put", "access", "/does/not/exist"}, 2, "/does/not/exist"},
	} {
		r := sh.run(strings.NewReader(""), test.args...)
		if r.code != test.code {
			sh.t.Errorf("levada %v: exit code %d, want %d\n%s", test.args, r.code, test.code, r.err)
		}
		if !strings.Contains(r.err, test.says) {
			sh.t.Errorf("levada %v says %q, which does not speak of %q", test.args, r.err, test.says)
		}
	}
}
