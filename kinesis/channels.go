package kinesis

import (
	"context"
	"slices"
	"strings"

	"github.com/levada-stream/levada/kinesis/codec"
)

// channelDoc is a channel: what delivers a stream's records somewhere. It is kept and described; nothing delivers yet, and its status says so.
type channelDoc struct {
	Name          string               `json:"name"`
	Created       int64                `json:"created"` // unix ms
	Role          string               `json:"role"`
	Stream        string               `json:"stream"`
	StreamCreated int64                `json:"stream_created"`
	Record        *recordConfiguration `json:"record"`
	Encryption    *channelEncryption   `json:"encryption,omitempty"`
	Logging       *channelLogging      `json:"logging,omitempty"`
	S3            *s3Destination       `json:"s3,omitempty"`
	Tables        *s3TablesDestination `json:"s3_tables,omitempty"`
	Tags          map[string]string    `json:"tags,omitempty"`
}

// The shapes of channels, in requests and answers alike.
type (
	recordConfiguration struct {
		GSRSchemaARN     *string `is:"len=1:2048"`
		RecordFormatType *string `is:"required;enum=recordFormat"`
	}
	channelEncryption struct {
		EncryptionType *string `is:"required;enum=channelEncryption"`
		KeyId          *string `is:"required;len=1:2048"`
	}
	channelLogging struct {
		CloudWatchLogs *cloudWatchLogs `is:"required"`
	}
	cloudWatchLogs struct {
		Enabled       *bool   `is:"required"`
		LogGroupName  *string `is:"len=1:512"`
		LogStreamName *string `is:"len=1:512"`
	}
	deadLetters struct {
		BucketARN           *string `is:"required;len=1:2048"`
		ErrorOutputPrefix   *string `is:"len=0:1024"`
		ExpectedBucketOwner *string `is:"required;len=12:12"`
	}
	s3Destination struct {
		DataFreshnessInSeconds         *int64       `is:"range=300:900"`
		DeadLetterQueueS3Configuration *deadLetters `is:""`
		StorageConfiguration           *s3Storage   `is:"required"`
	}
	s3Storage struct {
		BucketARN           *string `is:"required;len=1:2048"`
		CompressionType     *string `is:"required;enum=compression"`
		ExpectedBucketOwner *string `is:"required;len=12:12"`
		OutputKeyTemplate   *string `is:"len=1:1024"`
		StorageClass        *string `is:"enum=storageClass"`
	}
	s3TablesDestination struct {
		DataFreshnessInSeconds         *int64       `is:"range=300:900"`
		DeadLetterQueueS3Configuration *deadLetters `is:"required"`
		S3TablesConfigurationList      []s3Table    `is:"required;len=1:1"`
	}
	s3Table struct {
		CompressionType *string        `is:"required;enum=parquet"`
		Namespace       *string        `is:"required;len=1:255"`
		PartitionSpec   *partitionSpec `is:""`
		TableBucketARN  *string        `is:"required;len=1:2048"`
		TableName       *string        `is:"required;len=1:255"`
	}
	partitionSpec struct {
		PartitionFields []partitionField `is:"required"`
	}
	partitionField struct {
		SourceName *string `is:"required;len=1:255"`
		Transform  *string `is:"required;enum=transform"`
	}
	channelDescription struct {
		ChannelARN                       string
		ChannelCreationTimestamp         codec.Time
		ChannelId                        string
		ChannelName                      string
		ChannelStatus                    string
		ChannelStatusReason              string
		EncryptionConfiguration          *channelEncryption
		LoggingConfiguration             *channelLogging
		S3DestinationConfiguration       *s3Destination
		S3TablesDestinationConfiguration *s3TablesDestination
		ServiceExecutionRoleARN          string
		StreamConfigurationList          []channelStream
	}
	channelStream struct {
		RecordConfiguration     *recordConfiguration
		StreamARN               string
		StreamCreationTimestamp codec.Time
	}
	channelOutput struct{ ChannelDescription channelDescription }
)

const (
	freshnessDefault = 300 // seconds
	// channelStatus is that of every channel, for the reason told with it.
	channelStatus       = "FAILED"
	channelStatusReason = "This cluster does not deliver to object storage yet. The channel's settings are kept; no record is read or delivered."
)

// channel is one that exists.
type channel struct {
	id  string
	doc channelDoc
}

// channel returns the name and the id in the ARN of a channel.
func (a arn) channel() (id string, ok bool) {
	parts := strings.Split(a.resource, "/")
	if len(parts) != 3 || parts[0] != "channel" || parts[2] == "" {
		return "", false
	}
	return parts[2], true
}

// channelRef names a channel by its ARN.
type channelRef struct {
	ChannelARN *string `is:"required;len=1:2048"`
}

func (r *channelRef) locate(s *Server) (string, error) {
	a, ok := parseARN(*r.ChannelARN)
	if _, isChannel := a.channel(); !ok || !isChannel {
		return "", fail(codeInvalidArgument, "The channel ARN %s is not valid.", *r.ChannelARN)
	}
	if a.account != s.opts.Account || a.region != s.opts.Region {
		return "", s.noChannel(*r.ChannelARN)
	}
	return "", nil
}

// find returns the channel that is named.
func (r *channelRef) find(ctx context.Context, s *Server) (*channel, error) {
	a, _ := parseARN(*r.ChannelARN)
	id, _ := a.channel()
	return s.channel(ctx, id, *r.ChannelARN)
}

func (s *Server) noChannel(name string) *apiError {
	return fail(codeResourceNotFound, "Channel %s under account %s not found.", name, s.opts.Account)
}

// channel returns the channel of an id.
func (s *Server) channel(ctx context.Context, id, named string) (*channel, error) {
	doc, version, err := readDoc[channelDoc](ctx, s, "", docChannelPrefix+id)
	switch {
	case err != nil:
		return nil, err
	case version == 0, s.channelARN(doc.Name, id) != named:
		return nil, s.noChannel(named)
	}
	return &channel{id: id, doc: doc}, nil
}

// channelsOf returns the channels of a stream, all for "", by their ids.
func (s *Server) channelsOf(ctx context.Context, stream string) ([]channel, error) {
	docs, err := s.cluster.Documents(ctx, "", docChannelPrefix)
	if err != nil {
		return nil, err
	}
	all := make([]channel, 0, len(docs))
	for _, d := range docs {
		one := channel{id: strings.TrimPrefix(d.Name, docChannelPrefix)}
		if err := parseDoc(d, &one.doc); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if stream != "" {
		all = slices.DeleteFunc(all, func(ch channel) bool { return ch.doc.Stream != stream })
	}
	return all, nil
}

// describe describes a channel.
func (s *Server) describe(ch *channel) *channelOutput {
	return &channelOutput{channelDescription{
		ChannelARN: s.channelARN(ch.doc.Name, ch.id), ChannelCreationTimestamp: codec.Time(ch.doc.Created), ChannelId: ch.id, ChannelName: ch.doc.Name,
		ChannelStatus: channelStatus, ChannelStatusReason: channelStatusReason,
		EncryptionConfiguration: ch.doc.Encryption, LoggingConfiguration: ch.doc.Logging,
		S3DestinationConfiguration: ch.doc.S3, S3TablesDestinationConfiguration: ch.doc.Tables, ServiceExecutionRoleARN: ch.doc.Role,
		StreamConfigurationList: []channelStream{{ch.doc.Record, s.streamARN(ch.doc.Stream), codec.Time(ch.doc.StreamCreated)}},
	}}
}

// changeChannel changes a channel and describes it as it is then.
func (s *Server) changeChannel(ctx context.Context, r *channelRef, change func(doc *channelDoc) error) (*channelOutput, error) {
	ch, err := r.find(ctx, s)
	if err != nil {
		return nil, err
	}
	ch.doc, err = changeDoc(ctx, s, "", docChannelPrefix+ch.id, func(doc *channelDoc, exists bool) error {
		if !exists {
			return s.noChannel(*r.ChannelARN)
		}
		return change(doc)
	})
	if err != nil {
		return nil, err
	}
	return s.describe(ch), nil
}
