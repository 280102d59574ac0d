package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// fleet is a set of programs that work on one stream with the SDK, as programs do: they count on its retries, and what these do not get over is an error of the test.
type fleet struct {
	t        *testing.T
	stream   string
	consumer string // ARN

	acked, polled, pushed *ledger
	stopWriting, stopAll  context.CancelFunc
	writers, readers      sync.WaitGroup

	mu      sync.Mutex
	calls   int
	retries map[string]int // attempts of the SDK after the first, by what had gone wrong
	failed  map[string]int // records of PutRecords, by error code
	broken  map[string]int // subscriptions that ended before their time, by how
	longest time.Duration  // of a put, from its first attempt until it was acknowledged
}

const (
	writersPerFleet = 4
	// keysPerWriter is also how many records a call has: one of each key, for a record that failed must not be overtaken by the next of its key.
	keysPerWriter = 25
	writeEvery    = 20 * time.Millisecond
	fleetShards   = 4
)

// launch makes a stream and starts programs on it. The addresses of the clients are those at which each writer, the polling and the subscribing consumer call.
func launch(t *testing.T, admin *kinesis.Client, stream string, writers []string, polling, subscribing string) *fleet {
	t.Helper()
	create(t, admin, stream, fleetShards)
	made, err := admin.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(stream)), ConsumerName: aws.String("fan")})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		t: t, stream: stream, consumer: *made.Consumer.ConsumerARN, acked: newLedger("acknowledged"), polled: newLedger("polled"), pushed: newLedger("pushed"),
		retries: map[string]int{}, failed: map[string]int{}, broken: map[string]int{},
	}
	writing, stopWriting := context.WithCancel(t.Context())
	reading, stopAll := context.WithCancel(t.Context())
	f.stopWriting, f.stopAll = stopWriting, stopAll
	for i := range writersPerFleet {
		c := f.program(writers[i%len(writers)])
		f.writers.Go(func() { f.write(writing, c, i) })
	}
	poller, subscriber := f.program(polling), f.program(subscribing)
	for _, sh := range openShards(t, admin, stream) {
		f.readers.Go(func() { f.poll(reading, poller, *sh.ShardId) })
		f.readers.Go(func() { f.subscribe(reading, subscriber, *sh.ShardId) })
	}
	return f
}

// program returns a client of an address with the SDK's own defaults. What it retries is counted.
func (f *fleet) program(address string) *kinesis.Client {
	return sdk(&cluster.Node{Kinesis: address}, nil, func(o *kinesis.Options) {
		o.HTTPClient = nil // the SDK's own
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("attempts", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleInitialize(ctx, in)
				f.mu.Lock()
				defer f.mu.Unlock()
				f.calls++
				if all, ok := retry.GetAttemptResults(meta); ok {
					for _, attempt := range all.Results {
						if attempt.Retried && ctx.Err() == nil {
							f.retries[middleware.GetOperationName(ctx)+" "+kindOf(attempt.Err)]++
						}
					}
				}
				return out, meta, err
			}), middleware.Before)
		})
	})
}

// write writes until ctx ends, and tries again what failed.
func (f *fleet) write(ctx context.Context, c *kinesis.Client, number int) {
	for n := 0; ctx.Err() == nil; n++ {
		var values []value
		for k := range keysPerWriter {
			values = append(values, value{fmt.Sprintf("writer-%d-key-%d", number, k), n})
		}
		began := time.Now()
		for len(values) > 0 {
			entries := make([]types.PutRecordsRequestEntry, len(values))
			for i, v := range values {
				data, err := json.Marshal(v)
				if err != nil {
					f.t.Error(err)
					return
				}
				entries[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(v.Key), Data: data}
			}
			out, err := c.PutRecords(context.WithoutCancel(ctx), &kinesis.PutRecordsInput{StreamName: &f.stream, Records: entries})
			if err != nil {
				f.t.Errorf("put: the SDK's own retries were not enough: %v", err)
				return
			}
			values = f.results(values, out)
		}
		f.mu.Lock()
		f.longest = max(f.longest, time.Since(began))
		f.mu.Unlock()
		sleep(ctx, writeEvery)
	}
}

// results enters what was stored and returns what is to be tried again.
func (f *fleet) results(values []value, out *kinesis.PutRecordsOutput) (again []value) {
	for i, r := range out.Records {
		if r.ErrorCode != nil {
			f.mu.Lock()
			f.failed[*r.ErrorCode]++
			f.mu.Unlock()
			again = append(again, values[i])
			continue
		}
		f.acked.acknowledged(f.t, values[i], *r.SequenceNumber)
	}
	return again
}

// poll reads one shard with iterators until ctx ends.
func (f *fleet) poll(ctx context.Context, c *kinesis.Client, shard string) {
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &f.stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		f.t.Errorf("iterator of %s: %v", shard, err)
		return
	}
	for next := it.ShardIterator; ; {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.t.Errorf("read %s: the SDK's own retries were not enough: %v", shard, err)
			return
		}
		f.polled.given(f.t, shard, out.Records)
		next = out.NextShardIterator
		if len(out.Records) == 0 {
			sleep(ctx, 50*time.Millisecond)
		}
	}
}

// subscribe has one shard pushed until ctx ends. A subscription that breaks is followed by one that begins where it was.
func (f *fleet) subscribe(ctx context.Context, c *kinesis.Client, shard string) {
	from := &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	for ctx.Err() == nil {
		sub, err := c.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &f.consumer, ShardId: &shard, StartingPosition: from})
		if ctx.Err() != nil {
			if err == nil {
				_ = sub.GetStream().Close() // it was broken off by us
			}
			return
		}
		var inUse *types.ResourceInUseException
		if errors.As(err, &inUse) { // the node does not know yet that the former one is over
			f.breaks("refused: " + inUse.ErrorCode())
			sleep(ctx, time.Second)
			continue
		}
		if err != nil {
			f.t.Errorf("subscribe to %s: the SDK's own retries were not enough: %v", shard, err)
			return
		}
		for e := range sub.GetStream().Events() {
			event, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
			if !ok {
				f.t.Errorf("an event %T", e)
				continue
			}
			f.pushed.given(f.t, shard, event.Value.Records)
			from = &types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: event.Value.ContinuationSequenceNumber}
		}
		err = sub.GetStream().Err()
		_ = sub.GetStream().Close() // its error is the one above
		if ctx.Err() == nil {
			f.breaks(kindOf(err))
		}
	}
}

func (f *fleet) breaks(how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken[how]++
}

// count returns how many records are acknowledged.
func (f *fleet) count() int {
	f.acked.mu.Lock()
	defer f.acked.mu.Unlock()
	return f.acked.records
}

// land ends the programs, the consumers after they have seen what was acknowledged, and prints figures.
func (f *fleet) land() {
	f.t.Helper()
	f.stopWriting()
	f.writers.Wait()
	consumers := []*ledger{f.polled, f.pushed}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if !slices.ContainsFunc(consumers, func(l *ledger) bool { return len(l.lacks(f.acked)) > 0 }) {
			break
		}
	}
	f.stopAll()
	f.readers.Wait()
	for _, l := range consumers {
		if missing := l.lacks(f.acked); len(missing) > 0 {
			f.t.Errorf("%s lacks %d acknowledged records, such as %v", l.who, len(missing), missing[:min(5, len(missing))])
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Printf("%s: %d records acknowledged, the longest put took %v; %v; %v\n", f.stream, f.acked.records, f.longest.Round(time.Millisecond), f.polled, f.pushed)
	fmt.Printf("%s: %d calls; retried by the SDK: %v; records that failed and were tried again: %v; subscriptions that ended: %v\n", f.stream, f.calls, f.retries, f.failed, f.broken)
	if f.acked.records == 0 || f.polled.records == 0 || f.pushed.records == 0 {
		f.t.Error("the run shows nothing")
	}
}
