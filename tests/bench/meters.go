package main

import (
	"context"
	"sync/atomic"
	"time"
)

// meters is what there is to read about a cluster and the generator at one moment.
type meters struct {
	at      time.Time
	acked   int64 // records
	servers time.Duration
	own     time.Duration
	// volumes take a moment to fetch, in which records are acknowledged: they have a count of their own.
	volumes      volumes
	volumesAcked int64
}

// usage is what a cluster did between two moments, and what it cost.
type usage struct {
	Seconds   float64       `json:"seconds"`
	Records   int64         `json:"records"`
	MBps      float64       `json:"mb_per_second"` // 10^6 bytes of record data
	ServerCPU float64       `json:"server_cpu_seconds_per_gb"`
	ClientCPU float64       `json:"client_cpu_seconds_per_gb"`
	CoresBusy float64       `json:"cores_busy"`
	Written   amplification `json:"disk_bytes_per_byte_and_replica"`
}

func readMeters(ctx context.Context, c cluster, acked *atomic.Int64) (m meters, err error) {
	m.at, m.acked, m.own = time.Now(), acked.Load(), ownCPU()
	if m.servers, err = cpuOf(c.processes()); err != nil {
		return m, err
	}
	m.volumes, err = c.volumes(ctx)
	m.volumesAcked = acked.Load()
	return m, err
}

// until returns what happened between two readings, with records of so many bytes.
func (m meters) until(end meters, size int) usage {
	u := usage{Seconds: end.at.Sub(m.at).Seconds(), Records: end.acked - m.acked}
	bytes := float64(u.Records) * float64(size)
	u.MBps = bytes / 1e6 / u.Seconds
	u.CoresBusy = (end.servers - m.servers + end.own - m.own).Seconds() / u.Seconds
	if bytes > 0 {
		u.ServerCPU = (end.servers - m.servers).Seconds() / bytes * 1e9
		u.ClientCPU = (end.own - m.own).Seconds() / bytes * 1e9
	}
	u.Written = end.volumes.since(m.volumes, (end.volumesAcked-m.volumesAcked)*int64(size))
	return u
}

// perSecond is the number of records per second.
func (u usage) perSecond() float64 { return float64(u.Records) / u.Seconds }

// meter reads the meters at a moment and once more after a while.
func meter(ctx context.Context, c cluster, acked *atomic.Int64, from time.Time, duration time.Duration, size int) (u usage, err error) {
	if err := pause(ctx, time.Until(from)); err != nil {
		return u, err
	}
	first, err := readMeters(ctx, c, acked)
	if err != nil {
		return u, err
	}
	if err := pause(ctx, time.Until(first.at.Add(duration))); err != nil {
		return u, err
	}
	last, err := readMeters(ctx, c, acked)
	if err != nil {
		return u, err
	}
	return first.until(last, size), nil
}
