package kinesis

import (
	"context"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

type getShardIteratorInput struct {
	streamRef
	ShardId                *string `is:"required;len=1:128;match=shardId"`
	ShardIteratorType      *string `is:"required;enum=iteratorType"`
	StartingSequenceNumber *string `is:"match=sequenceNumber"`
	Timestamp              *codec.Time
	DryRun                 *bool
}

type getShardIteratorOutput struct{ ShardIterator string }

// clockSlack is how far clocks of clients and nodes may be apart.
const clockSlack = 5 * time.Second

// getShardIterator returns an iterator of a place in a shard.
func getShardIterator(ctx context.Context, s *Server, c *call, in *getShardIteratorInput) (*getShardIteratorOutput, error) {
	k, err := s.known(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	sh, err := s.shard(ctx, c.stream, *in.ShardId)
	if err != nil {
		return nil, err
	}
	ordinal, err := s.startingPoint(ctx, c.stream, sh, startingPosition{Type: in.ShardIteratorType, SequenceNumber: in.StartingSequenceNumber, Timestamp: in.Timestamp}, "GetShardIterator")
	if err != nil {
		return nil, err
	}
	if in.DryRun != nil && *in.DryRun {
		return nil, errDryRun()
	}
	it := iterator{ordinal: ordinal, issued: s.opts.Now(), streamID: k.stream.GetId(), shard: sh.GetNumber(), stream: c.stream}
	return &getShardIteratorOutput{ShardIterator: it.String()}, nil
}

// startingPosition names a place in a shard.
type startingPosition struct {
	Type           *string `is:"required;enum=iteratorType"`
	SequenceNumber *string `is:"match=sequenceNumber"`
	Timestamp      *codec.Time
}

// startingPoint returns the ordinal of the first record at or after a place: 0 for the oldest, the one after the newest for the latest.
func (s *Server) startingPoint(ctx context.Context, stream string, sh *levadav1.Shard, p startingPosition, operation string) (uint64, error) {
	var from client.Position
	switch *p.Type {
	case "TRIM_HORIZON":
		return 0, nil
	case "LATEST":
		from = client.Latest()
	case "AT_TIMESTAMP":
		if p.Timestamp == nil {
			return 0, fail(codeInvalidArgument, "Timestamp must be specified for ShardIteratorType AT_TIMESTAMP.")
		}
		if now := s.opts.Now(); int64(*p.Timestamp) > now.Add(clockSlack).UnixMilli() {
			return 0, fail(codeInvalidArgument, "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", int64(*p.Timestamp), now.UnixMilli())
		}
		from = client.AtTime(time.UnixMilli(max(0, int64(*p.Timestamp))))
	default:
		return s.afterOrAt(stream, sh, p, operation)
	}
	page, err := s.cluster.GetRecords(ctx, stream, sh.GetNumber(), from, client.PageOptions{MaxBytes: 1})
	if err != nil {
		return 0, s.readError(ctx, stream, sh.GetNumber(), err)
	}
	if len(page.Records) > 0 {
		return page.Records[0].Ordinal, nil
	}
	return page.Next, nil
}

// afterOrAt returns the ordinal that a sequence number tells. "0" is before the first record: it is where a subscription goes on that has seen none.
func (s *Server) afterOrAt(stream string, sh *levadav1.Shard, p startingPosition, operation string) (uint64, error) {
	if p.SequenceNumber == nil {
		return 0, fail(codeInvalidArgument, "StartingSequenceNumber must be specified for ShardIteratorType %s.", *p.Type)
	}
	if *p.SequenceNumber == "0" {
		return 0, nil
	}
	n, err := client.ParseSequence(*p.SequenceNumber)
	if err != nil || n.Shard() != uint16(sh.GetNumber()) || sh.GetState() == shardClosed && n.Ordinal() > sh.GetEndOrdinal() {
		return 0, fail(codeInvalidArgument, "StartingSequenceNumber %.129s used in %s on shard %s in stream %s under account %s is invalid.",
			*p.SequenceNumber, operation, shardID(sh.GetNumber()), stream, s.opts.Account)
	}
	// The number with which a shard's range starts is before its first record, though it has the same ordinal.
	if *p.Type == "AFTER_SEQUENCE_NUMBER" && n != client.NewSequence(sh.GetOpenedMs(), 0, sh.GetNumber()) {
		return n.Ordinal() + 1, nil
	}
	return n.Ordinal(), nil
}
