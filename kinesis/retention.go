package kinesis

import (
	"context"
	"time"

	"github.com/levada-stream/levada/client"
)

// retentionInput is the input of both operations that change how long records are kept.
type retentionInput struct {
	streamRef
	RetentionPeriodHours *int64 `is:"required"`
}

const (
	retentionHoursMin = 24
	retentionHoursMax = 8760
)

// setRetention sets how long a stream keeps its records. It only goes the way that the operation is named for.
func (s *Server) setRetention(ctx context.Context, c *call, hours int64, increase bool) (*nothing, error) {
	switch {
	case hours < retentionHoursMin:
		return nil, fail(codeInvalidArgument, "Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.", retentionHoursMin, hours)
	case hours > retentionHoursMax:
		return nil, fail(codeInvalidArgument, "Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.", retentionHoursMax, hours)
	}
	k, err := s.ask(ctx, c.stream)
	if err != nil {
		return nil, err
	}
	switch now := k.retentionHours(); {
	case increase && hours < now:
		return nil, fail(codeInvalidArgument, "Requested retention period (%d hours) for stream %s can not be shorter than existing retention period (%d hours). Use DecreaseRetentionPeriod API.", hours, c.stream, now)
	case !increase && hours > now:
		return nil, fail(codeInvalidArgument, "Requested retention period (%d hours) for stream %s can not be longer than existing retention period (%d hours). Use IncreaseRetentionPeriod API.", hours, c.stream, now)
	}
	period := time.Duration(hours) * time.Hour
	defer s.streams.forget(c.stream)
	_, err = s.cluster.UpdateStream(ctx, c.stream, client.StreamChange{Retention: &period})
	return nil, s.streamError(c.stream, err)
}
