package chaos

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	kind "github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/tests/internal/history"
	"github.com/levada-stream/levada/wal/record"
)

// rawProducer speaks the protocol itself, to do what the client library takes care not to: it asks
// nodes that may not lead, sends damaged batches, gives up after one try,
// and sends batches again that were acknowledged long ago.
type rawProducer struct {
	run    *run
	stream *stream
	rng    *rand.Rand

	session uint32 // producer number in the values
	counter uint64
	writes  []history.Write
}

// rawPause lies between two batches of a raw producer.
const rawPause = 15 * time.Millisecond

// attemptMax bounds one call.
const attemptMax = 5 * time.Second

// work sends single batches without producer identity until ctx ends. Each has
// one try: what is refused must never appear.
func (p *rawProducer) work(ctx context.Context) {
	p.session = p.stream.sessions.Add(1)
	for ctx.Err() == nil {
		sh, keys := p.stream.anyOpen(p.rng)
		if len(keys) == 0 {
			wait(ctx, rawPause)
			continue
		}
		shard := sh.GetNumber()
		from, batch := p.batch(keys, record.ProducerID{}, 0)
		damaged := p.rng.IntN(20) == 0
		if damaged {
			batch = slices.Clone(batch)
			batch[len(batch)-1] ^= 1
		}
		resp, err := p.send(shard, batch, p.rng.IntN(2) == 0)
		switch {
		case err == nil && damaged:
			p.stream.violated("I2", "a batch with a damaged checksum was acknowledged in shard %d", shard)
		case err == nil:
			p.acknowledge(from, shard, resp)
		case refused(err):
			p.settle(from, history.Failed)
		}
		wait(ctx, rawPause)
	}
	p.stream.record(p.writes)
}

// repeat sends numbered batches, each until it is acknowledged, and now and then once more
// afterwards: it must be recognised and answered with the same positions.
func (p *rawProducer) repeat(ctx context.Context) {
	for ctx.Err() == nil {
		p.session = p.stream.sessions.Add(1)
		p.counter = 0
		if sh, keys := p.stream.anyOpen(p.rng); len(keys) > 0 {
			if p.rng.IntN(2) == 0 { // one key never has to part
				keys = keys[:1]
			}
			p.repeatSession(ctx, sh.GetNumber(), keys)
		}
		wait(ctx, rawPause)
	}
	p.stream.record(p.writes)
}

// sessionBatches is how many batches a session has before the next shard's turn.
const sessionBatches = 200

// After a split or a merge a session goes on in the shard that has all of its keys: that one
// knows what was stored before, and answers it with the places in its parents.
func (p *rawProducer) repeatSession(ctx context.Context, shard uint32, keys []uint32) {
	var id record.ProducerID
	binary.LittleEndian.PutUint64(id[:], p.run.seed)
	binary.LittleEndian.PutUint32(id[8:], p.session)
	id[15] = 1
	for range sessionBatches {
		next := p.counter + 1
		from, batch := p.batch(keys, id, next)
		resp, in, err := p.sendUntilAnswered(ctx, shard, keys, batch)
		switch {
		case kind.KindOf(err) == kind.ShardClosed:
			p.settle(from, history.Failed) // its keys went to several shards: it ends here
			return
		case err != nil:
			return // refused after an attempt of unknown outcome, or time is up: all stays unknown
		}
		shard = in
		p.acknowledge(from, shard, resp)
		if p.rng.IntN(3) == 0 {
			again, in, err := p.sendUntilAnswered(ctx, shard, keys, batch)
			if err == nil && !samePlaces(resp, shard, again, in) {
				p.stream.violated("I5", "a batch of shard %d sent again was stored at %v and then, by shard %d, at %v", shard, resp.GetRanges(), in, again.GetRanges())
			}
			// A shard that was closed still tells what it has; only where it is gone may it be asked in vain.
			if err != nil && ctx.Err() == nil {
				p.stream.violated("I5", "a batch of shard %d sent again was answered with %v", shard, err)
			}
		}
		wait(ctx, rawPause)
	}
}

// sendUntilAnswered sends a batch until it is acknowledged, following its keys to the shards that take over, and says which
// shard answered. ShardClosed means that nothing was written and no single shard has all of the keys.
func (p *rawProducer) sendUntilAnswered(ctx context.Context, shard uint32, keys []uint32, batch record.Batch) (*levadav1.AppendResponse, uint32, error) {
	for {
		resp, err := p.send(shard, batch, false)
		if err == nil || ctx.Err() != nil || kind.KindOf(err) == kind.StaleProducer {
			return resp, shard, err
		}
		if closed := kind.As(err); closed != nil && closed.Kind == kind.ShardClosed {
			heir, found := p.heir(ctx, closed.Successors, keys)
			if !found {
				return nil, shard, err
			}
			shard = heir
		}
		wait(ctx, rawPause)
	}
}

// heir returns the one of a closed shard's successors that has all of the keys.
func (p *rawProducer) heir(ctx context.Context, successors, keys []uint32) (uint32, bool) {
	for ctx.Err() == nil {
		shards, err := p.run.shardsOf(ctx, p.stream)
		if err != nil {
			wait(ctx, rawPause)
			continue
		}
		for _, sh := range shards {
			if slices.Contains(successors, sh.GetNumber()) && len(p.stream.keysIn(rangeOf(sh))) >= len(keys) && containsAll(p.stream.keysIn(rangeOf(sh)), keys) {
				return sh.GetNumber(), true
			}
		}
		return 0, false
	}
	return 0, false
}

func containsAll(all, some []uint32) bool {
	for _, k := range some {
		if !slices.Contains(all, k) {
			return false
		}
	}
	return true
}

// batch makes the next one to five records of some keys; from is the index of the first in p.writes.
func (p *rawProducer) batch(keys []uint32, id record.ProducerID, first uint64) (from int, _ record.Batch) {
	b := record.NewBuilder(4096)
	from = len(p.writes)
	for range 1 + p.rng.IntN(5) {
		p.counter++
		v := history.Value{Producer: p.session, Key: keys[p.rng.IntN(len(keys))], Counter: p.counter}
		r := record.Record{Key: []byte(history.KeyText(v.Key)), Data: history.Encode(v, p.rng.IntN(400))}
		if err := b.Add(r); err != nil {
			p.run.t.Errorf("the test's own record is refused: %v", err)
		}
		p.writes = append(p.writes, history.Write{Value: v, Sent: p.run.now()})
	}
	return from, b.Finish(id, first, false)
}

// send makes one attempt through any node.
func (p *rawProducer) send(shard uint32, batch record.Batch, noForward bool) (*levadav1.AppendResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptMax)
	defer cancel()
	nodes := p.run.cluster.Nodes
	streams, err := nodes[p.rng.IntN(len(nodes))].Streams()
	if err != nil {
		return nil, err
	}
	call, err := streams.Append(ctx)
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	req := &levadav1.AppendRequest{Id: 1, Stream: p.stream.name, Shard: shard, NoForward: noForward, Batch: batch}
	_ = call.Send(req) // Recv returns the reason
	_ = call.CloseSend()
	resp, err := call.Recv()
	if err != nil {
		return nil, faultpb.FromStatus(err)
	}
	if resp.GetError() != nil {
		return nil, faultpb.FromProto(resp.GetError())
	}
	return resp, nil
}

// refused reports whether err promises that nothing was done.
func refused(err error) bool {
	switch kind.KindOf(err) {
	case kind.Invalid, kind.NotFound, kind.TooLarge, kind.Throttled, kind.NotLeader, kind.Denied, kind.ShardClosed:
		return true
	}
	return false
}

// settle gives the records from index from on their outcome.
func (p *rawProducer) settle(from int, o history.Outcome) {
	for i := from; i < len(p.writes); i++ {
		p.writes[i].Outcome, p.writes[i].Done = o, p.run.now()
	}
}

func (p *rawProducer) acknowledge(from int, shard uint32, resp *levadav1.AppendResponse) {
	p.settle(from, history.Acked)
	i := from
	for _, r := range resp.GetRanges() {
		in := shardIn(r, shard)
		for k := range uint64(r.GetCount()) {
			if i == len(p.writes) {
				break
			}
			p.writes[i].Shard, p.writes[i].Seq = in, seqno.New(r.GetTimeMs(), r.GetFirstOrdinal()+k, in)
			i++
		}
	}
	if i != len(p.writes) {
		p.stream.violated("I1", "an acknowledgement in shard %d covers %d records of %d", shard, i-from, len(p.writes)-from)
	}
	p.stream.acked(shard, p.writes[from].Sent)
}

// shardIn returns the shard that has the records of a range: the one that answered, or an ancestor.
func shardIn(r *levadav1.AppendedRange, shard uint32) uint32 {
	if r.Ancestor != nil {
		return r.GetAncestor()
	}
	return shard
}

// samePlaces reports whether two acknowledgements, each of a shard, name the same positions.
func samePlaces(a *levadav1.AppendResponse, inA uint32, b *levadav1.AppendResponse, inB uint32) bool {
	places := func(resp *levadav1.AppendResponse, shard uint32) []seqno.Number {
		var out []seqno.Number
		for _, r := range resp.GetRanges() {
			for k := range uint64(r.GetCount()) {
				out = append(out, seqno.New(r.GetTimeMs(), r.GetFirstOrdinal()+k, shardIn(r, shard)))
			}
		}
		return out
	}
	return slices.Equal(places(a, inA), places(b, inB))
}
