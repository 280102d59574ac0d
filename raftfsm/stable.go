package raftfsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// StableStore keeps the few values of each group that must survive a crash before a vote or a
// term counts. All groups of a node share one.
type StableStore interface {
	// Get returns a group's value of a key; ok is false if there is none.
	Get(group uint64, key string) (value []byte, ok bool)
	// Set stores values of a group, all or none, durably.
	Set(group uint64, values map[string][]byte) error
	// Delete durably forgets a group.
	Delete(group uint64) error
	// Groups lists the groups that have values.
	Groups() []uint64
	// Close releases the store.
	Close() error
}

var stableBucket = []byte("raft")

// errNotFound has the text that the library looks for.
var errNotFound = errors.New("not found")

// boltStable is a StableStore in one bbolt file. Writes that come while a transaction is being
// synced share the next one: at a restart a thousand groups elect at once, and one transaction
// per value would take longer than their election timeouts (BenchmarkStableElections: 6.1 s with
// raft-boltdb, 0.19 s here). Values are small, so all are in memory.
type boltStable struct {
	db *bbolt.DB

	mu         sync.Mutex
	values     map[string][]byte // what is durable, by prefixed key
	waiting    []*stableWrite
	committing bool
	err        error // a failure is final
}

// stableWrite is one caller's change: nil values delete.
type stableWrite struct {
	values map[string][]byte
	done   chan error
}

// OpenStable opens or creates the stable store in a directory of the operating system's file system.
func OpenStable(dir string) (StableStore, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "stable.db"), 0o600, &bbolt.Options{
		Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
	})
	if err != nil {
		return nil, fmt.Errorf("stable store: %w", err)
	}
	s := &boltStable{db: db, values: map[string][]byte{}}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(stableBucket)
		if err != nil {
			return err
		}
		return b.ForEach(func(k, v []byte) error {
			if len(k) < 8 {
				return fmt.Errorf("key of %d bytes", len(k))
			}
			s.values[string(k)] = bytes.Clone(v)
			return nil
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stable store: %w", err), db.Close())
	}
	return s, nil
}

func stableKey(group uint64, key string) string {
	return string(binary.BigEndian.AppendUint64(nil, group)) + key
}

// Get implements StableStore.
func (s *boltStable) Get(group uint64, key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[stableKey(group, key)]
	return v, ok
}

// Set implements StableStore. What is there already costs nothing.
func (s *boltStable) Set(group uint64, values map[string][]byte) error {
	w := &stableWrite{values: make(map[string][]byte, len(values)), done: make(chan error, 1)}
	s.mu.Lock()
	for k, v := range values {
		k = stableKey(group, k)
		if old, ok := s.values[k]; !ok || !bytes.Equal(old, v) {
			w.values[k] = append([]byte{}, v...)
		}
	}
	return s.write(w)
}

// Delete implements StableStore.
func (s *boltStable) Delete(group uint64) error {
	w := &stableWrite{values: map[string][]byte{}, done: make(chan error, 1)}
	prefix := stableKey(group, "")
	s.mu.Lock()
	for k := range s.values {
		if k[:8] == prefix {
			w.values[k] = nil
		}
	}
	return s.write(w)
}

// write queues a change and waits for it; the first who comes writes for all who wait. Called with mu held; releases it.
func (s *boltStable) write(w *stableWrite) error {
	if s.err != nil || len(w.values) == 0 {
		defer s.mu.Unlock()
		return s.err
	}
	s.waiting = append(s.waiting, w)
	if s.committing {
		s.mu.Unlock()
		return <-w.done
	}
	s.committing = true
	for len(s.waiting) > 0 {
		batch := s.waiting
		s.waiting = nil
		err := s.err
		s.mu.Unlock()
		if err == nil {
			err = s.commit(batch)
		}
		s.mu.Lock()
		if err != nil {
			s.err = err
		} else {
			for _, b := range batch {
				s.remember(b.values)
			}
		}
		for _, b := range batch {
			b.done <- err
		}
	}
	s.committing = false
	s.mu.Unlock()
	return <-w.done
}

func (s *boltStable) remember(values map[string][]byte) {
	for k, v := range values {
		if v == nil {
			delete(s.values, k)
		} else {
			s.values[k] = v
		}
	}
}

func (s *boltStable) commit(batch []*stableWrite) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(stableBucket)
		for _, w := range batch {
			for _, k := range slices.Sorted(maps.Keys(w.values)) {
				var err error
				if v := w.values[k]; v == nil {
					err = b.Delete([]byte(k))
				} else {
					err = b.Put([]byte(k), v)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Groups implements StableStore.
func (s *boltStable) Groups() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[uint64]struct{}{}
	for k := range s.values {
		seen[binary.BigEndian.Uint64([]byte(k[:8]))] = struct{}{}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Close implements StableStore.
func (s *boltStable) Close() error { return s.db.Close() }

// The library's names of its values.
const (
	keyTerm     = "CurrentTerm"
	keyVoteTerm = "LastVoteTerm"
	keyVoteFor  = "LastVoteCand"
)

// groupStable is one group's part of the stable store: the library's raft.StableStore. The
// library uses it from one goroutine.
type groupStable struct {
	store StableStore
	group uint64
	fatal func(error)
	// running is set when NewRaft is done.
	running func() bool

	mu sync.Mutex
	// voteTerm is held back until the candidate it goes with is stored: the library writes the
	// two one after the other, and one transaction is cheaper and cannot be torn. A vote counts
	// only after the second, so what is lost with the first alone was never a vote.
	voteTerm []byte
}

var _ raft.StableStore = (*groupStable)(nil)

// Set implements raft.StableStore.
func (s *groupStable) Set(key, value []byte) error {
	values := map[string][]byte{string(key): value}
	s.mu.Lock()
	if string(key) == keyVoteFor && s.voteTerm != nil {
		values[keyVoteTerm] = s.voteTerm
		s.voteTerm = nil
	}
	s.mu.Unlock()
	if err := s.store.Set(s.group, values); err != nil {
		err = fmt.Errorf("store %s of group %d: %w", key, s.group, err)
		s.fatal(err)
		return err
	}
	return nil
}

// Get implements raft.StableStore.
func (s *groupStable) Get(key []byte) ([]byte, error) {
	v, ok := s.store.Get(s.group, string(key))
	if !ok {
		return nil, errNotFound
	}
	return bytes.Clone(v), nil
}

// SetUint64 implements raft.StableStore.
func (s *groupStable) SetUint64(key []byte, value uint64) error {
	v := binary.BigEndian.AppendUint64(nil, value)
	if string(key) == keyVoteTerm {
		s.mu.Lock()
		s.voteTerm = v
		s.mu.Unlock()
		return nil
	}
	err := s.Set(key, v)
	if err != nil && string(key) == keyTerm && s.running() {
		// The library panics if it cannot store its term. The group is being stopped; ending
		// this goroutine of its is what a shutdown does.
		runtime.Goexit()
	}
	return err
}

// GetUint64 implements raft.StableStore.
func (s *groupStable) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("value %s of group %d has %d bytes", key, s.group, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}
