package kinesis

import "context"

type updateChannelInput struct {
	channelRef
	LoggingConfiguration             *channelLogging  `is:""`
	S3DestinationConfiguration       *freshnessChange `is:""`
	S3TablesDestinationConfiguration *freshnessChange `is:""`
}

type freshnessChange struct {
	DataFreshnessInSeconds *int64 `is:"required;range=300:900"`
}

// updateChannel changes how fresh a channel keeps its destination, or its logging; nothing else of it can be changed.
func updateChannel(ctx context.Context, s *Server, _ *call, in *updateChannelInput) (*channelOutput, error) {
	return s.changeChannel(ctx, &in.channelRef, func(doc *channelDoc) error {
		if in.LoggingConfiguration != nil {
			doc.Logging = in.LoggingConfiguration
		}
		if f := in.S3DestinationConfiguration; f != nil {
			if doc.S3 == nil {
				return fail(codeInvalidArgument, "Channel %s does not deliver to a general purpose bucket.", doc.Name)
			}
			doc.S3.DataFreshnessInSeconds = f.DataFreshnessInSeconds
		}
		if f := in.S3TablesDestinationConfiguration; f != nil {
			if doc.Tables == nil {
				return fail(codeInvalidArgument, "Channel %s does not deliver to tables.", doc.Name)
			}
			doc.Tables.DataFreshnessInSeconds = f.DataFreshnessInSeconds
		}
		return nil
	})
}
