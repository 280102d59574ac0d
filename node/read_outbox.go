package node

import (
	"context"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/partition"
)

// readStallMax is how long a reader may leave a page untaken. It holds memory
// of the node that others wait for, and loses nothing when it comes back.
const readStallMax = time.Minute

// outbox sends the pages of one call within the node's budget for readers.
//
// Send returns when the page before has left the transport's buffers, not the
// page it was given: so a page counts until the next one is sent.
type outbox struct {
	call   pb.Streams_ReadServer
	budget *partition.Budget
	stall  time.Duration
	held   int64 // of the page that was sent last
	taken  int64 // of the page to come
}

// reserve waits until there is room for a page of n bytes.
func (o *outbox) reserve(ctx context.Context, n int64) error {
	for {
		room := o.budget.Room() // before the attempt, so that no release is missed
		if o.budget.TryAcquire(n) {
			o.taken += n
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send sends a page. Its bytes count from here on, whatever was reserved.
func (o *outbox) send(page *pb.ReadResponse) error {
	size := int64(0)
	for _, b := range page.GetBlocks() {
		size += int64(len(b.GetPayload()))
	}
	o.budget.Adjust(size - o.taken)
	o.taken = size
	sent := make(chan error, 1)
	go func() { sent <- o.call.Send(page) }() // ends with the call at the latest
	timer := time.NewTimer(o.stall)
	defer timer.Stop()
	select {
	case err := <-sent:
		o.budget.Adjust(-o.held)
		o.held, o.taken = size, 0
		return err
	case <-timer.C:
		return fault.New(fault.Unavailable, "the reader has taken nothing for %v; it may go on from its position with another call", o.stall)
	}
}

// close gives back what the call held.
func (o *outbox) close() {
	o.budget.Adjust(-o.held - o.taken)
	o.held, o.taken = 0, 0
}
