package meta

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/levada-stream/levada/internal/fault"
)

// ErrIndexOrder reports a log index that is not above the last one applied.
var ErrIndexOrder = errors.New("meta command applied out of order")

// A Store holds the present State. Apply and Restore are for the one goroutine
// that runs the state machine; everything else may be called from anywhere.
type Store struct {
	state atomic.Pointer[State]

	mu      sync.Mutex    // guards what follows and the replacement of state
	changed chan struct{} // closed at the next version
}

// NewStore returns a store with the empty state.
func NewStore() *Store {
	s := &Store{changed: make(chan struct{})}
	s.state.Store(newState())
	return s
}

// State returns the present state. It never changes; ask again for a newer one.
func (s *Store) State() *State { return s.state.Load() }

// Apply runs one command of the log. The result is a *…Result value of the
// command's type, nil for a command that was ignored, or a *fault.Error that the
// proposer receives. A non-nil err means that this copy cannot go on: the
// replica must stop; the state is as before.
func (s *Store) Apply(data []byte, index uint64) (result any, changed Events, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	base := s.state.Load()
	if index <= base.version {
		return nil, Events{}, fmt.Errorf("%w: index %d, last is %d", ErrIndexOrder, index, base.version)
	}
	c, err := Decode(data)
	if err != nil {
		return nil, Events{}, err
	}
	t := begin(base, index)
	if c != nil {
		if result, err = c.apply(t); err != nil {
			result, t = asFault(err), begin(base, index)
		}
	}
	next, changed := t.finish()
	s.replace(next)
	return result, changed, nil
}

func asFault(err error) *fault.Error {
	if e := fault.As(err); e != nil {
		return e
	}
	return fault.New(fault.Internal, "%w", err)
}

func (s *Store) replace(next *State) {
	s.state.Store(next)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Watch returns a channel that is closed once the state is above version; at
// once if it is already. Read State afterwards: several versions may have passed.
func (s *Store) Watch(version uint64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load().version > version {
		done := make(chan struct{})
		close(done)
		return done
	}
	return s.changed
}

// Snapshot encodes the present state. To encode later what is the state now,
// keep State and call its Encode.
func (s *Store) Snapshot() ([]byte, error) { return s.State().Encode() }

// Restore replaces the state by that of a snapshot. On an error the state is as
// before. Watchers wake whatever the version.
func (s *Store) Restore(snapshot []byte) error {
	next, err := DecodeState(snapshot)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(next)
	return nil
}
