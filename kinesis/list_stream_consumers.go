package kinesis

import (
	"context"

	"github.com/levada-stream/levada/kinesis/codec"
)

type listStreamConsumersInput struct {
	StreamARN               *string `is:"required;len=1:2048;match=streamARN"`
	NextToken               *string `is:"len=1:1048576"`
	MaxResults              *int64  `is:"range=1:10000"`
	StreamCreationTimestamp *codec.Time
	StreamId                *string `is:"len=1:24"`
}

func (in *listStreamConsumersInput) locate(s *Server) (string, error) {
	return s.resolve(&streamRef{StreamARN: in.StreamARN})
}

type listStreamConsumersOutput struct {
	Consumers []consumerShape
	NextToken *string
}

// listedMax is the most that a page of streams, consumers or channels has.
const listedMax = 100

// listStreamConsumers lists the consumers of a stream.
func listStreamConsumers(ctx context.Context, s *Server, c *call, in *listStreamConsumersInput) (*listStreamConsumersOutput, error) {
	from, err := s.continued(in.NextToken, in.StreamCreationTimestamp, c)
	if err != nil {
		return nil, err
	}
	all, err := s.consumersOf(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	all = after(all, from.After)
	out := &listStreamConsumersOutput{Consumers: []consumerShape{}}
	for i := range all {
		if len(out.Consumers) == pageSize(in.MaxResults, listedMax) {
			from.After = all[i-1].name
			out.NextToken = s.token(from, c)
			break
		}
		out.Consumers = append(out.Consumers, s.consumerShapeOf(c.stream, &all[i]))
	}
	return out, nil
}

// continued returns the token with which a listing goes on, an empty one if it begins.
func (s *Server) continued(token *string, created *codec.Time, c *call) (nextToken, error) {
	if token == nil {
		return nextToken{}, nil
	}
	if created != nil {
		return nextToken{}, fail(codeInvalidArgument, "NextToken and StreamCreationTimestamp cannot be given together.")
	}
	t, err := parseToken(*token, c.op.name, s.opts.Now())
	if err == nil && t.Stream != c.stream {
		err = fail(codeInvalidArgument, "The NextToken is another stream's.")
	}
	return t, err
}

// token returns the text of a token with which c's listing goes on.
func (s *Server) token(t nextToken, c *call) *string {
	t.Of, t.Stream, t.Issued = c.op.name, c.stream, s.opts.Now().UnixMilli()
	text := t.String()
	return &text
}

// pageSize is how many a page has at most.
func pageSize(asked *int64, most int) int {
	if asked == nil {
		return most
	}
	return int(min(*asked, int64(most)))
}
