package kinesis

import "context"

type describeChannelInput struct{ channelRef }

// describeChannel describes a channel.
func describeChannel(ctx context.Context, s *Server, _ *call, in *describeChannelInput) (*channelOutput, error) {
	ch, err := in.find(ctx, s)
	if err != nil {
		return nil, err
	}
	return s.describe(ch), nil
}
