package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/tests/internal/cluster"
	"github.com/levada-stream/levada/tests/internal/history"
)

const (
	// askersPerStream is how many ask for the ends of a stream's shards at the same time.
	askersPerStream = 4
	// burstMax is the most questions that follow each other at once. Through different nodes, these
	// find a node that does not know yet what another one has told.
	burstMax = 4
	// askMax and askMost bound one question, the latter one in eight: a node that was cut off or lags says nothing
	// for as long as it may, and then perhaps something old.
	askMax  = 200 * time.Millisecond
	askMost = 6 * time.Second
	// backMax is how far before the end a read begins at most.
	backMax = 16
)

// asker asks where the shards of a stream end. All of its questions want a current answer.
type asker struct {
	run    *run
	stream *stream
	rng    *rand.Rand
	last   map[uint32]uint64 // by shard: the last answer
	shards []uint32          // in the order in which they were first asked for, closed ones as well
	tails  []history.Tail
}

// askTails asks through any node, whatever happens to it, until ctx ends.
func (r *run) askTails(ctx context.Context, s *stream, rng *rand.Rand) {
	a := &asker{run: r, stream: s, rng: rng, last: map[uint32]uint64{}}
	for ctx.Err() == nil {
		if shard, ok := a.anyShard(); ok {
			for range 1 + rng.IntN(burstMax) {
				a.ask(ctx, shard, r.cluster.Nodes[rng.IntN(len(r.cluster.Nodes))])
			}
		}
		wait(ctx, time.Duration(rng.Int64N(int64(20*time.Millisecond))))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tails = append(s.tails, a.tails...)
}

// anyShard draws a shard, now and then one that may be closed by now.
func (a *asker) anyShard() (uint32, bool) {
	if len(a.shards) > 0 && a.rng.IntN(8) == 0 {
		return a.shards[a.rng.IntN(len(a.shards))], true
	}
	sh, _ := a.stream.anyOpen(a.rng)
	if sh == nil {
		return 0, false
	}
	if !slices.Contains(a.shards, sh.GetNumber()) {
		a.shards = append(a.shards, sh.GetNumber())
	}
	return sh.GetNumber(), true
}

// ask asks one node and notes its answer. Without one there is nothing to hold against anybody.
func (a *asker) ask(ctx context.Context, shard uint32, node *cluster.Node) {
	most := askMax
	if a.rng.IntN(8) == 0 {
		most = askMost
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	streams, err := node.Streams()
	if err != nil {
		return
	}
	how, question := "a page from the latest on", a.latest
	if a.last[shard] > 0 && a.rng.IntN(2) == 0 {
		how, question = "a read to the end", a.toTheEnd
	}
	sent := a.run.now()
	next, closed, err := question(ctx, streams, shard)
	if err != nil {
		return
	}
	a.last[shard] = next
	a.tails = append(a.tails, history.Tail{
		By: fmt.Sprintf("%s by %s", node.Name, how), Shard: shard, Next: next, Closed: closed, Sent: sent, Done: a.run.now(),
	})
}

// latest asks for a page that begins at the end.
func (a *asker) latest(ctx context.Context, streams levadav1.StreamsClient, shard uint32) (next uint64, closed bool, err error) {
	resp, err := streams.GetRecords(ctx, &levadav1.GetRecordsRequest{
		Stream: a.stream.name, Shard: shard, From: &levadav1.Position{At: &levadav1.Position_Latest{Latest: true}},
	})
	return resp.GetTailOrdinal(), resp.GetEndOfShard(), err
}

// toTheEnd reads from a little before the last answer to the end. A replica that is behind that
// place itself would take the place for the end, so that it is not named.
func (a *asker) toTheEnd(ctx context.Context, streams levadav1.StreamsClient, shard uint32) (next uint64, closed bool, err error) {
	last := a.last[shard]
	req := &levadav1.ReadRequest{Stream: a.stream.name, Shard: shard, From: cluster.FromOrdinal(last - min(last, 1+a.rng.Uint64N(backMax)))}
	call, err := streams.Read(ctx, req)
	if err != nil {
		return 0, false, err
	}
	for {
		resp, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return next, closed, nil
		}
		if err != nil {
			return 0, false, err
		}
		next, closed = resp.GetNextOrdinal(), resp.GetEndOfShard()
	}
}

// sightEvery is the least time between two sights of a reader that are noted.
const sightEvery = time.Millisecond

// saw notes that a reader has been given all below next, if it is time for that.
func (r *run) saw(reader *history.Reader, next uint64) {
	now := r.now()
	if n := len(reader.Sights); n == 0 || now-reader.Sights[n-1].At >= sightEvery {
		reader.Sights = append(reader.Sights, history.Sight{Next: next, At: now})
	}
}
