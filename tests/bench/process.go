package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end by itself.
const stopGrace = 15 * time.Second

// command is how to start one server process.
type command struct {
	name   string
	binary string
	args   []string
	log    string // file that takes its output
}

// process is one server process of ours.
type process struct {
	command
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and was reaped
}

// launcher starts processes from one thread that lives as long as they do:
// Linux kills a child when the thread that started it ends.
type launcher struct {
	requests chan launch
	ended    chan struct{}
}

type launch struct {
	command
	answer chan<- launched
}

type launched struct {
	p   *process
	err error
}

func newLauncher() *launcher {
	l := &launcher{requests: make(chan launch), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for r := range l.requests {
			p, err := spawn(r.command)
			r.answer <- launched{p, err}
		}
	}()
	return l
}

// close ends the thread. Call it when all processes have ended.
func (l *launcher) close() {
	close(l.requests)
	<-l.ended
}

func (l *launcher) start(c command) (*process, error) {
	answer := make(chan launched)
	l.requests <- launch{c, answer}
	a := <-answer
	return a.p, a.err
}

func spawn(c command) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(c.binary, c.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = serverEnvironment()
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	p := &process{command: c, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended shows in its log; that it ended shows in done
		close(p.done)
	}()
	return p, nil
}

// serverEnvironment is ours without what would change a server's settings.
func serverEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LEVADA_") && !strings.HasPrefix(v, "NATS_") {
			env = append(env, v)
		}
	}
	return env
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process as a power cut would, and returns when it is gone.
func (p *process) kill() error {
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopGrace):
		return fmt.Errorf("%s (pid %d) was killed and does not end", p.name, p.pid())
	}
}

// stopAll ends processes in order, all at once, and kills those that do not
// follow in time.
func stopAll(all []*process) error {
	for _, p := range all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that has ended already is no error
	}
	var errs []error
	deadline := time.Now().Add(stopGrace)
	for _, p := range all {
		select {
		case <-p.done:
		case <-time.After(time.Until(deadline)):
			errs = append(errs, p.kill())
		}
	}
	return errors.Join(errs...)
}

// logEnd returns the last bytes of the process's log, for an error message.
func (p *process) logEnd() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-2000):]))
}
