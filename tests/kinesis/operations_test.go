package kinesis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// operationNames are all operations of the API.
var operationNames = []string{
	"AddTagsToStream", "CreateChannel", "CreateStream", "DecreaseStreamRetentionPeriod", "DeleteChannel", "DeleteResourcePolicy", "DeleteStream", "DeregisterStreamConsumer",
	"DescribeAccountSettings", "DescribeChannel", "DescribeLimits", "DescribeStream", "DescribeStreamConsumer", "DescribeStreamSummary", "DisableEnhancedMonitoring",
	"EnableEnhancedMonitoring", "GetRecords", "GetResourcePolicy", "GetShardIterator", "IncreaseStreamRetentionPeriod", "ListChannels", "ListShards", "ListStreamConsumers", "ListStreams",
	"ListTagsForResource", "ListTagsForStream", "MergeShards", "PutRecord", "PutRecords", "PutResourcePolicy", "RegisterStreamConsumer", "RemoveTagsFromStream", "SplitShard",
	"StartStreamEncryption", "StopStreamEncryption", "SubscribeToShard", "TagResource", "UntagResource", "UpdateAccountSettings", "UpdateChannel", "UpdateMaxRecordSize", "UpdateShardCount",
	"UpdateStreamMode", "UpdateStreamRecordDistributionStrategy", "UpdateStreamWarmThroughput",
}

// TestEveryOperation calls each operation of the API with the AWS SDK for Go, each through another node than the one before, and prints what came of it.
func TestEveryOperation(t *testing.T) {
	nodes, seen := start(t).Nodes, newCalls()
	var clients []*kinesis.Client
	for _, n := range nodes {
		clients = append(clients, sdk(n, seen))
	}
	turn := 0
	next := func() *kinesis.Client { turn++; return clients[turn%len(clients)] }
	s := &script{T: t, next: next}
	s.lifecycle()
	s.records()
	s.consumers()
	s.tags()
	s.settings()
	s.policies()
	s.channels()
	s.resharding()
	s.end()
	fmt.Printf("%d operations with the AWS SDK for Go:\n%s\n", len(seen.seen), seen)
	for _, name := range operationNames {
		if seen.seen[name] == nil {
			t.Errorf("%s was never called", name)
		}
	}
	for name, results := range seen.seen {
		if results["ok"] == 0 && name != "StartStreamEncryption" && name != "StopStreamEncryption" {
			t.Errorf("%s never succeeded: %v", name, results)
		}
	}
}

// script is a walk through the API.
type script struct {
	*testing.T
	next func() *kinesis.Client
}

const (
	walk   = "walk"
	demand = "demand"
)

func arnOf(stream string) string {
	return "arn:aws:kinesis:" + region + ":" + account + ":stream/" + stream
}

// must fails the test on an error.
func (s *script) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// refused fails the test unless the error has the code.
func (s *script) refused(err error, code string) {
	s.Helper()
	if err == nil || codeOf(err) != code {
		s.Errorf("got %v, want %s", err, code)
	}
}

// soon waits until check, which asks another node each time, returns "" three times in a row: then every node knows.
func (s *script) soon(check func() string) {
	s.Helper()
	good := 0
	for deadline := time.Now().Add(10 * time.Second); good < 3; {
		problem := check()
		if problem == "" {
			good++
			continue
		}
		if good = 0; time.Now().After(deadline) {
			s.Fatal(problem)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// open waits until every node knows of so many open shards of the stream that the script walks with.
func (s *script) open(shards int) {
	s.Helper()
	s.soon(func() string {
		out, err := s.next().ListShards(s.Context(), &kinesis.ListShardsInput{StreamName: aws.String(walk), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
		if err != nil || len(out.Shards) != shards {
			return fmt.Sprintf("%+v are open, want %d, %v", out, shards, err)
		}
		return ""
	})
}

func (s *script) lifecycle() {
	ctx := s.Context()
	create(s.T, s.next(), walk, 3)
	_, err := s.next().CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(walk), ShardCount: aws.Int32(3)})
	s.refused(err, "ResourceInUseException")
	_, err = s.next().CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("no name"), ShardCount: aws.Int32(1)})
	s.refused(err, "ValidationException")
	_, err = s.next().CreateStream(ctx, &kinesis.CreateStreamInput{
		StreamName: aws.String(demand), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}, Tags: map[string]string{"made": "so"},
	})
	s.must(err)
	s.soon(func() string { // the waiter gives up where nobody has heard of the stream yet
		if _, err := s.next().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(demand)}); err != nil {
			return err.Error()
		}
		return ""
	})
	awaitActive(s.T, s.next(), demand)

	d, err := s.next().DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String(walk)})
	s.must(err)
	got := d.StreamDescription
	if *got.StreamARN != arnOf(walk) || got.StreamStatus != types.StreamStatusActive || len(got.Shards) != 3 || *got.HasMoreShards || *got.RetentionPeriodHours != 24 || got.StreamModeDetails.StreamMode != types.StreamModeProvisioned {
		s.Errorf("described as %+v", got)
	}
	if first, last := got.Shards[0], got.Shards[2]; *first.ShardId != "shardId-000000000000" || *first.HashKeyRange.StartingHashKey != "0" || *last.HashKeyRange.EndingHashKey != "340282366920938463463374607431768211455" {
		s.Errorf("shards %v to %v", first, last)
	}
	page, err := s.next().DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamARN: aws.String(arnOf(walk)), Limit: aws.Int32(1), ExclusiveStartShardId: aws.String("shardId-000000000000")})
	s.must(err)
	if len(page.StreamDescription.Shards) != 1 || *page.StreamDescription.Shards[0].ShardId != "shardId-000000000001" || !*page.StreamDescription.HasMoreShards {
		s.Errorf("the page is %+v", page.StreamDescription)
	}
	sum, err := s.next().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(demand)})
	s.must(err)
	if got := sum.StreamDescriptionSummary; *got.OpenShardCount != 4 || got.StreamModeDetails.StreamMode != types.StreamModeOnDemand || *got.ConsumerCount != 0 || got.StreamId != nil {
		s.Errorf("summed up as %+v", got)
	}
	_, err = s.next().DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("nowhere")})
	s.refused(err, "ResourceNotFoundException")
	if err == nil || !strings.Contains(err.Error(), "Stream nowhere under account "+account+" not found.") {
		s.Errorf("the error says %v", err)
	}
	l, err := s.next().ListStreams(ctx, &kinesis.ListStreamsInput{Limit: aws.Int32(1)})
	s.must(err)
	if !slices.Equal(l.StreamNames, []string{demand}) || !*l.HasMoreStreams || l.NextToken == nil {
		s.Errorf("listed %v, more %v", l.StreamNames, *l.HasMoreStreams)
	}
	l, err = s.next().ListStreams(ctx, &kinesis.ListStreamsInput{NextToken: l.NextToken})
	s.must(err)
	if !slices.Equal(l.StreamNames, []string{walk}) || *l.HasMoreStreams || len(l.StreamSummaries) != 1 {
		s.Errorf("then listed %v", l.StreamNames)
	}
	limits, err := s.next().DescribeLimits(ctx, &kinesis.DescribeLimitsInput{})
	s.must(err)
	if *limits.OpenShardCount != 7 || *limits.OnDemandStreamCount != 1 {
		s.Errorf("limits %+v", limits)
	}
}

func (s *script) records() {
	ctx := s.Context()
	one, err := s.next().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String(walk), PartitionKey: aws.String("a"), Data: []byte("first"), ExplicitHashKey: aws.String("0")})
	s.must(err)
	if *one.ShardId != "shardId-000000000000" {
		s.Errorf("put into %s", *one.ShardId)
	}
	var entries []types.PutRecordsRequestEntry
	for i := range 500 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("key-", i%50)), Data: fmt.Appendf(nil, "%d", i)})
	}
	many, err := s.next().PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String(walk), Records: entries})
	s.must(err)
	if *many.FailedRecordCount != 0 || len(many.Records) != 500 {
		s.Fatalf("%d of %d failed", *many.FailedRecordCount, len(many.Records))
	}
	_, err = s.next().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String(walk), PartitionKey: aws.String("a"), Data: []byte("dry"), DryRun: aws.Bool(true)})
	s.refused(err, "DryRunOperationException")
	for shard := range 3 {
		id := fmt.Sprintf("shardId-%012d", shard)
		var last string
		counters := map[string]int{}
		s.soon(func() string {
			records, _, err := readAll(ctx, s.next(), walk, id)
			if err != nil {
				return err.Error()
			}
			want := 0
			for _, r := range many.Records {
				if *r.ShardId == id {
					want++
				}
			}
			if shard == 0 {
				want++
			}
			if len(records) != want {
				return fmt.Sprintf("shard %s has %d records, want %d", id, len(records), want)
			}
			last = ""
			clear(counters)
			for _, r := range records {
				if len(*r.SequenceNumber) < len(last) || len(*r.SequenceNumber) == len(last) && *r.SequenceNumber <= last {
					return fmt.Sprintf("%s after %s", *r.SequenceNumber, last)
				}
				last = *r.SequenceNumber
				var n int
				if _, err := fmt.Sscan(string(r.Data), &n); err == nil {
					if before, ok := counters[*r.PartitionKey]; ok && n < before {
						return fmt.Sprintf("key %s: %d after %d", *r.PartitionKey, n, before)
					}
					counters[*r.PartitionKey] = n
				}
				if age := time.Since(*r.ApproximateArrivalTimestamp); age < -5*time.Second || age > time.Minute {
					return fmt.Sprintf("arrived %v ago", age)
				}
			}
			return ""
		})
	}
	it, err := s.next().GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamARN: aws.String(arnOf(walk)), ShardId: one.ShardId, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: one.SequenceNumber})
	s.must(err)
	out, err := s.next().GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(1)})
	s.must(err)
	if len(out.Records) != 1 || string(out.Records[0].Data) != "first" || *out.Records[0].PartitionKey != "a" || *out.NextShardIterator == *it.ShardIterator {
		s.Errorf("at its sequence number is %+v", out.Records)
	}
	_, err = s.next().GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("nonsense")})
	s.refused(err, "InvalidArgumentException")
	_, err = s.next().GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String(walk), ShardId: one.ShardId, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(time.Now().Add(time.Hour))})
	s.refused(err, "InvalidArgumentException")
}

func (s *script) consumers() {
	ctx := s.Context()
	made, err := s.next().RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(walk)), ConsumerName: aws.String("reader")})
	s.must(err)
	_, err = s.next().RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(walk)), ConsumerName: aws.String("reader")})
	s.refused(err, "ResourceInUseException")
	s.soon(func() string {
		d, err := s.next().DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: made.Consumer.ConsumerARN})
		if err != nil || d.ConsumerDescription.ConsumerStatus != types.ConsumerStatusActive || *d.ConsumerDescription.StreamARN != arnOf(walk) {
			return fmt.Sprintf("described as %+v, %v", d, err)
		}
		return ""
	})
	l, err := s.next().ListStreamConsumers(ctx, &kinesis.ListStreamConsumersInput{StreamARN: aws.String(arnOf(walk))})
	s.must(err)
	if len(l.Consumers) != 1 || *l.Consumers[0].ConsumerName != "reader" {
		s.Errorf("listed %+v", l.Consumers)
	}
	sub, err := s.next().SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: made.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"), StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	s.must(err)
	e, ok := <-sub.GetStream().Events()
	event, isEvent := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
	if !ok || !isEvent || len(event.Value.Records) == 0 || event.Value.ContinuationSequenceNumber == nil {
		s.Errorf("the first event is %T %+v", e, event)
	}
	s.must(sub.GetStream().Close())
	_, err = s.next().DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String(walk)})
	s.refused(err, "ResourceInUseException")
	_, err = s.next().DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: made.Consumer.ConsumerARN})
	s.must(err)
	s.soon(func() string {
		_, err := s.next().DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: aws.String(arnOf(walk)), ConsumerName: aws.String("reader")})
		if err == nil || codeOf(err) != "ResourceNotFoundException" {
			return fmt.Sprintf("a consumer that is gone is described: %v", err)
		}
		return ""
	})
}

func (s *script) tags() {
	ctx := s.Context()
	_, err := s.next().AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: aws.String(walk), Tags: map[string]string{"a": "1", "b": "2", "c": ""}})
	s.must(err)
	_, err = s.next().RemoveTagsFromStream(ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: aws.String(walk), TagKeys: []string{"b", "zz"}})
	s.must(err)
	_, err = s.next().TagResource(ctx, &kinesis.TagResourceInput{ResourceARN: aws.String(arnOf(walk)), Tags: map[string]string{"d": "4"}})
	s.must(err)
	_, err = s.next().UntagResource(ctx, &kinesis.UntagResourceInput{ResourceARN: aws.String(arnOf(walk)), TagKeys: []string{"a"}})
	s.must(err)
	s.soon(func() string {
		l, err := s.next().ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: aws.String(walk)})
		if err != nil || len(l.Tags) != 2 || *l.Tags[0].Key != "c" || *l.Tags[1].Key != "d" || *l.Tags[1].Value != "4" || *l.HasMoreTags {
			return fmt.Sprintf("tags %+v, %v", l, err)
		}
		return ""
	})
	l, err := s.next().ListTagsForResource(ctx, &kinesis.ListTagsForResourceInput{ResourceARN: aws.String(arnOf(demand))})
	s.must(err)
	if len(l.Tags) != 1 || *l.Tags[0].Key != "made" {
		s.Errorf("tags of the other stream: %+v", l.Tags)
	}
}

func (s *script) settings() {
	ctx := s.Context()
	_, err := s.next().IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String(walk), RetentionPeriodHours: aws.Int32(48)})
	s.must(err)
	s.soon(func() string {
		d, err := s.next().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(walk)})
		if err != nil || *d.StreamDescriptionSummary.RetentionPeriodHours != 48 {
			return fmt.Sprintf("retention is %+v, %v", d, err)
		}
		return ""
	})
	_, err = s.next().IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String(walk), RetentionPeriodHours: aws.Int32(47)})
	s.refused(err, "InvalidArgumentException")
	_, err = s.next().DecreaseStreamRetentionPeriod(ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: aws.String(walk), RetentionPeriodHours: aws.Int32(24)})
	s.must(err)
	_, err = s.next().UpdateMaxRecordSize(ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: aws.String(arnOf(walk)), MaxRecordSizeInKiB: aws.Int32(2048)})
	s.must(err)
	on, err := s.next().EnableEnhancedMonitoring(ctx, &kinesis.EnableEnhancedMonitoringInput{StreamName: aws.String(walk), ShardLevelMetrics: []types.MetricsName{types.MetricsNameAll}})
	s.must(err)
	if len(on.CurrentShardLevelMetrics) != 0 || len(on.DesiredShardLevelMetrics) != 7 {
		s.Errorf("monitoring %+v", on)
	}
	s.soon(func() string {
		off, err := s.next().DisableEnhancedMonitoring(ctx, &kinesis.DisableEnhancedMonitoringInput{StreamName: aws.String(walk), ShardLevelMetrics: []types.MetricsName{types.MetricsNameIncomingBytes}})
		if err != nil || len(off.DesiredShardLevelMetrics) != 6 {
			return fmt.Sprintf("monitoring %+v, %v", off, err)
		}
		return ""
	})
	_, err = s.next().StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{StreamName: aws.String(walk), EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis")})
	s.refused(err, "KMSNotFoundException")
	_, err = s.next().StopStreamEncryption(ctx, &kinesis.StopStreamEncryptionInput{StreamName: aws.String(walk), EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis")})
	s.refused(err, "InvalidArgumentException")
	before, err := s.next().DescribeAccountSettings(ctx, &kinesis.DescribeAccountSettingsInput{})
	s.must(err)
	after, err := s.next().UpdateAccountSettings(ctx, &kinesis.UpdateAccountSettingsInput{MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{Status: types.MinimumThroughputBillingCommitmentInputStatusEnabled}})
	s.must(err)
	if before.MinimumThroughputBillingCommitment.Status != "DISABLED" || after.MinimumThroughputBillingCommitment.Status != "ENABLED" || after.MinimumThroughputBillingCommitment.StartedAt == nil {
		s.Errorf("commitment %+v, then %+v", before.MinimumThroughputBillingCommitment, after.MinimumThroughputBillingCommitment)
	}
	_, err = s.next().UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: aws.String(arnOf(demand)), RecordDistributionStrategy: types.RecordDistributionStrategyAuto})
	s.must(err)
	_, err = s.next().UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: aws.String(arnOf(walk)), RecordDistributionStrategy: types.RecordDistributionStrategyAuto})
	s.refused(err, "InvalidArgumentException")
	warm, err := s.next().UpdateStreamWarmThroughput(ctx, &kinesis.UpdateStreamWarmThroughputInput{StreamName: aws.String(demand), WarmThroughputMiBps: aws.Int32(6)})
	s.must(err)
	if *warm.WarmThroughput.TargetMiBps != 6 {
		s.Errorf("warm throughput %+v", warm.WarmThroughput)
	}
}

func (s *script) policies() {
	ctx := s.Context()
	got, err := s.next().GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: aws.String(arnOf(walk))})
	s.must(err)
	if *got.Policy != "{}" {
		s.Errorf("the policy that was not put is %s", *got.Policy)
	}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":["kinesis:GetRecords","kinesis:GetShardIterator"],"Resource":"` + arnOf(walk) + `"}]}`
	_, err = s.next().PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: aws.String(arnOf(walk)), Policy: &text})
	s.must(err)
	conditional := strings.Replace(text, `"Effect"`, `"Condition":{},"Effect"`, 1)
	_, err = s.next().PutResourcePolicy(ctx, &kinesis.PutResourcePolicyInput{ResourceARN: aws.String(arnOf(walk)), Policy: &conditional})
	s.refused(err, "InvalidArgumentException")
	s.soon(func() string {
		got, err := s.next().GetResourcePolicy(ctx, &kinesis.GetResourcePolicyInput{ResourceARN: aws.String(arnOf(walk))})
		if err != nil || *got.Policy != text {
			return fmt.Sprintf("the policy is %+v, %v", got, err)
		}
		return ""
	})
	_, err = s.next().DeleteResourcePolicy(ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: aws.String(arnOf(walk))})
	s.must(err)
}

func (s *script) channels() {
	ctx := s.Context()
	in := &kinesis.CreateChannelInput{
		ChannelName: aws.String("lake"), ServiceExecutionRoleARN: aws.String("arn:aws:iam::" + account + ":role/delivery"),
		StreamConfigurationList: []types.ChannelStreamConfiguration{{StreamARN: aws.String(arnOf(demand)), RecordConfiguration: &types.RecordConfiguration{RecordFormatType: types.RecordFormatTypeJson}}},
		S3DestinationConfiguration: &types.S3DestinationConfiguration{StorageConfiguration: &types.S3StorageConfiguration{
			BucketARN: aws.String("arn:aws:s3:::lake"), CompressionType: types.S3CompressionTypeGzip, ExpectedBucketOwner: aws.String(account),
		}},
	}
	made, err := s.next().CreateChannel(ctx, in)
	s.must(err)
	if d := made.ChannelDescription; d.ChannelStatus != types.ChannelStatusFailed || d.ChannelStatusReason == nil || *d.S3DestinationConfiguration.DataFreshnessInSeconds != 300 {
		s.Errorf("made as %+v", made.ChannelDescription)
	}
	id := made.ChannelDescription.ChannelARN
	s.soon(func() string {
		if _, err := s.next().UpdateChannel(ctx, &kinesis.UpdateChannelInput{ChannelARN: id, S3DestinationConfiguration: &types.S3DestinationUpdateInput{DataFreshnessInSeconds: aws.Int32(600)}}); err != nil {
			return err.Error()
		}
		return ""
	})
	s.soon(func() string {
		d, err := s.next().DescribeChannel(ctx, &kinesis.DescribeChannelInput{ChannelARN: id})
		if err != nil || *d.ChannelDescription.S3DestinationConfiguration.DataFreshnessInSeconds != 600 {
			return fmt.Sprintf("described as %+v, %v", d, err)
		}
		return ""
	})
	l, err := s.next().ListChannels(ctx, &kinesis.ListChannelsInput{})
	s.must(err)
	if len(l.ChannelSummaries) != 1 || *l.ChannelSummaries[0].ChannelARN != *id {
		s.Errorf("listed %+v", l.ChannelSummaries)
	}
	_, err = s.next().DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String(demand)})
	s.refused(err, "ResourceInUseException")
	_, err = s.next().DeleteChannel(ctx, &kinesis.DeleteChannelInput{ChannelARN: id})
	s.must(err)
	_, err = s.next().CreateChannel(ctx, func() *kinesis.CreateChannelInput {
		other := *in
		other.StreamConfigurationList = []types.ChannelStreamConfiguration{{StreamARN: aws.String(arnOf(walk)), RecordConfiguration: in.StreamConfigurationList[0].RecordConfiguration}}
		return &other
	}())
	s.refused(err, "ValidationException")
}

func (s *script) resharding() {
	ctx := s.Context()
	_, err := s.next().SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String(walk), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("12345")})
	s.must(err)
	s.open(4)
	awaitActive(s.T, s.next(), walk)
	records, children, err := readAll(ctx, s.next(), walk, "shardId-000000000000")
	s.must(err)
	if len(records) == 0 || len(children) != 2 || *children[1].HashKeyRange.StartingHashKey != "12345" || !slices.Equal(children[0].ParentShards, []string{"shardId-000000000000"}) {
		s.Errorf("%d records, then %+v", len(records), children)
	}
	_, err = s.next().MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String(walk), ShardToMerge: children[0].ShardId, AdjacentShardToMerge: children[1].ShardId})
	s.must(err)
	s.open(3)
	awaitActive(s.T, s.next(), walk)
	_, err = s.next().MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: aws.String(walk), ShardToMerge: children[0].ShardId, AdjacentShardToMerge: children[1].ShardId})
	s.refused(err, "InvalidArgumentException")
	updated, err := s.next().UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: aws.String(walk), TargetShardCount: aws.Int32(2), ScalingType: types.ScalingTypeUniformScaling})
	s.must(err)
	if *updated.CurrentShardCount != 3 || *updated.TargetShardCount != 2 {
		s.Errorf("count %+v", updated)
	}
	s.open(2)
	awaitActive(s.T, s.next(), walk)
	first, err := s.next().ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(walk), MaxResults: aws.Int32(2)})
	s.must(err)
	rest, err := s.next().ListShards(ctx, &kinesis.ListShardsInput{NextToken: first.NextToken})
	s.must(err)
	if len(first.Shards) != 2 || len(rest.Shards) < 4 || rest.NextToken != nil {
		s.Errorf("%d shards, then %d", len(first.Shards), len(rest.Shards))
	}
	_, err = s.next().UpdateStreamMode(ctx, &kinesis.UpdateStreamModeInput{StreamARN: aws.String(arnOf(walk)), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	s.must(err)
	s.soon(func() string {
		_, err := s.next().SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String(walk), ShardToSplit: rest.Shards[len(rest.Shards)-1].ShardId, NewStartingHashKey: aws.String("1")})
		if err == nil || codeOf(err) != "ValidationException" {
			return fmt.Sprintf("a shard of an on-demand stream was split: %v", err)
		}
		return ""
	})
}

func (s *script) end() {
	ctx := s.Context()
	for _, name := range []string{walk, demand} {
		_, err := s.next().DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String(name)})
		s.must(err)
		w := kinesis.NewStreamNotExistsWaiter(s.next(), func(o *kinesis.StreamNotExistsWaiterOptions) {
			o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
		})
		s.must(w.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String(name)}, 30*time.Second))
	}
}
