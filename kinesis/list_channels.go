package kinesis

import (
	"context"
	"slices"

	"github.com/levada-stream/levada/kinesis/codec"
)

type listChannelsInput struct {
	general
	MaxResults   *int64          `is:"range=1:10000"`
	NextToken    *string         `is:"len=1:1048576"`
	StreamFilter []channelFilter `is:"len=1:100"`
}

type channelFilter struct {
	StreamARN               *string `is:"required;len=1:2048;match=streamARN"`
	StreamCreationTimestamp *codec.Time
}

type (
	listChannelsOutput struct {
		ChannelSummaries []channelSummary
		NextToken        *string
	}
	channelSummary struct {
		ChannelARN               string
		ChannelCreationTimestamp codec.Time
		ChannelDestinationType   string
		ChannelId                string
		ChannelName              string
		ChannelStatus            string
		ChannelStatusReason      string
		Streams                  []channelStreamID
	}
	channelStreamID struct {
		StreamARN               string
		StreamCreationTimestamp codec.Time
	}
)

// listChannels lists channels by their ids.
func listChannels(ctx context.Context, s *Server, c *call, in *listChannelsInput) (*listChannelsOutput, error) {
	from, err := s.continued(in.NextToken, nil, c)
	if err != nil {
		return nil, err
	}
	all, err := s.channelsOf(ctx, "")
	if err != nil {
		return nil, err
	}
	out := &listChannelsOutput{ChannelSummaries: []channelSummary{}}
	for _, ch := range all {
		arn := s.streamARN(ch.doc.Stream)
		wanted := len(in.StreamFilter) == 0 || slices.ContainsFunc(in.StreamFilter, func(f channelFilter) bool { return *f.StreamARN == arn })
		if !wanted || ch.id <= from.After {
			continue
		}
		if len(out.ChannelSummaries) == pageSize(in.MaxResults, listedMax) {
			from.After = out.ChannelSummaries[len(out.ChannelSummaries)-1].ChannelId
			out.NextToken = s.token(from, c)
			break
		}
		kind := "S3"
		if ch.doc.Tables != nil {
			kind = "S3_TABLES"
		}
		out.ChannelSummaries = append(out.ChannelSummaries, channelSummary{
			ChannelARN: s.channelARN(ch.doc.Name, ch.id), ChannelCreationTimestamp: codec.Time(ch.doc.Created), ChannelDestinationType: kind,
			ChannelId: ch.id, ChannelName: ch.doc.Name, ChannelStatus: channelStatus, ChannelStatusReason: channelStatusReason,
			Streams: []channelStreamID{{arn, codec.Time(ch.doc.StreamCreated)}},
		})
	}
	return out, nil
}
