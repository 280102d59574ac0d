package raftfsm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listMachine is a state machine that keeps every command.
type listMachine struct {
	mu    sync.Mutex
	items []string
	stop  string // a command that cannot be applied
}

func (l *listMachine) Apply(entries []Entry) []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	results := make([]any, len(entries))
	for i, e := range entries {
		if l.stop != "" && string(e.Data) == l.stop {
			results[i] = &StopError{Err: errors.New("unknown command")}
			continue
		}
		name, _, _ := strings.Cut(string(e.Data), "|") // the rest is ballast
		l.items = append(l.items, name)
		results[i] = len(l.items)
	}
	return results
}

func (l *listMachine) Snapshot() (Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return listSnapshot(slices.Clone(l.items)), nil
}

func (l *listMachine) Restore(r io.Reader) error {
	var items []string
	if err := json.NewDecoder(r).Decode(&items); err != nil {
		return err
	}
	l.mu.Lock()
	l.items = items
	l.mu.Unlock()
	return nil
}

func (l *listMachine) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.items)
}

type listSnapshot []string

func (s listSnapshot) Persist(w io.Writer) error { return json.NewEncoder(w).Encode([]string(s)) }
func (s listSnapshot) Release()                  {}

// memStable is a StableStore whose writes are durable at once, until its node is killed.
type memStable struct {
	mu     *sync.Mutex
	values map[uint64]map[string][]byte
	dead   *bool
}

func newMemStable() *memStable {
	return &memStable{mu: new(sync.Mutex), values: map[uint64]map[string][]byte{}, dead: new(bool)}
}

// crash returns what a successor sees; the old one fails from now on.
func (s *memStable) crash() *memStable {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.dead = true
	n := newMemStable()
	for g, v := range s.values {
		n.values[g] = maps.Clone(v)
	}
	return n
}

func (s *memStable) Get(group uint64, key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[group][key]
	return v, ok
}

func (s *memStable) Set(group uint64, values map[string][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *s.dead {
		return errors.New("node killed")
	}
	if s.values[group] == nil {
		s.values[group] = map[string][]byte{}
	}
	for k, v := range values {
		s.values[group][k] = slices.Clone(v)
	}
	return nil
}

func (s *memStable) Delete(group uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, group)
	return nil
}

func (s *memStable) Groups() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.values))
}

func (s *memStable) Close() error { return nil }

// testNode is one node: what survives a crash, and what runs.
type testNode struct {
	c      *testCluster
	id     string
	fs     *vfs.Mem
	fault  *vfs.Fault // of the present run
	stable *memStable

	journal   *journal.Journal
	transport *Transport
	host      *Host
	machines  map[uint64]*listMachine
	failures  chan error
	leads     map[uint64][]leadership
	leadsMu   sync.Mutex
}

// testCluster is a cluster in memory.
type testCluster struct {
	t       testing.TB
	net     *memNet
	nodes   map[string]*testNode
	ids     []string
	groups  []uint64
	options func(*HostOptions)
}

func newCluster(t testing.TB, seed uint64, nodes int, groups ...uint64) *testCluster {
	c := &testCluster{t: t, net: newMemNet(), nodes: map[string]*testNode{}, groups: groups}
	for i := range nodes {
		id := fmt.Sprintf("node-%d", i)
		c.ids = append(c.ids, id)
		c.nodes[id] = &testNode{c: c, id: id, fs: vfs.NewMem(seed*100 + uint64(i)), stable: newMemStable()}
	}
	t.Cleanup(c.close)
	return c
}

func (c *testCluster) close() {
	for _, n := range c.nodes {
		n.stop()
	}
}

func (c *testCluster) members() []Server {
	var s []Server
	for _, id := range c.ids {
		s = append(s, Server{ID: id, Voter: true})
	}
	return s
}

func testLogger(t testing.TB, name string) hclog.Logger {
	level := hclog.Off
	if os.Getenv("RAFTFSM_LOG") != "" {
		level = hclog.LevelFromString(os.Getenv("RAFTFSM_LOG"))
	}
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: level, Output: os.Stderr})
}

// open starts a node's journal, transport and host, without groups.
func (n *testNode) open() {
	t := n.c.t
	t.Helper()
	logger := testLogger(t, n.id)
	n.fault = vfs.NewFault(n.fs)
	n.failures = make(chan error, 4)
	n.machines = map[uint64]*listMachine{}
	n.leads = map[uint64][]leadership{}
	var err error
	n.journal, err = journal.Open(n.fault, "journal", journal.Options{
		SegmentBytes: 256 << 10, SpareSegments: 1, MaxBytes: 4 << 20, CacheBytes: 64 << 10, Logger: logger,
		RequestSnapshot: func(g uint64) { n.host.RequestSnapshot(g) },
	})
	if err != nil {
		t.Fatalf("%s: journal: %v", n.id, err)
	}
	n.transport, err = NewTransport(TransportOptions{
		NodeID: n.id, ClusterID: func() string { return "test" }, Listener: n.c.net.listen(n.id),
		Dial: n.c.net.dialer(n.id), Resolve: func(id string) (string, bool) { return id, true }, Logger: logger,
	})
	if err != nil {
		t.Fatalf("%s: transport: %v", n.id, err)
	}
	o := HostOptions{
		NodeID: n.id, Journal: n.journal, FS: n.fault, Dir: "raft", Transport: n.transport, Logger: logger, Stable: n.stable,
		OnFailure: func(err error) { n.failures <- err },
	}
	if n.c.options != nil {
		n.c.options(&o)
	}
	if n.host, err = NewHost(o); err != nil {
		t.Fatalf("%s: host: %v", n.id, err)
	}
}

// run opens a node and starts its groups.
func (n *testNode) run(bootstrap []Server) {
	n.c.t.Helper()
	n.open()
	for _, g := range n.c.groups {
		n.startGroup(g, bootstrap)
	}
}

func (n *testNode) startGroup(id uint64, bootstrap []Server) *Group {
	n.c.t.Helper()
	m := &listMachine{}
	n.machines[id] = m
	g, err := n.host.StartGroup(GroupOptions{ID: id, FSM: m, Bootstrap: bootstrap, OnLeader: func(l bool, term uint64) {
		n.leadsMu.Lock()
		n.leads[id] = append(n.leads[id], leadership{l, term})
		n.leadsMu.Unlock()
	}})
	if err != nil {
		n.c.t.Fatalf("%s: group %d: %v", n.id, id, err)
	}
	return g
}

// stop ends a node in good order.
func (n *testNode) stop() {
	if n.host == nil {
		return
	}
	if err := n.host.Close(); err != nil {
		n.c.t.Errorf("%s: close host: %v", n.id, err)
	}
	if err := n.transport.Close(); err != nil {
		n.c.t.Errorf("%s: close transport: %v", n.id, err)
	}
	_ = n.journal.Close() // fails after an injected failure
	n.c.net.kill(n.id)
	n.host = nil
}

// kill ends a node as kill -9 and a power failure together do.
func (n *testNode) kill() {
	n.fs = n.fs.Crash()
	n.stable = n.stable.crash()
	n.c.net.kill(n.id)
	_ = n.host.Close()
	_ = n.transport.Close()
	_ = n.journal.Close() // the file system is gone
	n.host = nil
}

// leader waits until a group has a leader that a majority follows.
func (c *testCluster) leader(group uint64) *testNode {
	c.t.Helper()
	for range 3000 {
		for _, id := range c.ids {
			n := c.nodes[id]
			if n.host == nil || n.host.Group(group) == nil || !n.host.Group(group).IsLeader() {
				continue
			}
			if n.host.Group(group).Barrier(time.Second) == nil {
				return n
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatalf("group %d has no leader after a minute", group)
	return nil
}

// agree waits until every running node has applied the same list, and returns it.
func (c *testCluster) agree(group uint64, atLeast int) []string {
	c.t.Helper()
	var lists map[string][]string
	for range 3000 {
		lists = map[string][]string{}
		same := true
		var first []string
		for _, id := range c.ids {
			n := c.nodes[id]
			if n.host == nil || n.machines[group] == nil {
				continue
			}
			l := n.machines[group].list()
			lists[id] = l
			if len(lists) == 1 {
				first = l
			}
			same = same && slices.Equal(first, l)
		}
		if same && len(first) >= atLeast {
			return first
		}
		time.Sleep(20 * time.Millisecond)
	}
	for id, l := range lists {
		c.t.Logf("%s: %d entries", id, len(l))
	}
	c.t.Fatalf("group %d: replicas do not agree on %d entries", group, atLeast)
	return nil
}
