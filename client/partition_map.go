package client

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/hashkey"
)

const (
	// shardOpenState is the state text of a shard that owns its keys.
	shardOpenState     = "open"
	defaultRecordBytes = 1 << 20
	defaultDedupWindow = 15 * time.Minute
	// shardClosedState is the state text of a shard that takes no more records.
	shardClosedState = "closed"
	// shardPendingState is the state text of a shard that is to take over from its parents.
	shardPendingState = "pending"
)

// partitionMap is what a stream's shards were at one moment. It is immutable.
type partitionMap struct {
	stream         string
	streamID       uint64
	version        uint64
	fetched        time.Time // when the cluster was asked
	maxRecordBytes uint64    // key included
	dedupWindow    time.Duration
	open           []*shardInfo          // by start of range; they tile the key space
	salted         map[hashkey.Key]uint8 // parts over which the records of a key are spread; nil if there are none
	byNumber       map[uint32]*shardInfo
}

// shardInfo is one shard of a map. It is immutable.
type shardInfo struct {
	number     uint32
	keys       hashkey.Range
	closed     bool
	pending    bool   // it is to take over from its parents
	leaderAddr string // "" if there is no leader
	replicas   []string
	parents    []uint32
	children   []uint32
}

func newPartitionMap(s *levadav1.Stream, shards []*levadav1.Shard, version uint64, now time.Time) (*partitionMap, error) {
	m := &partitionMap{
		stream: s.GetName(), streamID: s.GetId(), version: version, fetched: now,
		maxRecordBytes: defaultRecordBytes, dedupWindow: defaultDedupWindow,
		byNumber: make(map[uint32]*shardInfo, len(shards)),
	}
	if v := s.GetSettings().GetMaxRecordBytes(); v > 0 {
		m.maxRecordBytes = uint64(v)
	}
	if v := s.GetSettings().GetDedupWindowMs(); v > 0 {
		m.dedupWindow = time.Duration(v) * time.Millisecond
	}
	for _, k := range s.GetSaltedKeys() {
		key, err := hashkey.Parse(k.GetHashKey())
		if err != nil {
			return nil, newError(Internal, "map of stream %s: salted key %q: %w", m.stream, k.GetHashKey(), err)
		}
		if m.salted == nil {
			m.salted = map[hashkey.Key]uint8{}
		}
		m.salted[key] = uint8(min(k.GetParts(), saltPartsMax))
	}
	for _, sh := range shards {
		info, err := newShardInfo(sh)
		if err != nil {
			return nil, newError(Internal, "map of stream %s: shard %d: %w", m.stream, sh.GetNumber(), err)
		}
		m.byNumber[info.number] = info
		if sh.GetState() == shardOpenState {
			m.open = append(m.open, info)
		}
	}
	slices.SortFunc(m.open, func(a, b *shardInfo) int { return a.keys.Start.Compare(b.keys.Start) })
	return m, nil
}

func newShardInfo(sh *levadav1.Shard) (*shardInfo, error) {
	start, err := hashkey.Parse(sh.GetHashStart())
	if err != nil {
		return nil, err
	}
	end, err := hashkey.Parse(sh.GetHashEnd())
	if err != nil {
		return nil, err
	}
	info := &shardInfo{
		number: sh.GetNumber(), keys: hashkey.Range{Start: start, End: end}, closed: sh.GetState() == shardClosedState, pending: sh.GetState() == shardPendingState,
		leaderAddr: sh.GetLeaderAddress(), parents: sh.GetParents(), children: sh.GetChildren(),
	}
	for _, r := range sh.GetReplicas() {
		if a := r.GetAddress(); a != "" {
			info.replicas = append(info.replicas, a)
		}
	}
	return info, nil
}

// lookup returns the open shard that owns k, nil if the map has a hole there.
func (m *partitionMap) lookup(k hashkey.Key) *shardInfo {
	i := sort.Search(len(m.open), func(i int) bool { return k.Compare(m.open[i].keys.End) <= 0 })
	if i == len(m.open) || !m.open[i].keys.Contains(k) {
		return nil
	}
	return m.open[i]
}

// tiles reports whether the open shards own each key once.
func (m *partitionMap) tiles() bool {
	var next hashkey.Key
	for i, sh := range m.open {
		if sh.keys.Start != next || (sh.keys.End == hashkey.Max) != (i == len(m.open)-1) {
			return false
		}
		next = sh.keys.End.Next()
	}
	return len(m.open) > 0
}

// ancestors returns the shards that a shard came from, as far back as the map knows.
func (m *partitionMap) ancestors(shard uint32) []uint32 {
	var all []uint32
	for at := []uint32{shard}; len(at) > 0; at = at[1:] {
		sh := m.byNumber[at[0]]
		if sh == nil {
			continue
		}
		for _, p := range sh.parents {
			if !slices.Contains(all, p) {
				all = append(all, p)
				at = append(at, p)
			}
		}
	}
	return all
}

// numbers returns all shard numbers, ascending.
func (m *partitionMap) numbers() []uint32 {
	all := make([]uint32, 0, len(m.byNumber))
	for n := range m.byNumber {
		all = append(all, n)
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}

// addresses returns the nodes that the map names.
func (m *partitionMap) addresses() []string {
	var all []string
	add := func(a string) {
		if a != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, n := range m.numbers() {
		add(m.byNumber[n].leaderAddr)
		for _, a := range m.byNumber[n].replicas {
			add(a)
		}
		if len(all) >= learnedMax {
			break
		}
	}
	return all
}

// mapCache keeps the newest map of each stream in use. Fetches of one stream
// are shared by all who wait for one.
type mapCache struct {
	fetch func(ctx context.Context, stream string) (*partitionMap, error)
	age   time.Duration

	mu      sync.Mutex
	entries map[string]*mapEntry
	closed  bool
	running sync.WaitGroup // fetches: they outlive the calls that start them
}

type mapEntry struct {
	current *partitionMap // nil before the first success
	flight  *mapFetch     // the fetch under way, or nil
	changed time.Time     // a map that is not newer is known to be wrong
}

type mapFetch struct {
	started time.Time
	done    chan struct{} // closed when m and err are set
	cancel  context.CancelFunc
	m       *partitionMap
	err     error
}

func newMapCache(fetch func(context.Context, string) (*partitionMap, error), age time.Duration) *mapCache {
	return &mapCache{fetch: fetch, age: age, entries: map[string]*mapEntry{}}
}

// get returns a map of the stream: the cached one if there is one that is not
// known to be wrong, though it starts to replace it when it is old.
func (c *mapCache) get(ctx context.Context, stream string) (*partitionMap, error) {
	c.mu.Lock()
	e := c.entry(stream)
	m, wrong := e.current, e.changed
	if m == nil || !m.fetched.After(wrong) {
		c.mu.Unlock()
		return c.newer(ctx, stream, wrong)
	}
	if time.Since(m.fetched) >= c.age {
		c.startLocked(stream, e)
	}
	c.mu.Unlock()
	return m, nil
}

// outdate notes that the stream's map changed at the moment given, so that
// nobody is sent where an older one leads.
func (c *mapCache) outdate(stream string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[stream]; e != nil && e.changed.Before(at) {
		e.changed = at
	}
}

// newer returns a map that the cluster was asked for after the moment given,
// which has passed: something failed then that the map of that time led to.
func (c *mapCache) newer(ctx context.Context, stream string, than time.Time) (*partitionMap, error) {
	for first := true; ; first = false {
		c.mu.Lock()
		e := c.entry(stream)
		if e.current != nil && e.current.fetched.After(than) {
			defer c.mu.Unlock()
			return e.current, nil
		}
		f := c.startLocked(stream, e)
		c.mu.Unlock()
		m, err := f.wait(ctx)
		// A fetch that was under way may have asked too early. The one after it has
		// not, whatever the resolution of the clock.
		if err != nil || !first || f.started.After(than) {
			return m, err
		}
	}
}

// close ends the fetches under way and waits for them.
func (c *mapCache) close() {
	c.mu.Lock()
	c.closed = true
	for _, e := range c.entries {
		if e.flight != nil {
			e.flight.cancel()
		}
	}
	c.mu.Unlock()
	c.running.Wait()
}

func (c *mapCache) entry(stream string) *mapEntry {
	e := c.entries[stream]
	if e == nil {
		e = &mapEntry{}
		c.entries[stream] = e
	}
	return e
}

func (c *mapCache) startLocked(stream string, e *mapEntry) *mapFetch {
	if e.flight != nil {
		return e.flight
	}
	f := &mapFetch{started: time.Now(), done: make(chan struct{})}
	if c.closed {
		f.err = closedError("client")
		close(f.done)
		return f
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, e.flight = cancel, f
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer cancel()
		f.m, f.err = c.fetch(ctx, stream)
		c.mu.Lock()
		e.flight = nil
		switch {
		case f.err == nil && (e.current == nil || e.current.streamID != f.m.streamID || f.m.version >= e.current.version):
			e.current = f.m
		case f.err == nil:
			// A node that lags answered. Keep what we know; it is as good as asked again.
			kept := *e.current
			kept.fetched = f.m.fetched
			e.current, f.m = &kept, &kept
		case IsNotFound(f.err):
			delete(c.entries, stream) // names are the caller's: do not collect them
		}
		c.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (f *mapFetch) wait(ctx context.Context) (*partitionMap, error) {
	select {
	case <-f.done:
		return f.m, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
