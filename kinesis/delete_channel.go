package kinesis

import "context"

type deleteChannelInput struct{ channelRef }

// deleteChannel deletes a channel.
func deleteChannel(ctx context.Context, s *Server, _ *call, in *deleteChannelInput) (*nothing, error) {
	ch, err := in.find(ctx, s)
	if err != nil {
		return nil, err
	}
	return nil, removeDoc(ctx, s, "", docChannelPrefix+ch.id)
}
