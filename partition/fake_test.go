package partition

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal"
	"github.com/levada-stream/levada/wal/record"
)

// fakeGroup is a Raft group in memory: it commits what is proposed, in order,
// after a delay, and may lose leadership. Its log survives crashes of replicas.
type fakeGroup struct {
	mu      sync.Mutex
	leading bool
	term    uint64
	hint    string
	pending []*fakeFuture
	log     []Entry
	sizes   []int // of the entries proposed
	open    int   // entries whose outcome is not told yet
	deepest int   // the most of them at a time

	delay time.Duration
	wake  chan struct{} // capacity 1: one wake-up covers all that is pending
	ended chan struct{}
	apply func([]Entry) []any
}

type fakeFuture struct {
	head   []byte
	data   []byte
	done   chan struct{}
	result any
	err    error
}

func (f *fakeFuture) Wait() (any, error) {
	<-f.done
	return f.result, f.err
}

func (f *fakeFuture) end(result any, err error) {
	f.result, f.err = result, err
	close(f.done)
}

// newFakeGroup starts a group that leads; stop ends it.
func newFakeGroup(delay time.Duration, apply func([]Entry) []any) *fakeGroup {
	g := &fakeGroup{leading: true, term: 1, delay: delay, apply: apply, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go g.run()
	return g
}

func (g *fakeGroup) Propose(head, data []byte) Future {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := &fakeFuture{head: head, data: data, done: make(chan struct{})}
	if !g.leading {
		f.end(nil, fault.New(fault.NotLeader, "not the leader"))
		return f
	}
	g.pending = append(g.pending, f)
	g.sizes = append(g.sizes, len(data))
	g.open++
	g.deepest = max(g.deepest, g.open)
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return f
}

func (g *fakeGroup) IsLeader() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leading
}

func (g *fakeGroup) Leader() (string, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hint, g.term
}

func (g *fakeGroup) run() {
	defer close(g.ended)
	for range g.wake {
		for g.commitNext() {
		}
	}
}

// commitNext commits and applies what was pending when the delay began.
func (g *fakeGroup) commitNext() bool {
	g.mu.Lock()
	n := len(g.pending)
	g.mu.Unlock()
	if n == 0 {
		return false
	}
	<-time.After(g.delay)
	g.mu.Lock()
	n = min(n, len(g.pending)) // less if leadership was lost meanwhile
	batch := g.pending[:n:n]
	g.pending = g.pending[n:]
	entries := g.commit(batch)
	g.mu.Unlock()
	for i, r := range g.apply(entries) {
		g.tell(batch[i], r, nil)
	}
	return true
}

// commit puts futures into the log. The caller holds mu.
func (g *fakeGroup) commit(futures []*fakeFuture) []Entry {
	entries := make([]Entry, len(futures))
	for i, f := range futures {
		entries[i] = Entry{Index: uint64(len(g.log)) + 1, Term: g.term, Head: f.head, Data: f.data}
		g.log = append(g.log, entries[i])
	}
	return entries
}

// lose ends the leadership: everything pending fails. With kept it was
// replicated all the same and is committed, which its proposer does not learn.
func (g *fakeGroup) lose(hint string, kept bool) {
	g.mu.Lock()
	g.leading, g.hint = false, hint
	g.term++
	lost := g.pending
	g.pending = nil
	var entries []Entry
	if kept {
		entries = g.commit(lost)
	}
	g.mu.Unlock()
	if kept {
		g.apply(entries)
	}
	for _, f := range lost {
		g.tell(f, nil, fault.New(fault.Unavailable, "leadership lost"))
	}
}

func (g *fakeGroup) tell(f *fakeFuture, result any, err error) {
	g.mu.Lock()
	g.open--
	g.mu.Unlock()
	f.end(result, err)
}

func (g *fakeGroup) win() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leading, g.hint = true, ""
	g.term++
}

func (g *fakeGroup) stop() {
	close(g.wake)
	<-g.ended
}

// shardFixture is a replica on a log in memory, led by a fake group.
type shardFixture struct {
	t       testing.TB
	disk    *vfs.Mem
	fs      vfs.FS
	writer  *wal.Writer
	log     *wal.Log
	replica *Replica
	group   *fakeGroup
}

type fixtureOptions struct {
	delay    time.Duration
	segments int64
	disk     *vfs.Mem
	wrap     func(vfs.FS) vfs.FS
	edit     func(*Options)
}

func newShard(t testing.TB, o fixtureOptions) *shardFixture {
	t.Helper()
	s := &shardFixture{t: t, disk: o.disk}
	if s.disk == nil {
		s.disk = vfs.NewMem(1)
	}
	s.fs = s.disk
	if o.wrap != nil {
		s.fs = o.wrap(s.fs)
	}
	s.writer = wal.NewWriter(wal.WriterOptions{CacheBytes: 1 << 20})
	log, err := wal.Open(s.fs, "log", wal.Options{Group: 7, Shard: 3, SegmentBytes: o.segments, Writer: s.writer})
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	opts := Options{Group: 7, StreamID: 5, Shard: 3, Range: hashkey.Full, Log: log}
	if o.edit != nil {
		o.edit(&opts)
	}
	s.replica = NewReplica(opts)
	s.group = newFakeGroup(o.delay, s.replica.Apply)
	s.replica.Attach(s.group)
	return s
}

// close ends everything in the order that Shutdown asks for.
func (s *shardFixture) close() {
	s.replica.Shutdown()
	s.group.stop()
	s.replica.Close()
	if err := s.log.Abandon(); err != nil {
		s.t.Errorf("close log: %v", err)
	}
	if err := s.writer.Close(); err != nil {
		s.t.Errorf("close writer: %v", err)
	}
}

// mustAppend appends and fails the test unless every batch is stored.
func (s *shardFixture) mustAppend(batches ...record.Batch) []AppendResult {
	s.t.Helper()
	results, err := s.replica.Append(context.Background(), batches)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			s.t.Fatalf("batch %d: %v", i, r.Err)
		}
	}
	return results
}

// readAll returns the data of every record that a replica serves.
func readAll(t testing.TB, r *Replica) []string {
	t.Helper()
	var out []string
	for from := r.First(); ; {
		blocks, err := r.Read(context.Background(), from, 1<<20, false)
		if err != nil {
			t.Fatalf("read from %d: %v", from, err)
		}
		if len(blocks) == 0 {
			if from != r.Tail() {
				t.Fatalf("reading ended at %d, tail is %d", from, r.Tail())
			}
			return out
		}
		for _, b := range blocks {
			data := recordData(t, b.Payload...)
			if b.First > from || len(data) != int(b.Count) {
				t.Fatalf("block %d+%d with %d records, read from %d", b.First, b.Count, len(data), from)
			}
			out = append(out, data[from-b.First:]...)
			from = b.End()
		}
	}
}

// snapshotBytes takes and persists a snapshot.
func snapshotBytes(t testing.TB, r *Replica) []byte {
	t.Helper()
	snap, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	var buf bytes.Buffer
	if err := snap.Persist(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func bigBatch(t testing.TB, bytes int) record.Batch {
	return dataBatch(t, "k", strings.Repeat("x", bytes-record.HeaderSize-9))
}

// entryOf returns the entry that carries a command.
func entryOf(index uint64, c Command) Entry {
	head, body := c.Encode()
	return Entry{Index: index, Head: head, Data: body}
}
