package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// Node is one node process, up or down. Its methods may be called from several goroutines.
type Node struct {
	// Immutable.
	Name                     string
	Dir                      string // holds Config, Data and Log
	Config, Data, Log        string
	GRPC, Raft, Gossip, HTTP string // addresses
	Kinesis                  string // address of the Kinesis-compatible API
	binary                   string
	advertised               string // Raft address told to others, "" for Raft itself

	environment []string // of the process, in addition; set before Start

	// MayExit lets the process end by itself without failing the test. Set it before Start.
	MayExit bool

	mu      sync.Mutex
	process *process // nil while down
	conn    *grpc.ClientConn
	exits   []string // the times that a process ended by itself
}

// process is one life of a node.
type process struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended
	asked bool          // we sent it a signal to end; guarded by Node.mu
}

func newNode(dir, name, binary string, addrs []string) *Node {
	return &Node{
		Name: name, Dir: dir, binary: binary,
		Config: filepath.Join(dir, name+".yaml"), Data: filepath.Join(dir, name), Log: filepath.Join(dir, name+".log"),
		GRPC: addrs[0], Raft: addrs[1], Gossip: addrs[2], HTTP: addrs[3], Kinesis: addrs[4],
	}
}

// Start starts the node's process. It does not wait until the node serves; Ready does.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		return fmt.Errorf("%s is running", n.Name)
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	fmt.Fprintf(log, "--- started by the test at %s\n", time.Now().UTC().Format(time.RFC3339Nano))
	cmd := exec.Command(n.binary, "serve", "--config", n.Config)
	cmd.Dir = n.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnvironment(), n.environment...)
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		if !p.asked {
			n.exits = append(n.exits, fmt.Sprintf("at %s: %v", time.Now().UTC().Format(time.RFC3339Nano), err))
		}
		n.mu.Unlock()
		close(p.done)
	}()
	n.process = p
	return nil
}

// cleanEnvironment is ours without the variables that would override the configuration.
func cleanEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LEVADA_") {
			env = append(env, v)
		}
	}
	return env
}

// Running reports whether the node's process is alive (a stopped one is).
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return false
	}
	select {
	case <-n.process.done:
		return false
	default:
		return true
	}
}

// PID returns the id of the running process, 0 if there is none.
func (n *Node) PID() int {
	if !n.Running() {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process.cmd.Process.Pid
}

// signal sends a signal to the node's own process, if it runs.
func (n *Node) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return nil
	}
	n.process.asked = n.process.asked || s == syscall.SIGKILL || s == syscall.SIGTERM
	if err := n.process.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Pause stops the process with SIGSTOP; Resume continues it.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (n *Node) Resume() error { return n.signal(syscall.SIGCONT) }

// exitMax bounds how long a killed process may take to be reaped.
const exitMax = 20 * time.Second

// Kill ends the process as a power cut would (SIGKILL) and waits until it is gone.
func (n *Node) Kill() error {
	if err := n.signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := n.Wait(exitMax)
	return err
}

// Stop asks the process to end (SIGTERM), as an operator would. It returns the exit
// code, and kills the process and returns an error if it did not end within max.
func (n *Node) Stop(max time.Duration) (int, error) {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	code, err := n.Wait(max)
	if err != nil {
		return code, errors.Join(fmt.Errorf("%s did not stop on SIGTERM within %v", n.Name, max), n.Kill())
	}
	return code, nil
}

// Wait waits until the process has ended by itself and returns its exit code, -1
// for a signal. It leaves the node down.
func (n *Node) Wait(max time.Duration) (int, error) {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return 0, nil
	}
	timer := time.NewTimer(max)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return 0, fmt.Errorf("%s did not end within %v", n.Name, max)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == p {
		n.process = nil
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// Wipe deletes everything the node keeps. The node must be down.
func (n *Node) Wipe() error {
	if n.Running() {
		return fmt.Errorf("%s is running: its data must not be deleted", n.Name)
	}
	return os.RemoveAll(n.Data)
}

// Ready reports whether /readyz says so; the error says what it said instead.
func (n *Node) Ready(ctx context.Context) error {
	if !n.Running() {
		return fmt.Errorf("%s is not running", n.Name)
	}
	_, err := n.get(ctx, "/readyz")
	return err
}

// probeMax bounds one HTTP request to a node, which may be paused.
const probeMax = 2 * time.Second

// get fetches a page of the admin port.
func (n *Node) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // no idle connection to a process that is about to be killed
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s%s: %s: %s", n.Name, path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// exited returns when and how the node's processes ended by themselves.
func (n *Node) exited() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.exits)
}

// LogText returns the node's whole log, of all its lives.
func (n *Node) LogText() (string, error) {
	b, err := os.ReadFile(n.Log)
	return string(b), err
}

// logTail returns the last lines of the node's log.
func (n *Node) logTail(lines int) string {
	text, err := n.LogText()
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
