package kinesis

import "context"

// increaseStreamRetentionPeriod lets a stream keep its records for longer. What has expired does not come back.
func increaseStreamRetentionPeriod(ctx context.Context, s *Server, c *call, in *retentionInput) (*nothing, error) {
	return s.setRetention(ctx, c, *in.RetentionPeriodHours, true)
}
