package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// soakSample is one look at a cluster under load.
type soakSample struct {
	Seconds float64 `json:"seconds"` // since the start
	MBps    float64 `json:"mb_per_second"`
	// Of the records acknowledged since the last sample, from when they were due.
	quantiles
	Lag   int64        `json:"reader_records_behind"`
	Free  int64        `json:"disk_free_bytes"`
	Nodes []nodeSample `json:"nodes"`
}

// nodeSample is what one node occupies.
type nodeSample struct {
	Name            string  `json:"name"`
	Resident        int64   `json:"rss_bytes"`
	Heap            int64   `json:"heap_in_use_bytes"`
	Goroutines      int64   `json:"goroutines"`
	Descriptors     int64   `json:"open_descriptors"`
	Cores           float64 `json:"cores_busy"`
	JournalBytes    int64   `json:"journal_bytes_on_disk"`
	JournalSegments int64   `json:"journal_segments"`
	ShardLogBytes   int64   `json:"shard_log_bytes_on_disk"`
	OtherBytes      int64   `json:"other_bytes_on_disk"`
}

func (s soakSample) diskBytes() (total int64) {
	for _, n := range s.Nodes {
		total += n.JournalBytes + n.ShardLogBytes + n.OtherBytes
	}
	return total
}

// withinLimits returns an error when the disk is filled beyond what was allowed.
func (s soakSample) withinLimits(o soakOptions) error {
	switch used := s.diskBytes(); {
	case s.Free < o.freeMin<<30:
		return fmt.Errorf("after %.0f s only %.1f GiB are free on the disk, %d must be", s.Seconds, float64(s.Free)/(1<<30), o.freeMin)
	case used > o.diskMax<<30:
		return fmt.Errorf("after %.0f s the data directories hold %.1f GiB, at most %d were allowed: does retention delete nothing?", s.Seconds, float64(used)/(1<<30), o.diskMax)
	}
	return nil
}

// sampler takes samples; what is a rate it measures from one to the next.
type sampler struct {
	c     *levadaCluster
	start time.Time
	last  time.Time
	acked int64
	cpu   []time.Duration // by node
}

func newSampler(c *levadaCluster, start time.Time) (*sampler, error) {
	s := &sampler{c: c, start: start, last: start}
	for _, n := range c.nodes {
		t, err := cpuTime(n.pid())
		if err != nil {
			return s, err
		}
		s.cpu = append(s.cpu, t)
	}
	return s, nil
}

func (s *sampler) take(ctx context.Context, acked int64, size int) (out soakSample, err error) {
	now := time.Now()
	passed := now.Sub(s.last).Seconds()
	out.Seconds, out.MBps = now.Sub(s.start).Seconds(), float64(acked-s.acked)*float64(size)/1e6/passed
	s.last, s.acked = now, acked
	for i, n := range s.c.nodes {
		sample, err := n.sample(ctx, filepath.Join(s.c.dir, n.name))
		if err != nil {
			return out, fmt.Errorf("%s: %w", n.name, err)
		}
		cpu, err := cpuTime(n.pid())
		if err != nil {
			return out, err
		}
		sample.Cores, s.cpu[i] = (cpu-s.cpu[i]).Seconds()/passed, cpu
		out.Nodes = append(out.Nodes, sample)
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(s.c.dir, &stat); err != nil {
		return out, err
	}
	out.Free = int64(stat.Bavail) * int64(stat.Bsize)
	return out, nil
}

func (n *levadaNode) sample(ctx context.Context, dir string) (s nodeSample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s.Name = n.name
	m, err := memoryOf(n.process)
	if err != nil {
		return s, err
	}
	s.Resident = m.resident
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.pid()))
	if err != nil {
		return s, err
	}
	s.Descriptors = int64(len(descriptors))
	page, err := fetch(ctx, "http://"+n.http+"/metrics")
	if err != nil {
		return s, err
	}
	for name, target := range map[string]*int64{
		"go_goroutines": &s.Goroutines, "go_memstats_heap_inuse_bytes": &s.Heap, "levada_journal_segments": &s.JournalSegments,
	} {
		value, err := gauge(page, name)
		if err != nil {
			return s, err
		}
		*target = int64(value)
	}
	return s, s.measureFiles(dir)
}

// measureFiles adds up what the files of a data directory occupy.
func (s *nodeSample) measureFiles(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile, as below
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		bytes := info.Size()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes = int64(stat.Blocks) * 512 // what is allocated, holes not counted
		}
		switch inside := strings.TrimPrefix(path, dir); {
		case strings.HasPrefix(inside, "/journal/"):
			s.JournalBytes += bytes
		case strings.HasSuffix(inside, ".seg"):
			s.ShardLogBytes += bytes
		default:
			s.OtherBytes += bytes
		}
		return nil
	})
}
