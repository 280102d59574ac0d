package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

// benchCommands measure.
type benchCommands struct {
	Put  benchPutCommand  `cmd:"" help:"Write random records as fast as possible, or at a rate, and report throughput and latency."`
	Read benchReadCommand `cmd:"" help:"Read a stream from its oldest record and report throughput."`
}

// benchReport is the outcome of a measurement.
type benchReport struct {
	Work        string         `json:"work"`
	Records     uint64         `json:"records"`
	Bytes       uint64         `json:"bytes"`
	Failed      uint64         `json:"failed"`
	Seconds     float64        `json:"seconds"`
	MBPerSecond float64        `json:"mb_per_second"`
	PerSecond   float64        `json:"records_per_second"`
	Latency     *latencyReport `json:"latency_us,omitempty"`
	Corrected   bool           `json:"coordinated_omission_corrected"`
	Error       string         `json:"error,omitempty"`
}

// latencyReport holds percentiles in microseconds.
type latencyReport struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

// meter counts and times the work of many goroutines.
type meter struct {
	mu      sync.Mutex
	records uint64
	bytes   uint64
	failed  uint64
	first   error // the first failure
	latency *hdrhistogram.Histogram
}

// latencyMax is the longest latency told apart from longer ones.
const latencyMax = 10 * time.Minute

func newMeter() *meter {
	return &meter{latency: hdrhistogram.New(1, latencyMax.Microseconds(), 3)}
}

// done counts one record and its latency.
func (m *meter) done(size int, latency time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.failed++
		if m.first == nil {
			m.first = err
		}
		return
	}
	m.records++
	m.bytes += uint64(size)
	_ = m.latency.RecordValue(min(max(latency, time.Microsecond), latencyMax).Microseconds()) // in range by construction
}

// count adds records without latency.
func (m *meter) count(records, bytes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records += records
	m.bytes += bytes
}

func (m *meter) report(work string, elapsed time.Duration, corrected bool) benchReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := benchReport{
		Work: work, Records: m.records, Bytes: m.bytes, Failed: m.failed, Seconds: elapsed.Seconds(),
		MBPerSecond: megabytesPerSecond(m.bytes, elapsed), Corrected: corrected,
	}
	if elapsed > 0 {
		r.PerSecond = float64(m.records) / elapsed.Seconds()
	}
	if m.latency.TotalCount() > 0 {
		r.Latency = &latencyReport{
			P50: m.latency.ValueAtQuantile(50), P90: m.latency.ValueAtQuantile(90), P99: m.latency.ValueAtQuantile(99),
			P999: m.latency.ValueAtQuantile(99.9), Max: m.latency.Max(),
		}
	}
	if m.first != nil {
		r.Error = m.first.Error()
	}
	return r
}

func (r benchReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	t := newTable()
	t.add("work", r.Work)
	t.add("records", grouped(r.Records))
	t.add("failed", grouped(r.Failed))
	t.add("time", fmt.Sprintf("%.2f s", r.Seconds))
	t.add("throughput", fmt.Sprintf("%.1f MB/s, %s records/s", r.MBPerSecond, grouped(uint64(r.PerSecond))))
	if l := r.Latency; l != nil {
		t.add("latency", fmt.Sprintf("p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, p99.9 %.3f ms, max %.3f ms",
			float64(l.P50)/1e3, float64(l.P90)/1e3, float64(l.P99)/1e3, float64(l.P999)/1e3, float64(l.Max)/1e3))
	}
	if r.Error != "" {
		t.add("first error", r.Error)
	}
	return t.print(w)
}

// ensureStream creates a stream for a measurement if there is none of the name.
func ensureStream(ctx context.Context, s *session, c *client.Client, name string, shards uint32, recordBytes int) error {
	_, err := c.DescribeStream(ctx, name)
	if err == nil || !client.IsNotFound(err) || shards == 0 {
		return err
	}
	s.warn("creating stream %s with %d shards", name, shards)
	_, _, err = c.CreateStream(ctx, name, &levadav1.StreamSettings{Shards: shards, MaxRecordBytes: uint32(max(1<<20, recordBytes+1024))}, true)
	return err
}
