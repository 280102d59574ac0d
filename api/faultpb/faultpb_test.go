package faultpb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
)

func TestEveryKindCrosses(t *testing.T) {
	codesSeen := map[levadav1.Kind]bool{}
	for k := fault.Internal; k <= fault.LimitReached; k++ {
		in := &fault.Error{
			Kind: k, Message: "m " + k.String(), Field: "data", Limit: 7, LeaderNode: "n", LeaderAddr: "a:1",
			Successors: []uint32{3, 4}, RetryAfter: 250 * time.Millisecond,
		}
		st := Status(fmt.Errorf("outer: %w", in))
		if c := status.Code(st); c == codes.OK || c == codes.Unknown {
			t.Errorf("%s: code %s", k, c)
		}
		// Over a real wire the status is marshalled.
		b, err := proto.Marshal(status.Convert(st).Proto())
		if err != nil {
			t.Fatal(err)
		}
		p := status.Convert(st).Proto()
		proto.Reset(p)
		if err := proto.Unmarshal(b, p); err != nil {
			t.Fatal(err)
		}
		want := *in
		want.Message = "outer: m " + k.String()
		got := fault.As(FromStatus(status.ErrorProto(p)))
		if d := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(fault.Error{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", k, d)
		}
		codesSeen[ToProto(in).GetKind()] = true
	}
	if len(codesSeen) != len(levadav1.Kind_name) {
		t.Errorf("%d wire kinds are in use, the API has %d", len(codesSeen), len(levadav1.Kind_name))
	}
}

func TestNilAndForeign(t *testing.T) {
	if ToProto(nil) != nil || FromProto(nil) != nil || Status(nil) != nil || FromStatus(nil) != nil {
		t.Error("nil is not nil")
	}
	if got := FromStatus(io.EOF); got != io.EOF {
		t.Errorf("EOF became %v", got)
	}
	plain := errors.New("disk on fire")
	if fault.KindOf(FromStatus(Status(plain))) != fault.Internal {
		t.Error("a plain error is not internal")
	}
	if got := FromProto(&levadav1.Error{Kind: 99, Message: "later"}); got.Kind != fault.Internal || got.Message != "later" {
		t.Errorf("unknown kind: %+v", got)
	}
	if m := ToProto(fault.New(fault.Kind(77), "x")); m.GetKind() != levadav1.Kind_KIND_INTERNAL {
		t.Errorf("kind out of range: %v", m)
	}
	kept := status.Error(codes.Unimplemented, "no such method")
	if Status(kept) != kept {
		t.Error("a status was rewrapped")
	}
	bad := Status(fault.New(fault.Invalid, "key %s", string([]byte{0xff})))
	if _, err := proto.Marshal(status.Convert(bad).Proto()); err != nil {
		t.Errorf("bytes of a key in a message: %v", err)
	}
	if len(status.Convert(bad).Details()) != 1 {
		t.Error("detail lost for a message that is not UTF-8")
	}
}

func TestContextEndsStayVisible(t *testing.T) {
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		err := FromStatus(Status(fmt.Errorf("append: %w", want)))
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%v is %s", want, fault.KindOf(err))
		}
		bare := FromStatus(status.FromContextError(want).Err())
		if !errors.Is(bare, want) || fault.KindOf(bare) != fault.Unavailable {
			t.Errorf("%v lost: %v", want, bare)
		}
	}
}

func TestBareStatus(t *testing.T) {
	for _, c := range []struct {
		code codes.Code
		msg  string
		want fault.Kind
	}{
		{codes.Unavailable, "connection refused", fault.Unavailable},
		{codes.ResourceExhausted, "too many streams", fault.Throttled},
		{codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", fault.TooLarge},
		{codes.Unimplemented, "unknown method", fault.Invalid},
		{codes.Unauthenticated, "no token", fault.Denied},
		{codes.NotFound, "", fault.NotFound},
		{codes.AlreadyExists, "", fault.Conflict},
		{codes.DataLoss, "", fault.Corrupt},
		{codes.Aborted, "", fault.Unavailable},
		{codes.FailedPrecondition, "", fault.Unavailable},
		{codes.InvalidArgument, "", fault.Invalid},
		{codes.Internal, "", fault.Internal},
		{codes.Unknown, "", fault.Internal},
	} {
		err := FromStatus(status.Error(c.code, c.msg))
		if fault.KindOf(err) != c.want || err.Error() != c.msg {
			t.Errorf("%s %q: %s %q, want %s", c.code, c.msg, fault.KindOf(err), err, c.want)
		}
	}
}

func TestRetryHintRoundsUp(t *testing.T) {
	for d, want := range map[time.Duration]uint32{0: 0, -5: 0, 1: 1, time.Millisecond: 1, 1500 * time.Microsecond: 2, 1 << 62: 4294967295} {
		if got := millis(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}
