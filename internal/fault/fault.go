// Package fault holds the kinds of error that cross a boundary of the program.
//
// A kind says what a caller can do about an error; front doors map kinds to
// their own codes in one place each. Code inside a package uses plain errors
// and wraps them into a fault where they leave it. The package does no I/O.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind classifies an error by what the caller can do about it.
type Kind uint8

const (
	// Internal is a failure of the service itself. Not the caller's fault; the outcome is unknown.
	Internal Kind = iota
	// Invalid is a bad argument: it will never work as it is.
	Invalid
	// NotFound names a stream, shard, node or record that does not exist.
	NotFound
	// Conflict is an argument that contradicts the present state: a name in
	// use with other settings, a producer sequence out of order.
	Conflict
	// TooLarge is a record, key or batch beyond its limit.
	TooLarge
	// Throttled is a refusal for lack of room or rate; nothing was done; try again later.
	Throttled
	// NotLeader says another node leads the shard; nothing was done here.
	NotLeader
	// ShardClosed says the shard takes no more records; its successors do.
	ShardClosed
	// Unavailable says no majority or no leader now, or that the outcome is unknown; try again.
	Unavailable
	// Corrupt says stored bytes failed their check.
	Corrupt
	// Denied says the caller may not do this.
	Denied
	// StaleProducer says the producer session is unknown or its sequence
	// number is not the next one; open a new session or resend in order.
	StaleProducer
	// LimitReached says the cluster, or a node, holds as many of something as it may. Nothing was
	// done, and nothing will be until some are gone or the limit is raised.
	LimitReached
)

var kindNames = [...]string{
	"internal", "invalid", "not_found", "conflict", "too_large", "throttled", "not_leader",
	"shard_closed", "unavailable", "corrupt", "denied", "stale_producer", "limit_reached",
}

// String returns the kind's name in snake case, stable across versions.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind_%d", k)
}

// Error is an error with a kind. Only the fields that its kind speaks of are set.
type Error struct {
	Kind    Kind
	Message string // one sentence for a person, saying what to do next where that helps
	Field   string // the argument at fault, for Invalid and TooLarge; what there are too many of, for LimitReached
	Limit   uint64 // the limit that was passed, 0 if there is none

	LeaderNode string        // NotLeader: id of the node that leads, "" if unknown
	LeaderAddr string        // NotLeader: its client address, "" if unknown
	Successors []uint32      // ShardClosed: shards that took over
	RetryAfter time.Duration // Throttled: a hint, 0 if there is none

	cause error // what Unwrap returns; its text is part of Message already
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// New returns an error of kind k. The format may wrap a cause with %w.
func New(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: err.Error(), cause: errors.Unwrap(err)}
}

// InvalidField returns an Invalid error about one argument.
func InvalidField(field, format string, args ...any) *Error {
	e := New(Invalid, format, args...)
	e.Field = field
	return e
}

// TooLargeField returns a TooLarge error about one argument and its limit.
func TooLargeField(field string, limit uint64, format string, args ...any) *Error {
	e := New(TooLarge, format, args...)
	e.Field, e.Limit = field, limit
	return e
}

// LimitField returns a LimitReached error about what there are too many of.
func LimitField(field string, limit uint64, format string, args ...any) *Error {
	e := New(LimitReached, format, args...)
	e.Field, e.Limit = field, limit
	return e
}

// KindOf returns the kind of the first Error in err's chain, Internal if there is none.
func KindOf(err error) Kind {
	if e := As(err); e != nil {
		return e.Kind
	}
	return Internal
}

// As returns the first Error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Retryable reports whether the same call can succeed later or elsewhere.
func (k Kind) Retryable() bool {
	switch k {
	case Throttled, NotLeader, Unavailable:
		return true
	}
	return false
}
