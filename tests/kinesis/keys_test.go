package kinesis

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

const (
	// keysWithin is how soon every node takes a key that was made at one, and refuses one that was deleted.
	keysWithin = 2 * time.Second
	unknownKey = "UnrecognizedClientException"
)

// madeKey is what levada key create prints.
type madeKey struct{ ID, Secret string }

// levada runs a command of the command line at a node.
func levada(t *testing.T, n *cluster.Node, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), cluster.Binary(t, false), args...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "LEVADA_ENDPOINT="+n.GRPC)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("levada %v: %v\n%s", args, err, errs.String())
	}
	return string(out)
}

func createKey(t *testing.T, n *cluster.Node, args ...string) (key madeKey) {
	t.Helper()
	out := levada(t, n, append([]string{"key", "create", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &key); err != nil || key.ID == "" || key.Secret == "" {
		t.Fatalf("%s: %v", out, err)
	}
	return key
}

// with signs with a key.
func with(key madeKey) func(*kinesis.Options) {
	return func(o *kinesis.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(key.ID, key.Secret, "")
	}
}

// resultOf is "ok" or an error's code.
func resultOf(err error) string {
	if err != nil {
		return codeOf(err)
	}
	return "ok"
}

func list(ctx context.Context, c *kinesis.Client) string {
	_, err := c.ListStreams(ctx, &kinesis.ListStreamsInput{})
	return resultOf(err)
}

// becomes waits until every client is answered as wanted, and returns how long that took.
func becomes(t *testing.T, want string, clients []*kinesis.Client, ask func(ctx context.Context, c *kinesis.Client) string) time.Duration {
	t.Helper()
	began := time.Now()
	for i, c := range clients {
		for got := ask(t.Context(), c); got != want; got = ask(t.Context(), c) {
			if time.Since(began) > keysWithin {
				t.Fatalf("node %d answers %s after %v, not %s", i+1, got, time.Since(began), want)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return time.Since(began)
}

// TestKeysOfTheCluster uses keys that were made with the command line, on nodes that have no keys of their own and do not take everybody.
func TestKeysOfTheCluster(t *testing.T) {
	nodes := cluster.Start(t, cluster.Options{Name: "kinesis", Tuning: cluster.Tuning{Extra: map[string][]string{"kinesis": nil}}}).Nodes
	each := func(key madeKey) (all []*kinesis.Client) {
		for _, n := range nodes {
			all = append(all, sdk(n, nil, with(key)))
		}
		return all
	}
	for i, c := range each(madeKey{"LVMADEUP", "secret"}) {
		if got := list(t.Context(), c); got != unknownKey {
			t.Errorf("node %d answers %s to a key that nobody made", i+1, got)
		}
	}

	admin := createKey(t, nodes[0], "--name", "admin", "--allow", "*:*")
	t.Logf("a key is taken by all nodes after %v", becomes(t, "ok", each(admin), list))
	if got := list(t.Context(), sdk(nodes[1], nil, with(madeKey{admin.ID, "another"}))); got != "InvalidSignatureException" {
		t.Errorf("another secret: %s", got)
	}
	all := each(admin)
	create(t, all[2], "orders", 1)
	create(t, all[2], "other", 1)

	writer := createKey(t, nodes[1], "--name", "writer", "--allow", "Put*,ListShards:orders")
	put := func(stream string) func(ctx context.Context, c *kinesis.Client) string {
		return func(ctx context.Context, c *kinesis.Client) string {
			_, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: aws.String("k"), Data: []byte("d")})
			return resultOf(err)
		}
	}
	becomes(t, "ok", each(writer), put("orders"))
	for i, c := range each(writer) {
		for what, got := range map[string]string{"another stream": put("other")(t.Context(), c), "all streams": list(t.Context(), c)} {
			if got != "AccessDeniedException" {
				t.Errorf("%s at node %d: %s", what, i+1, got)
			}
		}
		_, err := c.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("orders")})
		if got := resultOf(err); got != "AccessDeniedException" {
			t.Errorf("another action at node %d: %s", i+1, got)
		}
	}
	if out := levada(t, nodes[2], "key", "list", "-o", "json"); strings.Contains(out, admin.Secret) || strings.Count(out, `"id"`) != 2 || !strings.Contains(out, writer.ID) {
		t.Errorf("the keys listed: %s", out)
	}

	// A node that comes back knows the keys, and that one is gone that was deleted while it was down.
	gone := createKey(t, nodes[0], "--name", "gone", "--allow", "*:*")
	becomes(t, "ok", each(gone), list)
	if err := nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	levada(t, nodes[0], "key", "delete", gone.ID)
	if err := nodes[1].Start(); err != nil {
		t.Fatal(err)
	}
	back := sdk(nodes[1], nil, with(admin), func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
	awaitAnswer(t, back, "ok")
	if got := list(t.Context(), each(gone)[1]); got != unknownKey {
		t.Errorf("a key that was deleted while the node was down: %s", got)
	}
	becomes(t, "ok", each(writer), put("orders"))

	levada(t, nodes[1], "key", "delete", writer.ID)
	t.Logf("a deleted key is refused by all nodes after %v", becomes(t, unknownKey, each(writer), put("orders")))
	becomes(t, "ok", each(admin), list)
}

// awaitAnswer waits for a node that starts. Until it has caught up it must say that it cannot tell, never that it does not know the key: clients would give up.
func awaitAnswer(t *testing.T, c *kinesis.Client, want string) {
	t.Helper()
	seen := map[string]int{}
	for began := time.Now(); ; {
		got := list(t.Context(), c)
		if got == want {
			t.Logf("answers before the first good one: %v", seen)
			return
		}
		if got == unknownKey {
			t.Fatalf("a node that starts does not know a key that it knew before")
		}
		if strings.Contains(got, "connection refused") {
			got = "connection refused"
		}
		seen[got]++
		if time.Since(began) > cluster.StartMax {
			t.Fatal(fmt.Sprint("the node does not take the key: ", seen))
		}
		time.Sleep(5 * time.Millisecond)
	}
}
