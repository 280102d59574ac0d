package kinesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// stamped is a record that says when it was put.
type stamped struct {
	N  int
	At int64 // unix ns
}

const (
	pushedRecords = 100_000
	pushedPerCall = 100
)

// pushStream makes a stream of one shard with a consumer, for whoever subscribes.
func pushStream(t *testing.T, c *kinesis.Client, stream, consumer string) (consumerARN string) {
	t.Helper()
	create(t, c, stream, 1)
	made, err := c.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(stream)), ConsumerName: &consumer})
	if err != nil {
		t.Fatal(err)
	}
	return *made.Consumer.ConsumerARN
}

// putStamped writes n stamped records.
func putStamped(ctx context.Context, c *kinesis.Client, stream string, n int) error {
	for i := 0; i < n; i += pushedPerCall {
		var entries []types.PutRecordsRequestEntry
		for k := i; k < min(i+pushedPerCall, n); k++ {
			data, err := json.Marshal(stamped{k, time.Now().UnixNano()})
			if err != nil {
				return err
			}
			entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: data})
		}
		out, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &stream, Records: entries})
		if err != nil {
			return err
		}
		if *out.FailedRecordCount > 0 {
			return fmt.Errorf("%d records failed", *out.FailedRecordCount)
		}
	}
	return nil
}

// putsOnce returns a client that tries each call once: a call that is tried again may store its records twice, and their order is counted.
func putsOnce(n *cluster.Node) *kinesis.Client {
	return sdk(n, nil, func(o *kinesis.Options) {
		o.RetryMaxAttempts, o.HTTPClient = 1, &http.Client{Transport: plainBodies{http.DefaultTransport}}
	})
}

// plainBodies hides that the SDK's bodies have WriteTo. The SDK closes a body as soon as the answer's header is there, and WriteTo of a closed one returns io.EOF as an
// error. If net/http, on a busy machine, only then looks for more of the body, it takes that for a failed request and cuts off the answer.
type plainBodies struct{ http.RoundTripper }

// RoundTrip sends a request.
func (p plainBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return p.RoundTripper.RoundTrip(r)
}

// TestSubscribeToShardWithTheGoSDK has 100,000 records pushed, in order, and prints how long they took from before their put to here.
func TestSubscribeToShardWithTheGoSDK(t *testing.T) {
	nodes := start(t).Nodes
	c := sdk(nodes[0], nil)
	consumer := pushStream(t, c, "pushed", "go")
	put := make(chan error, 1)
	go func() { put <- putStamped(t.Context(), putsOnce(nodes[1]), "pushed", pushedRecords) }()
	var latencies []time.Duration
	next := 0
	from := &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	for next < pushedRecords {
		sub, err := c.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: aws.String("shardId-000000000000"), StartingPosition: from})
		if err != nil {
			t.Fatal(err)
		}
		for e := range sub.GetStream().Events() {
			event, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
			if !ok {
				t.Fatalf("an event %T", e)
			}
			now := time.Now().UnixNano()
			for _, r := range event.Value.Records {
				var v stamped
				if err := json.Unmarshal(r.Data, &v); err != nil || v.N != next {
					t.Fatalf("record %d is %s (%v)", next, r.Data, err)
				}
				next++
				latencies = append(latencies, time.Duration(now-v.At))
			}
			from = &types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: event.Value.ContinuationSequenceNumber}
			if next == pushedRecords {
				break
			}
		}
		if err := errors.Join(sub.GetStream().Close(), sub.GetStream().Err()); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-put; err != nil {
		t.Fatal(err)
	}
	printLatencies("Go", latencies)
}

func printLatencies(client string, all []time.Duration) {
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(10 * time.Microsecond) }
	fmt.Printf("%s: %d records pushed in order; from before the put to the consumer p50 %v p99 %v max %v\n", client, len(all), at(0.5), at(0.99), at(1))
}

// TestSubscriptionsTakeOver has a second subscription, at the same node or another one, refused at first, and taking over five seconds later.
func TestSubscriptionsTakeOver(t *testing.T) {
	nodes := start(t).Nodes
	once := func(o *kinesis.Options) { o.RetryMaxAttempts = 1 }
	for i, n := range nodes {
		t.Run(n.Name, func(t *testing.T) {
			t.Parallel()
			takeOver(t, sdk(nodes[0], nil, once), sdk(n, nil, once), fmt.Sprint("pushed-", i))
		})
	}
}

func takeOver(t *testing.T, c, other *kinesis.Client, stream string) {
	consumer := pushStream(t, c, stream, "go")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // until the other node has heard of it
		_, err := other.DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: &consumer})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	in := &kinesis.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: aws.String("shardId-000000000000"), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest}}
	first, err := c.SubscribeToShard(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer first.GetStream().Close()
	if _, err := other.SubscribeToShard(t.Context(), in); err == nil || codeOf(err) != "ResourceInUseException" {
		t.Errorf("a second subscription at once: %v", err)
	}
	beats := 0
	began := time.Now()
	for time.Since(began) < 5100*time.Millisecond {
		select {
		case e := <-first.GetStream().Events():
			if event, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); !ok || len(event.Value.Records) != 0 || event.Value.ContinuationSequenceNumber == nil {
				t.Fatalf("an event %T %+v", e, e)
			}
			beats++
		case <-time.After(5200*time.Millisecond - time.Since(began)):
		}
	}
	if beats == 0 {
		t.Error("no sign of life in five seconds")
	}
	second, err := other.SubscribeToShard(t.Context(), in)
	if err != nil {
		t.Fatalf("a second subscription after five seconds: %v", err)
	}
	defer second.GetStream().Close()
	took := time.Now()
	for range first.GetStream().Events() {
	}
	if d := time.Since(took); d > 4*time.Second {
		t.Errorf("the first one went on for %v", d)
	}
	var inUse *types.ResourceInUseException
	if err := first.GetStream().Err(); !errors.As(err, &inUse) {
		t.Errorf("the first one ended with %v", err)
	}
}

// TestSubscriptionEndsWithItsShard reads a shard that was split to its end, and its children after it.
func TestSubscriptionEndsWithItsShard(t *testing.T) {
	nodes := start(t).Nodes
	c := sdk(nodes[0], nil)
	consumer := pushStream(t, c, "pushed", "go")
	if err := putStamped(t.Context(), c, "pushed", 1000); err != nil {
		t.Fatal(err)
	}
	sub, err := c.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
		ConsumerARN: &consumer, ShardId: aws.String("0"), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.GetStream().Close()
	if _, err := c.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: aws.String("pushed"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("170141183460469231731687303715884105728")}); err != nil {
		t.Fatal(err)
	}
	records := 0
	var last types.SubscribeToShardEvent
	for e := range sub.GetStream().Events() {
		last = e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
		records += len(last.Records)
	}
	if err := sub.GetStream().Err(); err != nil {
		t.Errorf("the subscription ended with %v", err)
	}
	if records != 1000 || last.ContinuationSequenceNumber != nil || len(last.ChildShards) != 2 || !slices.Equal(last.ChildShards[0].ParentShards, []string{"shardId-000000000000"}) {
		t.Errorf("%d records, then %+v", records, last)
	}
}
