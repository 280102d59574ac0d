package kinesis

import (
	"context"
	"slices"
)

// shardMetrics are the shard-level metrics that can be enabled.
var shardMetrics = []string{
	"IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
	"WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds",
}

// allMetrics stands for all of them.
const allMetrics = "ALL"

// monitoringInput is the input of both operations about shard-level metrics.
type monitoringInput struct {
	streamRef
	ShardLevelMetrics []string `is:"required;len=1:7;enum=metricsName"`
}

type monitoringOutput struct {
	CurrentShardLevelMetrics []string
	DesiredShardLevelMetrics []string
	StreamARN                string
	StreamName               string
}

// changeMonitoring enables or disables metrics, and answers with what there was and what there is.
func (s *Server) changeMonitoring(ctx context.Context, c *call, in *monitoringInput, enable bool) (*monitoringOutput, error) {
	named := in.ShardLevelMetrics
	if slices.Contains(named, allMetrics) {
		named = shardMetrics
	}
	out := &monitoringOutput{StreamARN: s.streamARN(c.stream), StreamName: c.stream}
	_, err := changeDoc(ctx, s, c.stream, docStream, func(doc *streamDoc, _ bool) error {
		out.CurrentShardLevelMetrics, out.DesiredShardLevelMetrics = append([]string{}, doc.Metrics...), []string{}
		for _, m := range shardMetrics {
			if enabled := slices.Contains(doc.Metrics, m); slices.Contains(named, m) && enable || enabled && !slices.Contains(named, m) {
				out.DesiredShardLevelMetrics = append(out.DesiredShardLevelMetrics, m)
			}
		}
		doc.Metrics = out.DesiredShardLevelMetrics
		return nil
	})
	return out, err
}
