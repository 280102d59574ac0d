package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/levada-stream/levada/api/faultpb"
	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/wal/record"
)

// RepeatableRecordsMax is how many records a repeatable call may have.
const RepeatableRecordsMax = 10_000

// A repeatable call numbers its records by the order of their hash keys, from 1. The keys of a shard are a range, so its records
// are a run of numbers, and one batch; a shard that is split leaves to its children parts of the run. So a record has
// its number whatever shards there are when the call is repeated.

// PutRepeatable writes records and waits for their results, each in the place of its record. The same call again, by this client or any other,
// within the stream's de-duplication window has the same results and stores nothing twice; records that could not be written before are written then. A call is the same if its token, any text, and
// all its records are. Records of one hash key are stored in the order in which they are given. Unlike a Producer's they are not spread if their key is
// salted, since that has no memory.
//
// skip names records, by their places, that are left out this time; their results are zero. An error is about all of them, nothing was written then.
func (c *Client) PutRepeatable(ctx context.Context, stream, token string, records []Record, skip func(i int) bool, retryFor time.Duration) ([]Result, error) {
	if len(records) > RepeatableRecordsMax {
		return nil, &Error{Kind: TooLarge, Field: "records", Limit: RepeatableRecordsMax, Message: "a repeatable call of too many records"}
	}
	p := &repeatablePut{c: c, stream: stream, id: repeatableID(stream, token, records), results: make([]Result, len(records)), until: time.Now().Add(retryFor)}
	var open []callRecord
	for i, n := range number(records) {
		if err := n.record.Validate(); err != nil {
			p.results[n.at].Err = asError(err)
			continue
		}
		n.number = uint64(i) + 1
		if skip == nil || !skip(n.at) {
			open = append(open, n)
		}
	}
	return p.results, p.put(ctx, open)
}

// repeatableID names a call. Everything that makes it this one goes into it: with another record it is another call, and
// must not be answered with the places of records that it does not have.
func repeatableID(stream, token string, records []Record) record.ProducerID {
	h := sha256.New()
	var b []byte
	add := func(parts ...[]byte) {
		for _, part := range parts {
			b = binary.LittleEndian.AppendUint64(b[:0], uint64(len(part)))
			h.Write(b) // never fails
			h.Write(part)
		}
	}
	add(stringBytes(stream), stringBytes(token))
	for _, r := range records {
		key := r.HashKey()
		add(stringBytes(r.PartitionKey), key.AppendBytes(nil), r.Data)
	}
	return record.RepeatableID([16]byte(h.Sum(nil)))
}

// callRecord is a record of a repeatable call.
type callRecord struct {
	at     int // its place in the call
	number uint64
	key    HashKey
	record record.Record
}

// number returns records in the order of their hash keys, those of one in the order given.
func number(records []Record) []callRecord {
	all := make([]callRecord, len(records))
	for i, r := range records {
		all[i] = callRecord{at: i, key: r.HashKey(), record: r.encodable()}
	}
	slices.SortStableFunc(all, func(a, b callRecord) int { return a.key.Compare(b.key) })
	return all
}

// repeatablePut is one repeatable call under way.
type repeatablePut struct {
	c       *Client
	stream  string
	id      record.ProducerID
	results []Result
	until   time.Time
	unsure  bool // an attempt has an unknown outcome
}

// put writes records, ascending by number, until each has its result.
func (p *repeatablePut) put(ctx context.Context, open []callRecord) error {
	wait := pauses{first: 10 * time.Millisecond, max: 500 * time.Millisecond}
	routes := map[uint32]*router{}
	m, err := p.c.maps.get(ctx, p.stream)
	if err != nil {
		return err
	}
	for len(open) > 0 {
		began := time.Now()
		var after time.Duration
		if open, after = p.round(ctx, m, routes, open); len(open) == 0 {
			return nil
		}
		if !sleep(ctx, max(after, wait.next())) {
			p.fail(open, newError(Unavailable, "gave up: %w", ctx.Err()))
			return nil
		}
		inTime, cancel := context.WithTimeout(ctx, mapWait)
		newer, err := p.c.maps.newer(inTime, p.stream, began)
		cancel()
		switch {
		case err == nil:
			m = newer
		case IsNotFound(err): // for other reasons the map at hand must do
			p.fail(open, asError(err))
			return nil
		}
	}
	return nil
}

// round tries each shard once. It returns the records to try again, ascending, and after how long at least.
func (p *repeatablePut) round(ctx context.Context, m *partitionMap, routes map[uint32]*router, open []callRecord) (again []callRecord, after time.Duration) {
	runs := runsOf(m, open)
	answers := make([]chan runAnswer, len(runs))
	for i, r := range runs {
		route := routes[r.shard.number]
		if route == nil {
			route = &router{}
			routes[r.shard.number] = route
		}
		answer := make(chan runAnswer, 1)
		answers[i] = answer
		address, _ := route.choose(r.shard, p.c.conns.seeds)
		go func() { answer <- p.send(ctx, m.streamID, r, address) }()
	}
	for i, answer := range answers {
		a := <-answer
		route := routes[runs[i].shard.number]
		if a.err == nil {
			route.worked()
			continue
		}
		open, pause := p.conclude(ctx, runs[i], a, route)
		again = append(again, open...)
		after = max(after, pause)
	}
	slices.SortFunc(again, func(a, b callRecord) int { return cmp.Compare(a.number, b.number) })
	return again, after
}

// batchRun is what one shard gets of a call.
type batchRun struct {
	shard   *shardInfo
	records []callRecord
}

// runsOf cuts records into runs of numbers of one shard each.
func runsOf(m *partitionMap, open []callRecord) []batchRun {
	var runs []batchRun
	for _, n := range open {
		sh := m.lookup(n.key)
		if i := len(runs) - 1; i >= 0 && runs[i].shard == sh && runs[i].records[len(runs[i].records)-1].number+1 == n.number {
			runs[i].records = append(runs[i].records, n)
			continue
		}
		runs = append(runs, batchRun{sh, []callRecord{n}})
	}
	return runs
}

// runAnswer is what became of a run.
type runAnswer struct {
	err  *Error
	sure bool // the error is the service's answer about this run: it is not stored
}

// send writes a run and, if that succeeds, notes the results.
func (p *repeatablePut) send(ctx context.Context, streamID uint64, r batchRun, address string) runAnswer {
	if address == "" {
		return runAnswer{newError(Unavailable, "shard %d of stream %s has no leader now", r.shard.number, p.stream), true}
	}
	size := record.HeaderSize
	for _, n := range r.records {
		size += n.record.Size()
	}
	builder := record.NewBuilder(size)
	for _, n := range r.records {
		if err := builder.Add(n.record); err != nil {
			return runAnswer{newError(TooLarge, "the records of one shard do not fit one batch: %w", err), true}
		}
	}
	request := &levadav1.AppendRequest{
		Id: 1, Stream: p.stream, StreamId: streamID, Shard: r.shard.number, Batch: builder.Finish(p.id, r.records[0].number, false),
	}
	api, err := p.c.streams(address)
	if err != nil {
		return runAnswer{asError(err), true}
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	call, err := api.Append(ctx)
	if err != nil {
		return runAnswer{asError(err), true}
	}
	_ = call.Send(request) // why it fails is what Recv says
	response, err := call.Recv()
	if err != nil {
		return runAnswer{newError(Unavailable, "node %s: %w", address, err), false}
	}
	if e := response.GetError(); e != nil {
		known := asError(faultpb.FromProto(e))
		return runAnswer{known, known.Kind != Unavailable && known.Kind != NotLeader && known.Kind != Internal}
	}
	if !covers(response.GetRanges(), len(r.records)) {
		return runAnswer{newError(Internal, "node %s acknowledged something else than was sent", address), false}
	}
	b := batch{shard: r.shard.number, ranges: response.GetRanges()}
	for i, n := range r.records {
		p.results[n.at] = b.result(i)
	}
	return runAnswer{}
}

// ackTimeout is how long one attempt may take before another node is tried.
const ackTimeout = 3 * time.Second

// conclude decides what follows from an attempt that failed: it returns the records to try again, and after how long at least.
func (p *repeatablePut) conclude(ctx context.Context, r batchRun, a runAnswer, route *router) (again []callRecord, after time.Duration) {
	err := a.err
	p.unsure = p.unsure || !a.sure
	final := a.sure && refusal(err.Kind) && err.Kind != NotFound // NotFound: a node may lag; the map decides
	late := ctx.Err() != nil || !time.Now().Before(p.until)
	if late && !final && err.Kind != Throttled {
		err = newError(Unavailable, "shard %d of stream %s gave no acknowledgement in time: %w", r.shard.number, p.stream, err)
	}
	switch {
	case final || late:
		p.fail(r.records, err)
		for _, n := range r.records {
			p.results[n.at].Shard = r.shard.number
		}
		return nil, 0
	case err.Kind == NotLeader && route.follow(err.LeaderAddr, route.chosen), err.Kind == ShardClosed, err.Kind == Throttled:
		// The node works.
	default:
		route.failed()
	}
	return r.records, min(err.RetryAfter, time.Until(p.until))
}

func (p *repeatablePut) fail(records []callRecord, err *Error) {
	if p.unsure {
		err = err.maybeWritten()
	}
	for _, n := range records {
		p.results[n.at] = Result{Err: err}
	}
}
