package kinesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
)

// token sends the header that makes a request one that may be repeated.
func token(text string) func(*kinesis.Options) {
	return func(o *kinesis.Options) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Levada-Idempotency-Token", text))
	}
}

// entries returns records with keys of their own, named after a call.
func entries(call string, n int) (all []types.PutRecordsRequestEntry) {
	for i := range n {
		all = append(all, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint(call, "-", i)), Data: []byte(fmt.Sprint(call, "-", i))})
	}
	return all
}

// putAll puts records and returns where they are; all must be stored.
func putAll(t *testing.T, c *kinesis.Client, stream string, records []types.PutRecordsRequestEntry, text string) []string {
	t.Helper()
	out, err := c.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream, Records: records}, token(text))
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for i, r := range out.Records {
		if r.ErrorCode != nil {
			t.Fatalf("record %d: %s %s", i, *r.ErrorCode, aws.ToString(r.ErrorMessage))
		}
		places = append(places, *r.ShardId+" "+*r.SequenceNumber)
	}
	return places
}

// storedAt reads all shards of a stream and returns where each record is, by its data, and how many there are.
func storedAt(t *testing.T, c *kinesis.Client, stream string) (places map[string]string, n int) {
	t.Helper()
	shards, err := c.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
	if err != nil {
		t.Fatal(err)
	}
	places = map[string]string{}
	for _, sh := range shards.Shards {
		records, _, err := readAll(t.Context(), c, stream, *sh.ShardId)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			places[string(r.Data)] = *sh.ShardId + " " + *r.SequenceNumber
			n++
		}
	}
	return places, n
}

// checkStored fails unless a stream holds the records once, where they were said to be.
func checkStored(t *testing.T, c *kinesis.Client, stream string, want map[string]string) {
	t.Helper()
	got, n := storedAt(t, c, stream)
	if d := cmp.Diff(want, got); d != "" || n != len(want) {
		t.Errorf("%d records are stored, %d were put:\n%s", n, len(want), d)
	}
}

func note(want map[string]string, records []types.PutRecordsRequestEntry, places []string) {
	for i, r := range records {
		want[string(r.Data)] = places[i]
	}
}

// deaf is a connection that ends when its first answer comes, or somewhat earlier.
type deaf struct {
	net.Conn
	after time.Duration
	once  sync.Once
}

func (d *deaf) Write(b []byte) (int, error) {
	d.once.Do(func() { time.AfterFunc(d.after, func() { d.Close() }) })
	return d.Conn.Write(b)
}

func (d *deaf) Read(b []byte) (int, error) {
	_, err := d.Conn.Read(b)
	d.Close()
	if err == nil {
		err = net.ErrClosed
	}
	return 0, err
}

// cutOff makes a client that hears of nothing it does.
func cutOff(after time.Duration) func(*kinesis.Options) {
	return func(o *kinesis.Options) {
		o.RetryMaxAttempts = 1
		o.HTTPClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &deaf{Conn: c, after: after}, nil
		}}}
	}
}

// TestRepeatedCalls repeats calls whose connection was cut after they were sent, at other nodes, and at all at once.
func TestRepeatedCalls(t *testing.T) {
	nodes := start(t).Nodes
	all := []*kinesis.Client{sdk(nodes[0], nil), sdk(nodes[1], nil), sdk(nodes[2], nil)}
	create(t, all[0], "s", 4)
	want := map[string]string{}
	stream := "s"

	heard := 0
	for i := range 40 {
		name := fmt.Sprint("cut", i)
		records := entries(name, 100)
		after := time.Duration(rand.IntN(8000)) * time.Microsecond
		if _, err := sdk(nodes[i%3], nil, cutOff(after)).PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream, Records: records}, token(name)); err == nil {
			heard++
		}
		places := putAll(t, all[(i+1)%3], stream, records, name)
		if d := cmp.Diff(places, putAll(t, all[(i+2)%3], stream, records, name)); d != "" {
			t.Errorf("a repetition is answered otherwise: %s", d)
		}
		note(want, records, places)
	}
	if heard > 0 {
		t.Errorf("%d calls had an answer, none should", heard)
	}

	for i := range 10 {
		name := fmt.Sprint("together", i)
		records := entries(name, 50)
		places := make([][]string, 6)
		var calls sync.WaitGroup
		for j := range places {
			calls.Go(func() { places[j] = putAll(t, all[j%3], stream, records, name) })
		}
		calls.Wait()
		for _, p := range places[1:] {
			if d := cmp.Diff(places[0], p); d != "" {
				t.Errorf("calls at the same time are answered otherwise: %s", d)
			}
		}
		note(want, records, places[0])
	}

	one := &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"), Data: []byte("one")}
	first, err := all[0].PutRecord(t.Context(), one, token("one"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := all[1].PutRecord(t.Context(), one, token("one"))
	if err != nil || *again.SequenceNumber != *first.SequenceNumber || *again.ShardId != *first.ShardId {
		t.Errorf("%v, %v", again, err)
	}
	want["one"] = *first.ShardId + " " + *first.SequenceNumber

	// Another call with a token that was used is another call.
	records := entries("one", 2)
	note(want, records, putAll(t, all[2], stream, records, "one"))
	checkStored(t, all[0], stream, want)

	for _, bad := range []string{"", strings.Repeat("x", 129), "ä"} {
		_, err := all[0].PutRecord(t.Context(), one, token(bad))
		var wrong *types.InvalidArgumentException
		if !errors.As(err, &wrong) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
	checkStored(t, all[1], stream, want)
}

// TestRepeatedCallsOverReshards repeats calls when their shards have been split and merged, while they are, and when a node has died.
func TestRepeatedCallsOverReshards(t *testing.T) {
	nodes := start(t).Nodes
	all := []*kinesis.Client{sdk(nodes[0], nil), sdk(nodes[1], nil), sdk(nodes[2], nil)}
	stream := "s"
	create(t, all[0], stream, 1)
	want := map[string]string{}
	before := entries("before", 200)
	places := putAll(t, all[0], stream, before, "before")
	note(want, before, places)
	repeat := func(when string) {
		t.Helper()
		if d := cmp.Diff(places, putAll(t, all[rand.IntN(3)], stream, before, "before")); d != "" {
			t.Errorf("%s: a repetition is answered otherwise: %s", when, d)
		}
	}

	// Calls run, each three times, while the shards change.
	during := make(chan map[string]string, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		got := map[string]string{}
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprint("during", i)
			records := entries(name, 20)
			_, _ = sdk(nodes[i%3], nil, cutOff(time.Duration(rand.IntN(5000))*time.Microsecond)).PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream, Records: records}, token(name))
			places := putAll(t, all[(i+1)%3], stream, records, name)
			if d := cmp.Diff(places, putAll(t, all[(i+2)%3], stream, records, name)); d != "" {
				t.Errorf("%s: a repetition is answered otherwise: %s", name, d)
			}
			note(got, records, places)
		}
		during <- got
	}()
	for _, count := range []int32{2, 5, 3, 1} {
		if _, err := all[0].UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{StreamName: &stream, TargetShardCount: &count, ScalingType: types.ScalingTypeUniformScaling}); err != nil {
			t.Fatal(err)
		}
		awaitActive(t, all[0], stream)
		repeat(fmt.Sprint("with ", count, " shards"))
	}
	stop()
	got := <-during
	t.Logf("%d records were put while the shards changed", len(got))
	for data, place := range got {
		want[data] = place
	}
	checkStored(t, all[0], stream, want)

	// A node dies with a call in its hands: which of its records are stored, nobody knows.
	records := entries("dying", 100)
	died := make(chan error, 1)
	go func() {
		_, err := sdk(nodes[2], nil, func(o *kinesis.Options) { o.RetryMaxAttempts = 1 }).PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &stream, Records: records}, token("dying"))
		died <- err
	}()
	time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
	if err := nodes[2].Kill(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the call at the node that dies: %v", <-died)
	all = all[:2]
	note(want, records, putAll(t, all[0], stream, records, "dying"))
	if d := cmp.Diff(places, putAll(t, all[1], stream, before, "before")); d != "" {
		t.Errorf("when a node is dead: %s", d)
	}
	checkStored(t, all[1], stream, want)
}
