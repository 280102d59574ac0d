package kinesis

import (
	"context"

	"github.com/levada-stream/levada/client"
)

// The rates of the original service for one shard: what may be written and read in a second. A second's worth may come at once.
const (
	writeBytesRate   = 1 << 20
	writeRecordsRate = 1000
	readBytesRate    = 2 << 20
	readCallsRate    = 5
	// admitTries is how often the shards of records are looked for, while those that were found are closed.
	admitTries = 50
)

// limited reports whether a stream's shards are held to these rates: as its own tag says, or else as this server's settings do.
func (s *Server) limited(k *known) bool {
	if own := LimitsProfile(k.doc.Tags[tagLimits]); own.valid() {
		return own == LimitsKinesis
	}
	return s.opts.Limits == LimitsKinesis
}

func bucket(name string, take, rate float64) client.TokenBucket {
	return client.TokenBucket{Name: "kinesis-" + name, Take: take, Rate: rate, Burst: rate}
}

// overRate is the error for a shard that is asked for more than its rates.
func (s *Server) overRate(stream string, shard uint32) *apiError {
	return fail(codeThroughput, "Rate exceeded for shard %s in stream %s under account %s.", shardID(shard), stream, s.opts.Account)
}

// admitWrites returns, for each record, the error of its shard's rates, nil if it may be written. The records of one shard are
// taken or refused together.
func (s *Server) admitWrites(ctx context.Context, k *known, records []client.Record) ([]*apiError, error) {
	refused := make([]*apiError, len(records))
	if !s.limited(k) {
		return refused, nil
	}
	todo := make([]int, len(records))
	for i := range todo {
		todo[i] = i
	}
	for try := 1; len(todo) > 0; try++ {
		var err error
		if todo, err = s.takeFor(ctx, k.stream.GetName(), records, todo, refused); err != nil {
			return nil, err
		}
		if len(todo) > 0 {
			if try == admitTries {
				return nil, unavailable("Stream %s is being resharded.", k.stream.GetName())
			}
			if err := pause(ctx); err != nil {
				return nil, err
			}
		}
	}
	return refused, nil
}

// takeFor takes from the buckets of the shards of some of the records, and notes which are refused. It returns those that are left: their shards were closed a
// moment ago, and they have others.
func (s *Server) takeFor(ctx context.Context, stream string, records []client.Record, some []int, refused []*apiError) (left []int, err error) {
	type load struct {
		records []int
		bytes   int
	}
	loads := map[uint32]*load{}
	for _, i := range some {
		shard, err := s.cluster.ShardFor(ctx, stream, records[i])
		if err != nil {
			return nil, s.streamError(stream, err)
		}
		l := loads[shard]
		if l == nil {
			l = &load{}
			loads[shard] = l
		}
		l.records = append(l.records, i)
		l.bytes += len(records[i].Data) + len(records[i].PartitionKey)
	}
	for shard, l := range loads {
		wait, err := s.cluster.TakeAppendTokens(ctx, stream, shard, bucket("write-bytes", float64(l.bytes), writeBytesRate), bucket("write-records", float64(len(l.records)), writeRecordsRate))
		switch {
		case client.IsShardClosed(err):
			left = append(left, l.records...)
		case err != nil:
			return nil, s.streamError(stream, err)
		case wait > 0:
			for _, i := range l.records {
				refused[i] = s.overRate(stream, shard)
			}
		}
	}
	return left, nil
}

// admitRead refuses a call that a shard's readers are too many or too quick for.
func (s *Server) admitRead(ctx context.Context, k *known, shard uint32) error {
	if !s.limited(k) {
		return nil
	}
	wait, err := s.cluster.TakeTokens(ctx, k.stream.GetName(), shard, bucket("read-calls", 1, readCallsRate), bucket("read-bytes", 0, readBytesRate))
	if err == nil && wait > 0 {
		return s.overRate(k.stream.GetName(), shard)
	}
	return s.streamError(k.stream.GetName(), err)
}

// chargeRead counts what was read. More than a second's worth is owed: the next calls are refused until it has come in.
func (s *Server) chargeRead(ctx context.Context, k *known, shard uint32, records []client.Record) {
	if !s.limited(k) {
		return
	}
	bytes := 0
	for i := range records {
		bytes += len(records[i].Data) + len(records[i].PartitionKey)
	}
	// What cannot be counted now is a reader's gain.
	_ = s.cluster.SpendTokens(ctx, k.stream.GetName(), shard, bucket("read-bytes", float64(bytes), readBytesRate))
}
