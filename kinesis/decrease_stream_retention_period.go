package kinesis

import "context"

// decreaseStreamRetentionPeriod lets a stream keep its records for less long. What is older goes soon.
func decreaseStreamRetentionPeriod(ctx context.Context, s *Server, c *call, in *retentionInput) (*nothing, error) {
	return s.setRetention(ctx, c, *in.RetentionPeriodHours, false)
}
