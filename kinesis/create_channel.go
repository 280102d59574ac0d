package kinesis

import (
	"context"
	"slices"
)

type createChannelInput struct {
	ChannelName                      *string               `is:"required;len=1:128;match=streamName"`
	EncryptionConfiguration          *channelEncryption    `is:""`
	LoggingConfiguration             *channelLogging       `is:""`
	S3DestinationConfiguration       *s3Destination        `is:""`
	S3TablesDestinationConfiguration *s3TablesDestination  `is:""`
	ServiceExecutionRoleARN          *string               `is:"required;len=1:2048"`
	StreamConfigurationList          []channelStreamSource `is:"required;len=1:1"`
	Tags                             map[string]string     `is:"len=0:200;key=1:128;item=0:256"`
}

type channelStreamSource struct {
	RecordConfiguration *recordConfiguration `is:"required"`
	StreamARN           *string              `is:"required;len=1:2048;match=streamARN"`
}

// locate finds the stream whose records the channel is to deliver.
func (in *createChannelInput) locate(s *Server) (string, error) {
	return s.resolve(&streamRef{StreamARN: in.StreamConfigurationList[0].StreamARN})
}

// createChannel keeps a channel.
func createChannel(ctx context.Context, s *Server, c *call, in *createChannelInput) (*channelOutput, error) {
	if (in.S3DestinationConfiguration == nil) == (in.S3TablesDestinationConfiguration == nil) {
		return nil, fail(codeInvalidArgument, "Either S3DestinationConfiguration or S3TablesDestinationConfiguration must be given, and not both.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	if !k.onDemand() {
		return nil, fail(codeValidation, "Stream %s under account %s is not in ON_DEMAND mode, which channels need.", c.stream, s.opts.Account)
	}
	all, err := s.channelsOf(ctx, "")
	if err != nil {
		return nil, err
	}
	switch {
	case slices.ContainsFunc(all, func(ch channel) bool { return ch.doc.Name == *in.ChannelName }):
		return nil, fail(codeResourceInUse, "Channel %s under account %s already exists.", *in.ChannelName, s.opts.Account)
	case len(all) >= channelsMax:
		return nil, fail(codeLimitExceeded, "Account %s has %d channels and may have no more.", s.opts.Account, len(all))
	}
	ch := &channel{id: newRequestID()}
	ch.doc, err = changeDoc(ctx, s, "", docChannelPrefix+ch.id, func(doc *channelDoc, _ bool) error {
		*doc = in.document(c.stream, k.stream.GetCreatedMs(), s.opts.Now().UnixMilli())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.describe(ch), nil
}

// document is the channel that an input describes, with the defaults of what it leaves out.
func (in *createChannelInput) document(stream string, streamCreated, now int64) channelDoc {
	doc := channelDoc{
		Name: *in.ChannelName, Created: now, Role: *in.ServiceExecutionRoleARN, Stream: stream, StreamCreated: streamCreated,
		Record: in.StreamConfigurationList[0].RecordConfiguration, Encryption: in.EncryptionConfiguration, Logging: in.LoggingConfiguration,
		S3: in.S3DestinationConfiguration, Tables: in.S3TablesDestinationConfiguration, Tags: in.Tags,
	}
	if doc.Logging == nil {
		off := false
		doc.Logging = &channelLogging{&cloudWatchLogs{Enabled: &off}}
	}
	freshness := int64(freshnessDefault)
	if doc.S3 != nil {
		if doc.S3.DataFreshnessInSeconds == nil {
			doc.S3.DataFreshnessInSeconds = &freshness
		}
		if to := doc.S3.StorageConfiguration; doc.S3.DeadLetterQueueS3Configuration == nil {
			doc.S3.DeadLetterQueueS3Configuration = &deadLetters{BucketARN: to.BucketARN, ExpectedBucketOwner: to.ExpectedBucketOwner}
		}
	}
	if doc.Tables != nil && doc.Tables.DataFreshnessInSeconds == nil {
		doc.Tables.DataFreshnessInSeconds = &freshness
	}
	return doc
}
