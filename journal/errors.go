package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that the group holds no entry of that index.
	ErrNotFound = errors.New("entry not found")
	// ErrGap says that the entries do not follow the last one of the group.
	ErrGap = errors.New("entries do not follow the last one")
	// ErrTooLarge says that an entry does not fit into a segment.
	ErrTooLarge = errors.New("entry is too large for the journal")
	// ErrClosed is what calls after Close return.
	ErrClosed = errors.New("journal is closed")
	// ErrFailed is what every change returns after a write or sync failed. The cause is wrapped beside it.
	ErrFailed = errors.New("journal stopped after a disk error")
	// ErrCorrupt is what every CorruptError is.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrVersion says that a newer version of the program wrote the journal.
	ErrVersion = errors.New("journal has an unknown format version")
)

// CorruptError says which acknowledged bytes failed their check.
type CorruptError struct {
	Path   string
	Offset int64
	Reason string
}

// Error names the place and what is wrong with it.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal is corrupt: %s at %d: %s", e.Path, e.Offset, e.Reason)
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
