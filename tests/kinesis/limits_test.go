package kinesis

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

const (
	mebibyte = 1 << 20
	// measured is for how long a rate is. A second's worth may come at once before it.
	measured = 5 * time.Second
	throttle = "ProvisionedThroughputExceededException"
)

// limited is a cluster with the limits of Amazon Kinesis, with a client of each node that tries once.
type limited struct {
	*cluster.Cluster
	once []*kinesis.Client
}

// TestLimitsOfKinesis asks all nodes of a cluster for more than a shard gives, and measures what it gives.
func TestLimitsOfKinesis(t *testing.T) {
	l := &limited{Cluster: cluster.Start(t, cluster.Options{Name: "limits", Tuning: cluster.Tuning{Extra: map[string][]string{"kinesis": {"anonymous: true", "limits: kinesis"}}}})}
	for _, n := range l.Nodes {
		l.once = append(l.once, sdk(n, nil, func(o *kinesis.Options) { o.RetryMaxAttempts = 1 }))
	}
	t.Run("records in", l.recordsIn)
	t.Run("bytes in", l.bytesIn)
	t.Run("calls out", l.callsOut)
	t.Run("bytes out", l.bytesOut)
	t.Run("retries", l.retries)
	t.Run("a stream without", l.without)
}

// all calls every node's client again and again, from so many places each, for as long as a rate is measured, and sums up what was given. do says how much that was, and
// whether it was less than was asked for.
func (l *limited) all(t *testing.T, places int, do func(ctx context.Context, c *kinesis.Client) (given int, refused bool)) (given float64) {
	t.Helper()
	var sum, refusals atomic.Int64
	var callers sync.WaitGroup
	end := time.Now().Add(measured)
	for i := range places * len(l.once) {
		c := l.once[i%len(l.once)]
		callers.Go(func() {
			for time.Now().Before(end) {
				n, refused := do(t.Context(), c)
				sum.Add(int64(n))
				if refused {
					refusals.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	callers.Wait()
	if refusals.Load() == 0 {
		t.Error("nothing was refused: not more was asked for than is given")
	}
	return float64(sum.Load())
}

// within holds what was given against a rate. It may be a second's worth more, and what is given on credit when a second's worth is not used up.
func within(t *testing.T, what string, given, rate, credit float64) {
	t.Helper()
	low, high := 0.8*rate*measured.Seconds(), 1.05*rate*(measured.Seconds()+1)+credit
	fmt.Printf("%s: %.0f in %v, %.0f a second and a second's worth at first are %.0f\n", what, given, measured, rate, rate*(measured.Seconds()+1))
	if given < low || given > high {
		t.Errorf("%s: %.0f in %v, want %.0f to %.0f", what, given, measured, low, high)
	}
}

// putMany writes records with many keys and returns how many were taken.
func putMany(t *testing.T, ctx context.Context, c *kinesis.Client, stream string, n int) (given int, refused bool) {
	entries := make([]types.PutRecordsRequestEntry, n)
	for i := range entries {
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint(i)), Data: []byte("x")}
	}
	out, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &stream, Records: entries})
	if err != nil {
		t.Errorf("%v", err)
		return 0, true
	}
	for _, r := range out.Records {
		if r.ErrorCode == nil {
			given++
		} else if *r.ErrorCode != throttle || !strings.HasPrefix(*r.ErrorMessage, "Rate exceeded for shard shardId-") {
			t.Errorf("a record was refused with %s: %s", *r.ErrorCode, *r.ErrorMessage)
		}
	}
	if given+int(*out.FailedRecordCount) != n {
		t.Errorf("%d of %d records taken, %d said to have failed", given, n, *out.FailedRecordCount)
	}
	return given, given < n
}

// recordsIn writes small records to one shard, and to two as soon as it is split. So few at a time that the answer arrives in one piece: now and then the SDK, which
// is to try once here, loses its connection while it reads a longer one.
func (l *limited) recordsIn(t *testing.T) {
	const few = 20
	create(t, l.once[0], "records", 1)
	put := func(ctx context.Context, c *kinesis.Client) (int, bool) { return putMany(t, ctx, c, "records", few) }
	within(t, "records in", l.all(t, 8, put), 1000, 24*few)
	_, err := l.once[0].UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: aws.String("records"), TargetShardCount: aws.Int32(2), ScalingType: types.ScalingTypeUniformScaling})
	if err != nil {
		t.Fatal(err)
	}
	awaitShards(t, l.once[0], "records", 2)
	awaitActive(t, l.once[0], "records")
	within(t, "records into two shards after a split", l.all(t, 8, put), 2000, 24*few)
}

func (l *limited) bytesIn(t *testing.T) {
	create(t, l.once[0], "bytes", 1)
	const size = 64 << 10
	data := make([]byte, size)
	within(t, "bytes in", l.all(t, 2, func(ctx context.Context, c *kinesis.Client) (int, bool) {
		_, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("bytes"), PartitionKey: aws.String("k"), Data: data})
		return given(t, err, size)
	}), mebibyte, 6*size)
}

// given is what a call gave that either gave so much or was throttled.
func given(t *testing.T, err error, n int) (int, bool) {
	if err == nil {
		return n, false
	}
	if codeOf(err) != throttle {
		t.Errorf("refused with %v", err)
	}
	return 0, true
}

func iterator(t *testing.T, c *kinesis.Client, stream string) *string {
	t.Helper()
	it, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	return it.ShardIterator
}

func (l *limited) callsOut(t *testing.T) {
	create(t, l.once[0], "calls", 1)
	it := iterator(t, l.once[0], "calls")
	within(t, "calls out", l.all(t, 2, func(ctx context.Context, c *kinesis.Client) (int, bool) {
		_, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it})
		return given(t, err, 1)
	}), 5, 1)
}

// bytesOut reads more than is given in the time, with calls and then pushed. It is written while the stream is held to nothing.
func (l *limited) bytesOut(t *testing.T) {
	c, stream := l.once[0], "out"
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(1), Tags: map[string]string{"levada:limits": "none"}}); err != nil {
		t.Fatal(err)
	}
	awaitActive(t, c, stream)
	const size = 256 << 10
	for range 100 { // 25 MiB
		if _, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"), Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.RemoveTagsFromStream(t.Context(), &kinesis.RemoveTagsFromStreamInput{StreamName: &stream, TagKeys: []string{"levada:limits"}}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // until every node has heard of it
	it := iterator(t, c, stream)
	const page = 4 // records
	within(t, "bytes out", l.all(t, 2, func(ctx context.Context, c *kinesis.Client) (int, bool) {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(page)})
		if err != nil {
			return given(t, err, 0)
		}
		return len(out.Records) * size, false
	}), 2*mebibyte, 6*page*size)
	within(t, "bytes pushed", pushedBytes(t, c, stream), 2*mebibyte, 2*mebibyte)
}

// pushedBytes is how much a subscription brings in the time.
func pushedBytes(t *testing.T, c *kinesis.Client, stream string) (sum float64) {
	t.Helper()
	made, err := c.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(stream)), ConsumerName: aws.String("pushed")})
	if err != nil {
		t.Fatal(err)
	}
	end := time.After(measured)
	sub, err := c.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
		ConsumerARN: made.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.GetStream().Close()
	for {
		select {
		case e, ok := <-sub.GetStream().Events():
			if !ok {
				t.Fatalf("the subscription ended: %v", sub.GetStream().Err())
			}
			if event, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
				for _, r := range event.Value.Records {
					sum += float64(len(r.Data))
				}
			}
		case <-end:
			return sum
		}
	}
}

// retries writes and reads more than is given at once with a client that tries again by itself, as the SDK does, and loses nothing.
func (l *limited) retries(t *testing.T) {
	c := sdk(l.Nodes[1], nil, func(o *kinesis.Options) { o.RetryMaxAttempts = 10 })
	create(t, c, "retried", 1)
	const records, size = 16, 512 << 10 // 8 MiB
	began := time.Now()
	for i := range records {
		data := make([]byte, size)
		data[0] = byte(i)
		if _, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("retried"), PartitionKey: aws.String("k"), Data: data}); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	wrote := time.Since(began)
	began = time.Now()
	next := 0
	for it := iterator(t, c, "retried"); next < records; {
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(2)})
		if err != nil {
			t.Fatalf("before record %d: %v", next, err)
		}
		for _, r := range out.Records {
			if len(r.Data) != size || int(r.Data[0]) != next {
				t.Fatalf("record %d has %d bytes and says %d", next, len(r.Data), r.Data[0])
			}
			next++
		}
		it = out.NextShardIterator
	}
	read := time.Since(began)
	fmt.Printf("with retries: 8 MiB written in %v, read in %v\n", wrote, read)
	// A second's worth is given at first, and the last record on credit.
	if wrote < 6*time.Second || read < 2*time.Second {
		t.Errorf("8 MiB were written in %v and read in %v: the limits were not in force", wrote, read)
	}
}

// without writes to a stream that is held to nothing by its tag.
func (l *limited) without(t *testing.T) {
	c, stream := l.once[0], "free"
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(1), Tags: map[string]string{"levada:limits": "some"}}); err == nil || codeOf(err) != "InvalidArgumentException" {
		t.Errorf("limits that there are not: %v", err)
	}
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(1), Tags: map[string]string{"levada:limits": "none"}}); err != nil {
		t.Fatal(err)
	}
	awaitActive(t, c, stream)
	for range 10 {
		if n, refused := putMany(t, t.Context(), c, stream, 500); n != 500 || refused {
			t.Fatalf("%d of 500 records were taken", n)
		}
	}
	for range 20 {
		if _, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: iterator(t, c, stream), Limit: aws.Int32(1)}); err != nil {
			t.Fatal(err)
		}
	}
}
