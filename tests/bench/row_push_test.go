package main

import (
	"testing"
	"time"
)

func TestPushLatencies(t *testing.T) {
	const ms = time.Millisecond
	got := latenciesOf([]passage{
		{due: 1 * ms, acked: 2 * ms, got: 900 * ms}, // before the measured part
		{due: 10 * ms, acked: 12 * ms, got: 15 * ms},
		{due: 20 * ms, acked: 24 * ms, got: 23 * ms}, // at the consumer first
		{due: 30 * ms, acked: 31 * ms},               // never seen
		{due: 40 * ms},                               // never acknowledged
	}, 10*ms)
	if got.Lost != 1 || got.Early != 0.5 {
		t.Errorf("lost %d, early %v", got.Lost, got.Early)
	}
	for _, c := range []struct {
		name          string
		q             quantiles
		count, lo, hi int64
	}{
		{"acknowledged to consumer", got.AckToConsumer, 2, 0, 3000},
		{"due to consumer", got.DueToConsumer, 2, 3000, 5000},
		{"due to acknowledged", got.DueToAck, 3, 1000, 4000},
	} {
		if c.q.Count != c.count || c.q.P50 > c.hi || c.q.P50 < c.lo || c.q.Max < c.hi-1 || c.q.Max > c.hi+c.hi/500 {
			t.Errorf("%s: %+v", c.name, c.q)
		}
	}
}
