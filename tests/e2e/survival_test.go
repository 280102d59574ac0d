package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/wal/record"
)

// feed writes lines to a put, calling half when half of them are written.
func feed(lines []string, half func()) io.Reader {
	r, w := io.Pipe()
	go func() {
		for i, line := range lines {
			if i == len(lines)/2 {
				half()
			}
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				return // the put has ended; its exit code tells
			}
		}
		w.Close()
	}()
	return r
}

// startWithStream starts three nodes with a stream of four shards.
func startWithStream(t *testing.T) (*cluster.Cluster, shell) {
	t.Helper()
	c := cluster.Start(t, cluster.Options{})
	sh := shell{t, strings.Join(c.Endpoints(), ",")}
	sh.must(nil, "stream", "create", "access", "--shards", "4")
	return c, sh
}

// busiest returns the node that leads most shards.
func busiest(t *testing.T, c *cluster.Cluster) *cluster.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callMax)
	defer cancel()
	state, err := c.State(ctx)
	if err != nil {
		t.Error(err) // not Fatal: this may run beside the test's own goroutine
		return c.Nodes[0]
	}
	nodes := slices.SortedFunc(slices.Values(state.GetNodes()), func(a, b *levadav1.Node) int { return int(b.GetLeaders()) - int(a.GetLeaders()) })
	if n := c.ByID(state, nodes[0].GetId()); n != nil {
		return n
	}
	return c.Nodes[0]
}

// TestPutSurvivesLeaderKill kills the node that leads most shards in the middle
// of a put: the put must end well, with nothing missing and nothing twice.
func TestPutSurvivesLeaderKill(t *testing.T) {
	c, sh := startWithStream(t)
	lines := makeLines(tourLines)
	input := feed(lines, func() {
		victim := busiest(t, c)
		if err := victim.Kill(); err != nil {
			t.Error(err)
		}
		t.Logf("killed %s", victim.Name)
	})
	sh.must(input, "put", "access", "-", "--key-regex", keyPattern)
	sameLines(t, lines, sh.must(nil, "read", "access", "--format", "raw"))
	healed(t, c)
	replicasEqual(t, c, "access", 4)
}

// TestPutSurvivesPowerCut kills all nodes at once in the middle of a put and starts
// them again: the put goes on, and every line is there once.
func TestPutSurvivesPowerCut(t *testing.T) {
	c, sh := startWithStream(t)
	lines := makeLines(tourLines)
	input := feed(lines, func() {
		if err := c.KillAll(); err != nil {
			t.Error(err)
		}
		if err := c.StartDown(); err != nil {
			t.Error(err)
		}
	})
	acked := filepath.Join(t.TempDir(), "acked")
	sh.must(input, "put", "access", "-", "--key-regex", keyPattern, "--acked", acked)
	sameLines(t, lines, sh.must(nil, "read", "access", "--format", "raw"))
	ackedAreThere(t, lines, acked, sh.must(nil, "read", "access", "--format", "{{.Shard}}\t{{.Sequence}}\t{{.Data}}"))
	healed(t, c)
	replicasEqual(t, c, "access", 4)
}

// ackedAreThere checks that each line that put reported as acknowledged is at the
// place that it reported.
func ackedAreThere(t *testing.T, lines []string, ackedFile, read string) {
	t.Helper()
	b, err := os.ReadFile(ackedFile)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{} // "shard TAB sequence" to line
	for one := range strings.Lines(read) {
		if parts := strings.SplitN(strings.TrimSuffix(one, "\n"), "\t", 3); len(parts) == 3 {
			at[parts[0]+"\t"+parts[1]] = parts[2]
		}
	}
	count, wrong := 0, 0
	for one := range strings.Lines(string(b)) {
		number, place, _ := strings.Cut(strings.TrimSuffix(one, "\n"), "\t")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > len(lines) {
			t.Fatalf("acknowledgement %q names no line", one)
		}
		count++
		if at[place] != lines[n-1] {
			if wrong++; wrong <= 5 {
				t.Errorf("line %d was acknowledged at %s, where %q is", n, place, at[place])
			}
		}
	}
	if count != len(lines) || wrong > 5 {
		t.Errorf("%d of %d lines were acknowledged, %d are not where that says", count, len(lines), wrong)
	}
}

// TestWipedNodeReturns deletes a node's data directory while it is down. The node
// must come back as a new one, get all its replicas back, and then give the
// same records as the others from its own disk alone.
func TestWipedNodeReturns(t *testing.T) {
	c, sh := startWithStream(t)
	lines := makeLines(tourLines)
	sh.must(strings.NewReader(text(lines[:tourLines/2])), "put", "access", "-", "--key-regex", keyPattern)
	wiped := busiest(t, c)
	before := idOf(t, c, wiped)
	if err := wiped.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := wiped.Wipe(); err != nil {
		t.Fatal(err)
	}
	sh.must(strings.NewReader(text(lines[tourLines/2:])), "put", "access", "-", "--key-regex", keyPattern)
	if err := wiped.Start(); err != nil {
		t.Fatal(err)
	}
	healed(t, c)
	if after := idOf(t, c, wiped); after == before || after == "" {
		t.Errorf("the wiped node came back as %q, it was %q", after, before)
	}
	replicasEqual(t, c, "access", 4)
	for _, n := range c.Nodes {
		sameLines(t, lines, sh.must(nil, "read", "access", "--format", "raw", "--node", n.Name, "--local"))
	}
}

// idOf returns the identity under which a node is part of the cluster now.
func idOf(t *testing.T, c *cluster.Cluster, n *cluster.Node) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callMax)
	defer cancel()
	state, err := c.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range state.GetNodes() {
		if c.ByID(state, known.GetId()) == n {
			return known.GetId()
		}
	}
	return ""
}

// healMax bounds the healing after a fault.
const healMax = 90 * time.Second

// healed starts what is down, again if it ends once more, and waits until the cluster is healthy.
func healed(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healMax)
	defer cancel()
	err := cluster.Await(ctx, func(ctx context.Context) error {
		if err := c.StartDown(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, healMax/10)
		defer cancel()
		return c.AwaitHealthy(ctx)
	})
	if err != nil {
		t.Fatalf("not healthy after %v: %v", healMax, err)
	}
}

// replicasEqual waits until every node gives the same records of every shard from its own replica.
func replicasEqual(t *testing.T, c *cluster.Cluster, stream string, shards uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healMax)
	defer cancel()
	for shard := range shards {
		err := cluster.Await(ctx, func(ctx context.Context) error {
			var first []string
			for i, n := range c.Nodes {
				own, err := contents(ctx, n, stream, shard)
				if err != nil {
					return fmt.Errorf("%s: %w", n.Name, err)
				}
				if i == 0 {
					first = own
				}
				if !slices.Equal(first, own) {
					return fmt.Errorf("%s has %d records, %s %d or other ones", c.Nodes[0].Name, len(first), n.Name, len(own))
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("shard %d of stream %s: %v", shard, stream, err)
		}
	}
}

// contents returns what a node's own replica of a shard holds, in text.
func contents(ctx context.Context, n *cluster.Node, stream string, shard uint32) (all []string, err error) {
	req := &levadav1.ReadRequest{Stream: stream, Shard: shard, LocalOnly: true, From: cluster.FromOrdinal(0)}
	_, err = n.Read(ctx, req, func(seq seqno.Number, r record.Record) error {
		all = append(all, seq.String()+" "+string(r.Key)+" "+string(r.Data))
		return nil
	})
	return all, err
}
