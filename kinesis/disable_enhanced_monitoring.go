package kinesis

import "context"

// disableEnhancedMonitoring disables shard-level metrics.
func disableEnhancedMonitoring(ctx context.Context, s *Server, c *call, in *monitoringInput) (*monitoringOutput, error) {
	return s.changeMonitoring(ctx, c, in, false)
}
