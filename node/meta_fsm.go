package node

import (
	"bytes"
	"fmt"
	"io"

	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

// metaFSM runs the control state machine under Raft.
type metaFSM struct {
	store *meta.Store
	// stop ends the node: a replica that cannot apply a command must not go on.
	stop func(error)
}

// Apply applies commands in order. A command that the state machine cannot take
// stops the node; the state stays as it was before it.
func (m *metaFSM) Apply(entries []raftfsm.Entry) []any {
	results := make([]any, len(entries))
	for i, e := range entries {
		result, _, err := m.store.Apply(e.Data, e.Index)
		if err != nil {
			m.stop(fmt.Errorf("control command at index %d: %w", e.Index, err))
			result = &raftfsm.StopError{Err: err}
		}
		results[i] = result
	}
	return results
}

// Snapshot captures the state; it is immutable, so encoding waits until Persist.
func (m *metaFSM) Snapshot() (raftfsm.Snapshot, error) { return metaSnapshot{m.store.State()}, nil }

// Restore replaces the state.
func (m *metaFSM) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return m.store.Restore(b)
}

type metaSnapshot struct{ state *meta.State }

// Persist writes the state.
func (s metaSnapshot) Persist(w io.Writer) error {
	b, err := s.state.Encode()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, bytes.NewReader(b))
	return err
}

// Release has nothing to give up.
func (s metaSnapshot) Release() {}
