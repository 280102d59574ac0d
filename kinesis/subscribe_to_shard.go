package kinesis

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

type subscribeToShardInput struct {
	consumerRef
	ShardId          *string           `is:"required;len=1:128;match=shardId"`
	StartingPosition *startingPosition `is:"required"`
	StreamId         *string           `is:"len=1:24"`
	DryRun           *bool
}

const (
	// subscriptionLife is how long a subscription lasts.
	subscriptionLife = 5 * time.Minute
	// heartbeatEvery is how long a subscription is silent at most. Clients give up after ten seconds.
	heartbeatEvery = 4 * time.Second
	// eventBytesMax bounds the data of one event, apart from the first record in it.
	eventBytesMax = 1 << 20
	// eventTimeout is how long an event may take to be taken.
	eventTimeout = 30 * time.Second
	typeEvents   = "application/vnd.amazon.eventstream"
)

// subscribeToShard pushes the records of a shard to a registered consumer, each as soon as it is stored.
func subscribeToShard() operation {
	return operation{name: "SubscribeToShard", bodyMax: controlBodyMax, streams: true, run: func(ctx context.Context, s *Server, c *call) error {
		in := &subscribeToShardInput{}
		if err := codec.Decode(c.reader(), in); err != nil {
			return err
		}
		if in.ConsumerARN == nil {
			return violations([]string{"Value null at 'consumerARN' failed to satisfy constraint: Member must not be null"})
		}
		if err := s.admit(ctx, c, in); err != nil {
			return err
		}
		asking, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if _, err := s.consumer(asking, c, &in.consumerRef); err != nil {
			return err
		}
		sh, err := s.shard(asking, c.stream, *in.ShardId)
		if err != nil {
			return err
		}
		from, err := s.startingPoint(asking, c.stream, sh, *in.StartingPosition, "SubscribeToShard")
		if err != nil {
			return err
		}
		if in.DryRun != nil && *in.DryRun {
			return errDryRun()
		}
		if s.closing.Err() != nil {
			return closing() // another node is to take it
		}
		pushing, end := context.WithCancelCause(ctx)
		defer end(nil)
		k, err := s.known(asking, c.stream)
		if err != nil {
			return err
		}
		one, err := s.subscribe(asking, c.stream, subscriptionKey{consumer: *in.ConsumerARN, shard: sh.GetNumber()}, end)
		if err != nil {
			return err
		}
		defer s.unsubscribe(ctx, one)
		var keeping sync.WaitGroup
		defer keeping.Wait()
		defer end(nil)
		keeping.Go(func() { s.keep(pushing, one) })
		p := &push{s: s, c: c, shard: sh, next: from, control: http.NewResponseController(c.w)}
		if s.limited(k) {
			p.pace = rate.NewLimiter(readBytesRate, readBytesRate)
		}
		p.run(pushing)
		return nil
	}}
}

// push is a subscription under way. It belongs to the goroutine of its request.
type push struct {
	s       *Server
	c       *call
	shard   *levadav1.Shard
	next    uint64 // ordinal of the record that comes next
	last    client.SequenceNumber
	behind  int64
	control *http.ResponseController
	pace    *rate.Limiter // of the bytes pushed, nil for none
	buf     []byte
	err     error // of the connection: there is nobody any more
}

// run sends events until the subscription's life is over, the shard has ended, or the caller is gone. What goes wrong after the answer began is an event too.
func (p *push) run(ctx context.Context) {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	stop := context.AfterFunc(p.s.closing, cut)
	defer stop()
	p.begin()
	reader := p.s.cluster.ReadShard(ctx, p.c.stream, p.shard.GetNumber(), client.ReadOptions{From: client.AtOrdinal(p.next), Follow: true})
	defer reader.Close()
	over := time.Now().Add(subscriptionLife)
	for p.err == nil && time.Now().Before(over) && p.s.closing.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, min(heartbeatEvery, time.Until(over)))
		records, err := reader.NextBatch(limited)
		silent := limited.Err() != nil // else a deadline that was missed is one of the reader's own, and its end
		cancel()
		p.behind = reader.Lag().MillisBehind
		var gap *client.Gap
		switch {
		case err == nil:
			p.records(ctx, records)
		case errors.As(err, &gap):
			p.next = gap.To
		case errors.Is(err, io.EOF):
			p.ended(ctx, reader.Children())
			return
		case ctx.Err() != nil:
			if cause := context.Cause(ctx); errors.Is(cause, errTakenOver) {
				p.exception(errTakenOver)
			}
			return
		case silent && errors.Is(err, context.DeadlineExceeded):
			p.event(nil, nil, false)
		default:
			p.exception(asAPIError(p.s.readError(ctx, p.c.stream, p.shard.GetNumber(), err)))
			return
		}
	}
}

// records sends records, in several events if they are large, and no more of them in a second than the stream's limits permit.
func (p *push) records(ctx context.Context, records []client.Record) {
	for len(records) > 0 && p.err == nil && ctx.Err() == nil {
		n, bytes := 0, 0
		for ; n < len(records) && n < getRecordsMax; n++ {
			if bytes += len(records[n].Data); n > 0 && bytes > eventBytesMax {
				break
			}
		}
		p.next, p.last = records[n-1].Ordinal+1, records[n-1].Sequence
		p.event(records[:n], nil, false)
		p.rest(ctx, records[:n])
		records = records[n:]
	}
}

// rest waits as long as records take that were sent. A subscription is never silent for longer than its heartbeats.
func (p *push) rest(ctx context.Context, sent []client.Record) {
	if p.pace == nil {
		return
	}
	bytes := 0
	for i := range sent {
		bytes += len(sent[i].Data) + len(sent[i].PartitionKey)
	}
	for ; bytes > 0 && p.err == nil; bytes -= readBytesRate {
		if p.pace.WaitN(ctx, min(bytes, readBytesRate)) != nil {
			return // it is over
		}
		if bytes > readBytesRate {
			p.event(nil, nil, false)
		}
	}
}

// ended sends the last event of a shard that is closed.
func (p *push) ended(ctx context.Context, numbers []uint32) {
	children, err := p.s.children(ctx, p.c.stream, numbers)
	if err != nil {
		p.exception(asAPIError(err))
		return
	}
	p.behind = 0
	p.event(nil, children, true)
}

// continuation is the sequence number after which a later subscription is to begin.
func (p *push) continuation() string {
	switch {
	case !p.last.IsZero():
		return p.last.String()
	case p.next == 0:
		return "0"
	}
	// Nothing was sent yet. The number names the ordinal before the next record; the time in it is of no importance.
	return client.NewSequence(p.s.opts.Now().UnixMilli(), p.next-1, p.shard.GetNumber()).String()
}

// event sends a SubscribeToShardEvent.
func (p *push) event(records []client.Record, children []childShard, ended bool) {
	w := p.c.format.writer(p.buf[:0])
	w.Begin(codec.Object)
	if ended {
		w.Name("ChildShards")
		writeChildren(w, children)
	} else {
		w.Name("ContinuationSequenceNumber")
		w.Text(p.continuation())
	}
	w.Name("MillisBehindLatest")
	w.Int(p.behind)
	w.Name("Records")
	writeRecords(w, records)
	w.End(codec.Object)
	p.buf = w.Bytes()
	p.send([]codec.Header{{Name: ":message-type", Value: "event"}, {Name: ":event-type", Value: "SubscribeToShardEvent"}, {Name: ":content-type", Value: p.c.format.mediaType()}}, p.buf)
}

// exception sends an error that ends the subscription.
func (p *push) exception(e *apiError) {
	code := e.code
	switch code {
	case codeResourceNotFound, codeResourceInUse:
	default:
		code = "InternalFailureException" // the only other one that a subscription has
	}
	p.c.code = code
	w := p.c.format.writer(nil)
	w.Begin(codec.Object)
	w.Name("message")
	w.Text(e.message)
	w.End(codec.Object)
	p.send([]codec.Header{{Name: ":message-type", Value: "exception"}, {Name: ":exception-type", Value: code}, {Name: ":content-type", Value: p.c.format.mediaType()}}, w.Bytes())
}

// begin answers the request, and sends the event without which clients take no other.
func (p *push) begin() {
	p.c.w.Header().Set("Content-Type", typeEvents)
	p.c.w.WriteHeader(http.StatusOK)
	p.send([]codec.Header{{Name: ":message-type", Value: "event"}, {Name: ":event-type", Value: "initial-response"}, {Name: ":content-type", Value: p.c.format.mediaType()}}, p.empty())
}

// empty is an object without members.
func (p *push) empty() []byte {
	w := p.c.format.writer(nil)
	w.Begin(codec.Object)
	w.End(codec.Object)
	return w.Bytes()
}

// send writes one message at once.
func (p *push) send(headers []codec.Header, payload []byte) {
	if p.err != nil {
		return
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(eventTimeout)) // a writer that cannot is a test's
	n, err := p.c.w.Write(codec.AppendEvent(nil, headers, payload))
	p.c.sent += n
	if err == nil {
		err = p.control.Flush()
	}
	p.err = err
}
