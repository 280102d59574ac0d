package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

func TestTroublePausesGrow(t *testing.T) {
	now := time.Unix(1000, 0)
	var tr trouble
	if !tr.due(now) {
		t.Error("the first try is not due")
	}
	var seconds []int
	for range 8 {
		tr = tr.again(errors.New("x"), now)
		if tr.due(now.Add(tr.pause - 1)) {
			t.Errorf("due before its pause of %v", tr.pause)
		}
		now = now.Add(tr.pause)
		if !tr.due(now) {
			t.Errorf("not due after its pause of %v", tr.pause)
		}
		seconds = append(seconds, int(tr.pause/time.Second))
	}
	if want := []int{1, 2, 4, 8, 16, 32, 60, 60}; !slices.Equal(seconds, want) {
		t.Errorf("pauses of %v s, want %v", seconds, want)
	}
	if tr = tr.again(errors.New("x"), now.Add(troubleForgotten)); tr.pause != time.Second {
		t.Errorf("a pause of %v after a long time without trouble", tr.pause)
	}
}

// TestOneBadEntryStopsOneShard: a command that this program cannot apply ends the shard's replica, which is said and
// tried again, and nothing else.
func TestOneBadEntryStopsOneShard(t *testing.T) {
	nodes, infos := startCluster(t, 1, func(*configs.Config) {})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, []string{infos[0].GRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"bad", "good"} {
		if _, _, err := c.CreateStream(ctx, name, &pb.StreamSettings{Shards: 1}, true); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, name, client.Record{PartitionKey: "k", Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	first := nodes[0].node.shards.byGroup(1)
	if _, err := first.raft.Propose([]byte("no command of any version")).Wait(); err == nil {
		t.Fatal("applied")
	}
	await(ctx, t, func() error { // it is opened again, meets the entry again, and that shows
		resp, err := http.Get("http://" + infos[0].HTTP + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "cannot be applied")) {
			err = fmt.Errorf("/readyz says %d %s", resp.StatusCode, text)
		}
		return err
	})
	if n := metric(t, infos[0].HTTP, "levada_shard_replicas_failed"); n != 1 {
		t.Errorf("%v failed replicas", n)
	}
	if _, err := c.Put(ctx, "good", client.Record{PartitionKey: "k", Data: []byte("y")}); err != nil {
		t.Errorf("the other shard: %v", err)
	}
}
