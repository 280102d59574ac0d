package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt reports stored or shipped bytes that fail their check; the detail is a *CorruptError.
	ErrCorrupt = errors.New("shard log is corrupt")
	// ErrFailed reports a log whose disk failed; it takes nothing more until it is opened again.
	ErrFailed = errors.New("shard log has failed")
	// ErrClosed reports a call on a closed log or writer.
	ErrClosed = errors.New("shard log is closed")
	// ErrTrimmed reports a read below the first record; the detail is a *TrimmedError.
	ErrTrimmed = errors.New("records are no longer in the log")
	// ErrShort reports that the log ends below a position that it should hold.
	ErrShort = errors.New("shard log ends below the position")
	// ErrDiverged reports that the log holds other records than a position says.
	ErrDiverged = errors.New("shard log differs from the position")
	// ErrOrder reports a block that does not follow the last one.
	ErrOrder = errors.New("block is out of order")
	// ErrVersion reports a segment written in a format that this program does not know.
	ErrVersion = errors.New("segment has an unknown format version")
)

// CorruptError says where bytes failed their check. It unwraps to ErrCorrupt.
type CorruptError struct {
	Path   string // file, or "" for bytes that were shipped
	Offset int64  // of the block or page at fault
	Reason string
}

// Error returns the place and the reason.
func (e *CorruptError) Error() string {
	path := e.Path
	if path == "" {
		path = "shipped blocks"
	}
	return fmt.Sprintf("%s is corrupt at byte %d: %s", path, e.Offset, e.Reason)
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// TrimmedError says from where on records are still there. It unwraps to ErrTrimmed.
type TrimmedError struct {
	First uint64 // first ordinal that can be read
}

// Error says which record is the first.
func (e *TrimmedError) Error() string {
	return fmt.Sprintf("%v: the first is %d", ErrTrimmed, e.First)
}

// Unwrap returns ErrTrimmed.
func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

func corrupt(path string, off int64, format string, args ...any) error {
	return &CorruptError{Path: path, Offset: off, Reason: fmt.Sprintf(format, args...)}
}
