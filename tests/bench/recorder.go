package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recorder collects latencies from many goroutines. Each shard has a histogram
// of its own with few others, because the acknowledgements of one shard come from one goroutine.
type recorder struct {
	stripes [16]struct {
		mu sync.Mutex
		h  *hdrhistogram.Histogram
	}
}

func newRecorder() *recorder {
	r := &recorder{}
	for i := range r.stripes {
		r.stripes[i].h = newHistogram()
	}
	return r
}

func (r *recorder) add(shard int, latency time.Duration) {
	s := &r.stripes[shard%len(r.stripes)]
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.h.RecordValue(clampMicroseconds(latency)) // it is in range
}

// take returns the quantiles of all latencies since the last call.
func (r *recorder) take() quantiles {
	all := newHistogram()
	for i := range r.stripes {
		s := &r.stripes[i]
		s.mu.Lock()
		all.Merge(s.h)
		s.h.Reset()
		s.mu.Unlock()
	}
	return quantilesOf(all)
}

// clampMicroseconds brings a latency into a histogram's range: what is below a
// microsecond counts as one, what is above latencyMax as that.
func clampMicroseconds(d time.Duration) int64 {
	return min(max(1, d.Microseconds()), latencyMax.Microseconds())
}
