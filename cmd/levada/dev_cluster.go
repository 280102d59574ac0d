package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// devStopGrace is how long a node may take to end before it is killed; above limits.shutdown_timeout.
	devStopGrace = 15 * time.Second
	devPoll      = 100 * time.Millisecond
	devAnswer    = 2 * time.Second // for one answer of /readyz
	// devLogTail is how much of a node's log is shown when it fails to start.
	devLogTail = 2000
)

// devCluster runs nodes as child processes.
type devCluster struct {
	s      *session
	binary string
	nodes  []devNode

	spawned  chan struct{} // closed by stop: the spawning thread may end
	stopOnce sync.Once
	children []*devChild // set by start, immutable afterwards
}

// devChild is one node's process.
type devChild struct {
	node  devNode
	cmd   *exec.Cmd
	pipe  io.Closer     // the child's standard input; it ends with this process
	ended chan struct{} // closed when the process has ended
	err   error         // of its end; read after ended
}

func newDevCluster(s *session, binary string, nodes []devNode) *devCluster {
	return &devCluster{s: s, binary: binary, nodes: nodes, spawned: make(chan struct{})}
}

// start starts all nodes. They die with this process: by a signal of the
// kernel on Linux, and everywhere because their standard input ends.
func (d *devCluster) start() error {
	failed := make(chan error)
	go func() {
		// Linux sends a child the signal when the thread that started it ends, so this one stays to the end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		failed <- d.spawnAll()
		<-d.spawned
	}()
	return <-failed
}

func (d *devCluster) spawnAll() error {
	for _, n := range d.nodes {
		child, err := d.spawn(n)
		if err != nil {
			return fmt.Errorf("start %s: %w", n.name, err)
		}
		d.children = append(d.children, child)
	}
	return nil
}

func (d *devCluster) spawn(n devNode) (*devChild, error) {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(d.binary, "serve", "--config", n.path, "--with-parent")
	cmd.Env = withoutSettings(os.Environ())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	child := &devChild{node: n, cmd: cmd, pipe: pipe, ended: make(chan struct{})}
	go func() {
		child.err = cmd.Wait()
		close(child.ended)
	}()
	return child, nil
}

// withoutSettings leaves out the variables that override configurations: one
// value cannot be right for several nodes.
func withoutSettings(variables []string) []string {
	return slices.DeleteFunc(variables, func(v string) bool { return strings.HasPrefix(v, "LEVADA_") })
}

// stop ends all nodes and returns when none runs. It is idempotent.
func (d *devCluster) stop() {
	d.stopOnce.Do(func() {
		for _, c := range d.children {
			_ = c.cmd.Process.Signal(syscall.SIGTERM) // one that has ended already is no error
		}
		deadline := time.After(devStopGrace)
		for _, c := range d.children {
			select {
			case <-c.ended:
			case <-deadline:
				d.s.warn("%s does not end; killing it", c.node.name)
				for _, rest := range d.children {
					_ = rest.cmd.Process.Kill()
				}
				deadline = nil
				<-c.ended
			}
			_ = c.pipe.Close()
		}
		close(d.spawned)
	})
}

func (d *devCluster) state() devState {
	var state devState
	for _, c := range d.children {
		state.Nodes = append(state.Nodes, devNodeState{
			Name: c.node.name, PID: c.cmd.Process.Pid, GRPC: c.node.config.Listen.GRPC, HTTP: c.node.config.Listen.HTTP, Kinesis: c.node.config.Kinesis.Listen, Config: c.node.path,
		})
	}
	return state
}

// awaitReady waits until every node of this cluster says that it is ready. It
// fails when one ends before, and says what each one lacks when ctx ends. Whether
// the cluster is healthy is not its matter: a stream may lack a replica on a
// node that another command started, or that is gone for good.
func (d *devCluster) awaitReady(ctx context.Context) error {
	ticker := time.NewTicker(devPoll)
	defer ticker.Stop()
	lacks := slices.Repeat([]string{"was not asked yet"}, len(d.children)) // "" once ready
	for {
		waiting := false
		for i, c := range d.children {
			select {
			case <-c.ended:
				return fmt.Errorf("%s ended while it started (%s); the end of its log, %s:\n%s", c.node.name, exitText(c.err), c.node.log, logTail(c.node.log))
			default:
			}
			// Where the end of ctx cut the question short, the answer before it stands.
			if reason := notReady(ctx, c.node.config.Listen.HTTP); ctx.Err() == nil {
				lacks[i] = reason
			}
			waiting = waiting || lacks[i] != ""
		}
		if !waiting {
			return nil
		}
		select {
		case <-ctx.Done():
			return d.notReadyError(lacks)
		case <-ticker.C:
		}
	}
}

// notReadyError says what each node lacks, and what one that says nothing logged last.
func (d *devCluster) notReadyError(lacks []string) error {
	var lines []string
	for i, c := range d.children {
		if lacks[i] == "" {
			continue
		}
		tail := logTail(c.node.log)
		last := tail[strings.LastIndexByte(tail, '\n')+1:]
		lines = append(lines, fmt.Sprintf("  %s: %s; its log, %s, ends with: %s", c.node.name, lacks[i], c.node.log, last))
	}
	return fmt.Errorf("%d of %d nodes are not ready yet; see their logs, or give them longer with --start-timeout:\n%s",
		len(lines), len(d.children), strings.Join(lines, "\n"))
}

// notReady returns what a node lacks in its own words, "" if it is ready.
func notReady(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, devAnswer)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "its admin port does not answer"
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 500)) // only for the message
	if response.StatusCode != http.StatusOK {
		return strings.TrimSpace(string(text))
	}
	return ""
}

// watch waits for ctx, reporting every node that ends by itself. It restarts
// none, and returns early when none is left.
func (d *devCluster) watch(ctx context.Context) error {
	ends := make(chan *devChild)
	for _, c := range d.children {
		go func() {
			<-c.ended
			select {
			case ends <- c:
			case <-ctx.Done():
			}
		}()
	}
	for left := len(d.children); left > 0; left-- {
		select {
		case <-ctx.Done():
			return nil
		case c := <-ends:
			if ctx.Err() != nil {
				return nil
			}
			d.s.warn("%s (pid %d) has ended: %s. Its log is %s. Start it again with: %s serve --config %s",
				c.node.name, c.cmd.Process.Pid, exitText(c.err), c.node.log, selfName(), c.node.path)
		}
	}
	return errNodesEnded
}

func exitText(err error) string {
	if err == nil {
		return "exit code 0"
	}
	return err.Error()
}

func logTail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(text) > devLogTail {
		text = text[len(text)-devLogTail:]
	}
	return strings.TrimSpace(string(text))
}
