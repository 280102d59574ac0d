package raftfsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// metaStore is the meta group's log and stable store: a raft-boltdb file whose failures stop the
// group where the library alone would panic.
type metaStore struct {
	*raftboltdb.BoltStore
	fatal    func(error)
	snapshot func() (index, term uint64) // see logStore
	running  atomic.Bool
	leading  atomic.Bool
}

// StartMeta starts the meta group, whose entries, term and vote are in a raft-boltdb file of their own.
func (h *Host) StartMeta(o GroupOptions) (*Group, error) {
	db, err := raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(h.o.BoltDir, "meta.db"),
		BoltOptions: &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true},
	})
	if err != nil {
		return nil, fmt.Errorf("meta group: %w", err)
	}
	s := &metaStore{BoltStore: db, fatal: h.Fail}
	g, err := h.startGroup(o, stores{logs: s, stable: s, running: &s.running, leading: &s.leading})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	h.mu.Lock()
	h.meta = s
	h.mu.Unlock()
	return g, nil
}

// closeMeta closes the meta group's file, if it is open.
func (h *Host) closeMeta() error {
	h.mu.Lock()
	s := h.meta
	h.meta = nil
	h.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// GetLog implements raft.LogStore.
func (s *metaStore) GetLog(index uint64, l *raft.Log) error {
	err := s.BoltStore.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		if at, term := s.snapshot(); index == at && at != 0 && !s.leading.Load() { // see logStore.GetLog
			*l = raft.Log{Index: at, Term: term, Type: raft.LogNoop}
			return nil
		}
	}
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && s.running.Load() {
		s.fatal(fmt.Errorf("read entry %d of the meta group: %w", index, err))
		runtime.Goexit() // see logStore.GetLog
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *metaStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *metaStore) StoreLogs(logs []*raft.Log) error {
	err := s.BoltStore.StoreLogs(logs)
	if err != nil {
		s.fatal(fmt.Errorf("append to the meta group: %w", err))
	}
	return err
}

// SetUint64 implements raft.StableStore.
func (s *metaStore) SetUint64(key []byte, value uint64) error {
	err := s.BoltStore.SetUint64(key, value)
	if err != nil && s.running.Load() {
		s.fatal(fmt.Errorf("store %s of the meta group: %w", key, err))
		if string(key) == keyTerm {
			runtime.Goexit() // see groupStable.SetUint64
		}
	}
	return err
}
