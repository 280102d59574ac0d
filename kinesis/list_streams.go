package kinesis

import (
	"context"
	"slices"
	"strings"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/kinesis/codec"
)

type listStreamsInput struct {
	general
	Limit                    *int64  `is:"range=1:10000"`
	ExclusiveStartStreamName *string `is:"len=1:128;match=streamName"`
	NextToken                *string `is:"len=1:1048576"`
}

type (
	listStreamsOutput struct {
		HasMoreStreams  bool
		NextToken       *string
		StreamNames     []string
		StreamSummaries []streamSummary
	}
	streamSummary struct {
		StreamARN               string
		StreamCreationTimestamp codec.Time
		StreamModeDetails       modeShape
		StreamName              string
		StreamStatus            string
	}
)

// listStreams lists the streams by name.
func listStreams(ctx context.Context, s *Server, c *call, in *listStreamsInput) (*listStreamsOutput, error) {
	from, err := s.continued(in.NextToken, nil, c)
	if err != nil {
		return nil, err
	}
	if in.ExclusiveStartStreamName != nil {
		from.After = *in.ExclusiveStartStreamName
	}
	all, err := s.cluster.ListStreams(ctx)
	if err != nil {
		return nil, err
	}
	at, found := slices.BinarySearchFunc(all, from.After, func(st *levadav1.Stream, name string) int { return strings.Compare(st.GetName(), name) })
	if found {
		at++
	}
	out := &listStreamsOutput{StreamNames: []string{}, StreamSummaries: []streamSummary{}}
	for _, st := range all[at:] {
		if len(out.StreamNames) == pageSize(in.Limit, listedMax) {
			out.HasMoreStreams = true
			from.After = out.StreamNames[len(out.StreamNames)-1]
			out.NextToken = s.token(from, c)
			break
		}
		k := &known{stream: st}
		status := statusActive
		if g := st.GetGoal(); st.GetState() == "creating" {
			status = statusCreating
		} else if g != nil && g.GetEndedMs() == 0 {
			status = statusUpdating
		}
		out.StreamNames = append(out.StreamNames, st.GetName())
		out.StreamSummaries = append(out.StreamSummaries, streamSummary{
			StreamARN: s.streamARN(st.GetName()), StreamCreationTimestamp: codec.Time(st.GetCreatedMs()),
			StreamModeDetails: modeShape{k.mode()}, StreamName: st.GetName(), StreamStatus: status,
		})
	}
	return out, nil
}
