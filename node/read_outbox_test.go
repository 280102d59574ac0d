package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/partition"
)

// slowReader takes a page whenever the test lets it.
type slowReader struct {
	grpc.ServerStream
	take chan error
}

// Send implements pb.Streams_ReadServer.
func (s *slowReader) Send(*pb.ReadResponse) error { return <-s.take }

func pageOf(n int) *pb.ReadResponse {
	return &pb.ReadResponse{Blocks: []*pb.Block{{Payload: make([]byte, n)}}}
}

func TestOutboxCountsAPageUntilTheNextIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := partition.NewBudget(100)
		call := &slowReader{take: make(chan error, 1)}
		o := outbox{call: call, budget: b, stall: time.Minute}
		used := func(want int64, when string) {
			t.Helper()
			if got := b.Used(); got != want {
				t.Errorf("%s: %d bytes count, want %d", when, got, want)
			}
		}
		if err := o.reserve(t.Context(), 40); err != nil {
			t.Fatal(err)
		}
		used(40, "reserved")
		call.take <- nil
		if err := o.send(pageOf(30)); err != nil {
			t.Fatal(err)
		}
		used(30, "sent, in the transport's buffers")
		if err := o.reserve(t.Context(), 40); err != nil {
			t.Fatal(err)
		}
		used(70, "the next reserved")
		other := outbox{call: call, budget: b, stall: time.Minute}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := other.reserve(ctx, 40); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("reserve without room: %v", err)
		}
		cancel()
		go func() {
			time.Sleep(time.Second)
			call.take <- nil
		}()
		done := make(chan error)
		go func() { done <- other.reserve(t.Context(), 40) }()
		if err := o.send(pageOf(50)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		used(90, "the first was taken, which made room")
		other.close()
		o.close()
		used(0, "closed")
	})
}

func TestOutboxGivesUpAReaderThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := partition.NewBudget(100)
		call := &slowReader{take: make(chan error, 1)}
		o := outbox{call: call, budget: b, stall: time.Minute}
		start := time.Now()
		if err := o.send(pageOf(30)); fault.KindOf(err) != fault.Unavailable || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		o.close()
		if b.Used() != 0 {
			t.Errorf("%d bytes still count", b.Used())
		}
		call.take <- errors.New("the call has ended") // what lets the sender go
	})
}
