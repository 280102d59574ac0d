package kinesis

import (
	"context"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }

const (
	account = "000000000000"
	region  = "us-east-1"
)

// start starts three nodes.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	return cluster.Start(t, cluster.Options{Name: "kinesis"})
}

// calls counts what a client did, by operation.
type calls struct {
	mu   sync.Mutex
	seen map[string]map[string]int // operation, then "ok" or the error's code
}

func newCalls() *calls { return &calls{seen: map[string]map[string]int{}} }

// sdk returns the AWS SDK's client of a node. Nothing of it is changed but where it calls.
func sdk(n *cluster.Node, c *calls, change ...func(*kinesis.Options)) *kinesis.Client {
	o := kinesis.Options{
		Region: region, BaseEndpoint: aws.String("http://" + n.Kinesis),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", ""),
		HTTPClient:  &http.Client{},
	}
	if c != nil {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("count", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleInitialize(ctx, in)
				c.note(middleware.GetOperationName(ctx), err)
				return out, meta, err
			}), middleware.Before)
		})
	}
	for _, f := range change {
		f(&o)
	}
	return kinesis.New(o)
}

func (c *calls) note(operation string, err error) {
	result := "ok"
	if err != nil {
		result = codeOf(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[operation] == nil {
		c.seen[operation] = map[string]int{}
	}
	c.seen[operation][result]++
}

// String lists the operations with their results.
func (c *calls) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for operation, results := range c.seen {
		var all []string
		for r := range results {
			all = append(all, r)
		}
		sort.Strings(all)
		lines = append(lines, operation+": "+strings.Join(all, ", "))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// create creates a stream and waits until it is active, as programs do.
func create(t *testing.T, c *kinesis.Client, name string, shards int32) {
	t.Helper()
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards}); err != nil {
		t.Fatal(err)
	}
	awaitActive(t, c, name)
}

func awaitActive(t *testing.T, c *kinesis.Client, name string) {
	t.Helper()
	w := kinesis.NewStreamExistsWaiter(c, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	if err := w.Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: &name}, 30*time.Second); err != nil {
		t.Fatalf("stream %s does not become active: %v", name, err)
	}
}

// readAll reads a shard from its oldest record to its end or, if it is open, to its tail.
func readAll(ctx context.Context, c *kinesis.Client, stream, shard string) (records []types.Record, children []types.ChildShard, err error) {
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return nil, nil, err
	}
	for next := it.ShardIterator; ; {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return nil, nil, err
		}
		records = append(records, out.Records...)
		next = out.NextShardIterator
		if next == nil {
			return records, out.ChildShards, nil
		}
		if len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) == 0 {
			return records, nil, nil
		}
	}
}
