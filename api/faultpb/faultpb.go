// Package faultpb converts the program's errors to and from their wire form:
// the Error message of the native API, alone (in-band) or as the detail of a
// gRPC status.
//
// The conversion keeps kind, message, field, limit, hints and successors; it
// drops the chain of causes, which is the sender's business. Both directions
// are total: every error becomes a message, and every status, whoever made it,
// becomes an error with a kind. The package does no I/O and keeps no state.
package faultpb

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
)

// kinds pairs every kind with its wire value and the gRPC code that stands for
// it. The index is the fault.Kind.
var kinds = [...]struct {
	wire levadav1.Kind
	code codes.Code
}{
	fault.Internal:      {levadav1.Kind_KIND_INTERNAL, codes.Internal},
	fault.Invalid:       {levadav1.Kind_KIND_INVALID, codes.InvalidArgument},
	fault.NotFound:      {levadav1.Kind_KIND_NOT_FOUND, codes.NotFound},
	fault.Conflict:      {levadav1.Kind_KIND_CONFLICT, codes.AlreadyExists},
	fault.TooLarge:      {levadav1.Kind_KIND_TOO_LARGE, codes.OutOfRange},
	fault.Throttled:     {levadav1.Kind_KIND_THROTTLED, codes.ResourceExhausted},
	fault.NotLeader:     {levadav1.Kind_KIND_NOT_LEADER, codes.FailedPrecondition},
	fault.ShardClosed:   {levadav1.Kind_KIND_SHARD_CLOSED, codes.FailedPrecondition},
	fault.Unavailable:   {levadav1.Kind_KIND_UNAVAILABLE, codes.Unavailable},
	fault.Corrupt:       {levadav1.Kind_KIND_CORRUPT, codes.DataLoss},
	fault.Denied:        {levadav1.Kind_KIND_DENIED, codes.PermissionDenied},
	fault.StaleProducer: {levadav1.Kind_KIND_STALE_PRODUCER, codes.Aborted},
	fault.LimitReached:  {levadav1.Kind_KIND_LIMIT_REACHED, codes.ResourceExhausted},
}

// ToProto returns the wire form of err, nil for nil. An error without a kind is
// internal, except that an ended context is unavailable: its outcome is unknown.
func ToProto(err error) *levadav1.Error {
	if err == nil {
		return nil
	}
	f := fault.As(err)
	if f == nil {
		kind := fault.Internal
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			kind = fault.Unavailable
		}
		f = &fault.Error{Kind: kind}
	}
	return &levadav1.Error{
		Kind:          wireKind(f.Kind),
		Message:       strings.ToValidUTF8(err.Error(), "\uFFFD"), // a wrapper's text says where; a key's bytes may be anything
		Field:         strings.ToValidUTF8(f.Field, "\uFFFD"),
		Limit:         f.Limit,
		LeaderNode:    f.LeaderNode,
		LeaderAddress: f.LeaderAddr,
		Successors:    f.Successors,
		RetryAfterMs:  millis(f.RetryAfter),
	}
}

// FromProto returns the error that m stands for, nil for nil. A kind that this
// version does not know is internal.
func FromProto(m *levadav1.Error) *fault.Error {
	if m == nil {
		return nil
	}
	return &fault.Error{
		Kind:       kindOf(m.GetKind()),
		Message:    m.GetMessage(),
		Field:      m.GetField(),
		Limit:      m.GetLimit(),
		LeaderNode: m.GetLeaderNode(),
		LeaderAddr: m.GetLeaderAddress(),
		Successors: m.GetSuccessors(),
		RetryAfter: time.Duration(m.GetRetryAfterMs()) * time.Millisecond,
	}
}

// Status returns err as a gRPC status with the wire form as its detail, nil for
// nil. A status passes unchanged if it has no fault in its chain.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok && fault.As(err) == nil {
		return err
	}
	m := ToProto(err)
	st := status.New(code(err, m), m.GetMessage())
	if with, detailErr := st.WithDetails(m); detailErr == nil {
		st = with // only an OK status refuses details, and no kind maps to OK
	}
	return st.Err()
}

func code(err error, m *levadav1.Error) codes.Code {
	if fault.As(err) == nil {
		switch {
		case errors.Is(err, context.Canceled):
			return codes.Canceled
		case errors.Is(err, context.DeadlineExceeded):
			return codes.DeadlineExceeded
		}
	}
	return kinds[kindOf(m.GetKind())].code
}

// FromStatus returns the error that a gRPC call's error stands for: from the
// detail if there is one, else from the code, as gRPC itself makes them. nil,
// io.EOF and errors that are no status pass unchanged. An ended context stays
// visible to errors.Is.
func FromStatus(err error) error {
	if err == nil || err == io.EOF || fault.As(err) != nil { //nolint:errorlint // a wrapped EOF is something else
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range st.Details() {
		if m, ok := d.(*levadav1.Error); ok {
			return FromProto(m)
		}
	}
	switch st.Code() {
	case codes.Canceled:
		return fault.New(fault.Unavailable, "%s: %w", st.Message(), context.Canceled)
	case codes.DeadlineExceeded:
		return fault.New(fault.Unavailable, "%s: %w", st.Message(), context.DeadlineExceeded)
	}
	return &fault.Error{Kind: bareKind(st), Message: st.Message()}
}

// bareKind reads a status without detail: from gRPC itself, a proxy, or another service.
func bareKind(st *status.Status) fault.Kind {
	switch st.Code() {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return fault.Invalid
	case codes.NotFound:
		return fault.NotFound
	case codes.AlreadyExists:
		return fault.Conflict
	case codes.ResourceExhausted:
		// gRPC reports a message over the size limit with the same code as overload.
		if strings.Contains(st.Message(), "larger than max") {
			return fault.TooLarge
		}
		return fault.Throttled
	case codes.PermissionDenied, codes.Unauthenticated:
		return fault.Denied
	case codes.DataLoss:
		return fault.Corrupt
	case codes.Unavailable, codes.Aborted, codes.FailedPrecondition:
		return fault.Unavailable
	}
	return fault.Internal
}

func wireKind(k fault.Kind) levadav1.Kind {
	if int(k) < len(kinds) {
		return kinds[k].wire
	}
	return levadav1.Kind_KIND_INTERNAL
}

func kindOf(w levadav1.Kind) fault.Kind {
	for k := range kinds {
		if kinds[k].wire == w {
			return fault.Kind(k)
		}
	}
	return fault.Internal
}

// millis rounds up, so that a hint of less than a millisecond stays a hint.
func millis(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min((d+time.Millisecond-1)/time.Millisecond, math.MaxUint32))
}
