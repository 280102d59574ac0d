package kinesis

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestOneOfManyCreates has each node asked for the same stream at the same moment, again and again: one call succeeds, and what it made has all that was asked for
// as soon as it is seen.
func TestOneOfManyCreates(t *testing.T) {
	nodes := start(t).Nodes
	var clients []*kinesis.Client
	for _, n := range nodes {
		clients = append(clients, sdk(n, nil), sdk(n, nil))
	}
	for round := range 10 {
		name := fmt.Sprintf("created-%d", round)
		results := make([]error, len(clients))
		seen := make(chan *types.StreamDescriptionSummary, 1)
		var all sync.WaitGroup
		all.Go(func() {
			for {
				d, err := clients[0].DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &name})
				var none *types.ResourceNotFoundException
				if errors.As(err, &none) {
					continue
				}
				if err != nil {
					t.Error(err)
					d = &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: &types.StreamDescriptionSummary{}}
				}
				seen <- d.StreamDescriptionSummary
				return
			}
		})
		for i, c := range clients {
			all.Go(func() {
				_, results[i] = c.CreateStream(t.Context(), &kinesis.CreateStreamInput{
					StreamName: &name, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}, WarmThroughputMiBps: aws.Int32(5), Tags: map[string]string{"by": fmt.Sprint(i)},
				})
			})
		}
		all.Wait()
		made := -1
		for i, err := range results {
			switch {
			case err == nil && made < 0:
				made = i
			case err == nil:
				t.Errorf("%s: calls %d and %d have both created it", name, made, i)
			case codeOf(err) != "ResourceInUseException":
				t.Errorf("%s: call %d: %v", name, i, err)
			}
		}
		if made < 0 {
			t.Fatalf("%s: nobody has created it: %v", name, results)
		}
		if d := <-seen; d.StreamModeDetails == nil || d.StreamModeDetails.StreamMode != types.StreamModeOnDemand || d.WarmThroughput == nil || *d.WarmThroughput.CurrentMiBps != 5 || aws.ToInt32(d.OpenShardCount) != 5 {
			t.Errorf("%s was seen as %+v", name, d)
		}
		tags, err := clients[made].ListTagsForStream(t.Context(), &kinesis.ListTagsForStreamInput{StreamName: &name})
		if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != fmt.Sprint(made) {
			t.Errorf("%s: created by call %d with tags %+v, %v", name, made, tags, err)
		}
	}
}

// TestWarmThroughputBringsShards makes a stream on-demand and ready in one call, and then readier.
func TestWarmThroughputBringsShards(t *testing.T) {
	c := sdk(start(t).Nodes[0], nil)
	create(t, c, "warm", 1)
	_, err := c.UpdateStreamMode(t.Context(), &kinesis.UpdateStreamModeInput{
		StreamARN: aws.String(arnOf("warm")), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}, WarmThroughputMiBps: aws.Int32(6),
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitShards(t, c, "warm", 6)
	if _, err := c.UpdateStreamWarmThroughput(t.Context(), &kinesis.UpdateStreamWarmThroughputInput{StreamName: aws.String("warm"), WarmThroughputMiBps: aws.Int32(9)}); err != nil {
		t.Fatal(err)
	}
	awaitShards(t, c, "warm", 9)
}

// awaitShards waits until a stream has so many open shards.
func awaitShards(t *testing.T, c *kinesis.Client, stream string, want int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		n := len(openShards(t, c, stream))
		if n == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has %d open shards, want %d", stream, n, want)
		}
	}
}
