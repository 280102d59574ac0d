package kinesis

import "context"

// enableEnhancedMonitoring enables shard-level metrics. The nodes' own metrics have them all the time; what is kept is which were asked for.
func enableEnhancedMonitoring(ctx context.Context, s *Server, c *call, in *monitoringInput) (*monitoringOutput, error) {
	return s.changeMonitoring(ctx, c, in, true)
}
