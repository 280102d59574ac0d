package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

// Kind says what a caller can do about an error.
type Kind = fault.Kind

// The kinds of error.
const (
	Internal      = fault.Internal      // the service failed; the outcome is unknown
	Invalid       = fault.Invalid       // a bad argument
	NotFound      = fault.NotFound      // no such stream, shard or record
	Conflict      = fault.Conflict      // contradicts what exists
	TooLarge      = fault.TooLarge      // beyond a limit
	Throttled     = fault.Throttled     // no room or rate now; nothing was done
	NotLeader     = fault.NotLeader     // another node leads the shard
	ShardClosed   = fault.ShardClosed   // the shard takes no more records
	Unavailable   = fault.Unavailable   // no answer from the cluster now
	Corrupt       = fault.Corrupt       // bytes failed their check
	Denied        = fault.Denied        // not allowed
	StaleProducer = fault.StaleProducer // the producer session is no longer known
	LimitReached  = fault.LimitReached  // as many as there may be; nothing was done
)

// Error is every error that the cluster or this package reports, apart from
// ended contexts, io.EOF and *Gap.
type Error struct {
	Kind       Kind
	Message    string
	Field      string        // Invalid, TooLarge: the argument at fault; LimitReached: what there are too many of
	Limit      uint64        // Invalid, TooLarge, LimitReached: the limit passed, 0 if there is none
	LeaderNode string        // NotLeader: the node that leads, "" if unknown
	LeaderAddr string        // NotLeader: its address, "" if unknown
	Successors []uint32      // ShardClosed: the shards that took over
	RetryAfter time.Duration // Throttled: a hint, 0 if there is none

	// MaybeWritten says that a failed write may nevertheless be stored, now or
	// shortly: an attempt was sent and its outcome never learned. When it is
	// false the write is not stored and never will be.
	MaybeWritten bool

	cause error
}

// Error returns the message, with a word about an unknown outcome.
func (e *Error) Error() string {
	if e.MaybeWritten {
		return e.Message + " (it may have been written)"
	}
	return e.Message
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// ErrClosed reports the use of a closed client, producer or reader.
var ErrClosed = errors.New("closed")

func closedError(what string) *Error {
	return &Error{Kind: Invalid, Message: what + " is closed", cause: ErrClosed}
}

func newError(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Message: err.Error(), cause: errors.Unwrap(err)}
}

// asError turns any error of a call or of a lower layer into an *Error; nil stays nil.
func asError(err error) *Error {
	if err == nil {
		return nil
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	if inv := (*record.InvalidError)(nil); errors.As(err, &inv) {
		kind := Invalid
		if inv.Limit != 0 {
			kind = TooLarge
		}
		return &Error{Kind: kind, Message: inv.Error(), Field: inv.Field, Limit: inv.Limit, cause: err}
	}
	err = faultpb.FromStatus(err)
	f := fault.As(err)
	if f == nil {
		return &Error{Kind: Internal, Message: err.Error(), cause: err}
	}
	return &Error{
		Kind: f.Kind, Message: f.Message, Field: f.Field, Limit: f.Limit, LeaderNode: f.LeaderNode, LeaderAddr: f.LeaderAddr,
		Successors: slices.Clone(f.Successors), RetryAfter: f.RetryAfter, cause: err,
	}
}

// maybeWritten returns a copy of e that says that the outcome is unknown.
func (e *Error) maybeWritten() *Error {
	c := *e
	c.MaybeWritten = true
	return &c
}

// KindOf returns the kind of err, Internal if it has none.
func KindOf(err error) Kind {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Kind
	}
	return fault.KindOf(err)
}

// MaybeWritten reports whether the write that failed with err may be stored all the same.
func MaybeWritten(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && e.MaybeWritten
}

// IsNotFound reports whether err says that something does not exist.
func IsNotFound(err error) bool { return isKind(err, NotFound) }

// IsInvalid reports whether err is about a bad argument.
func IsInvalid(err error) bool { return isKind(err, Invalid) }

// IsConflict reports whether err is about a contradiction with what exists.
func IsConflict(err error) bool { return isKind(err, Conflict) }

// IsTooLarge reports whether err is about a limit on a size.
func IsTooLarge(err error) bool { return isKind(err, TooLarge) }

// IsThrottled reports whether err asks to come back later.
func IsThrottled(err error) bool { return isKind(err, Throttled) }

// IsUnavailable reports whether the cluster gave no answer.
func IsUnavailable(err error) bool { return isKind(err, Unavailable) }

// IsShardClosed reports whether err says that the shard takes no more records.
func IsShardClosed(err error) bool { return isKind(err, ShardClosed) }

// IsDenied reports whether err is a refusal for lack of rights.
func IsDenied(err error) bool { return isKind(err, Denied) }

// IsLimitReached reports whether err says that there are as many of something as there may be.
func IsLimitReached(err error) bool { return isKind(err, LimitReached) }

func isKind(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// refusal reports whether a kind is the service's last word about one request:
// nothing was done, and the same bytes will never be taken.
func refusal(k Kind) bool {
	switch k {
	case Invalid, NotFound, Conflict, TooLarge, Denied, LimitReached:
		return true
	}
	return false
}
