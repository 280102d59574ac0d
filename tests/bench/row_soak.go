package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// soakShare is the load of a soak as a share of the throughput measured just before.
const soakShare = 0.7

// soakOptions are the flags of the soak.
type soakOptions struct {
	duration  time.Duration
	every     time.Duration
	find      time.Duration
	rate      float64
	shards    int
	retention int64
	segment   int64
	diskMax   int64
	freeMin   int64
}

func (o *soakOptions) flags(f *flag.FlagSet) {
	f.DurationVar(&o.duration, "soak-duration", time.Hour, "length of the soak")
	f.DurationVar(&o.every, "soak-every", 10*time.Second, "time between two samples of the soak")
	f.Float64Var(&o.rate, "soak-rate", 0, "load of the soak in MB/s; 0 measures the throughput first and takes 70 % of it")
	f.DurationVar(&o.find, "soak-find", 10*time.Minute, "how long that throughput is measured")
	f.IntVar(&o.shards, "soak-shards", 16, "shards of the soak")
	f.Int64Var(&o.retention, "soak-retention", 256, "MiB per shard and replica that the soak's stream keeps; whole segments are deleted, so that one more may stay")
	f.Int64Var(&o.segment, "soak-segment", 64, "MiB of a segment of a shard log in the soak; the server's default of 256 needs four times the disk for the same")
	f.Int64Var(&o.diskMax, "soak-disk", 40, "GiB that all data directories of the soak may hold; more ends it with an error")
	f.Int64Var(&o.freeMin, "soak-free", 10, "GiB that must stay free on the disk; less ends the soak with an error")
}

func (o *soakOptions) validate() error {
	if o.duration <= 0 || o.every <= 0 || o.find <= 0 || o.rate < 0 || o.shards < 1 || o.retention < 1 || o.segment < 1 {
		return errors.New("the -soak flags must be above 0, -soak-rate at least 0")
	}
	return nil
}

// soak is the outcome of a soak.
type soak struct {
	Shards    int          `json:"shards"`
	MaxMBps   float64      `json:"throughput_just_before_mb_per_second,omitempty"`
	Asked     float64      `json:"asked_mb_per_second"`
	Retention int64        `json:"retention_bytes_per_shard"`
	Segment   int64        `json:"segment_bytes"`
	Whole     quantiles    `json:"whole_run"`
	Missed    int64        `json:"records_never_offered"`
	Stored    []int64      `json:"records_acknowledged_per_shard"`
	Read      []int64      `json:"records_read_per_shard"`
	Samples   []soakSample `json:"samples"`
	Failure   string       `json:"failure,omitempty"`
}

// soakRow loads Levada by schedule for long, while retention deletes and a reader follows at the tail.
func soakRow(ctx context.Context, b *bench) error {
	o := b.options.soak
	s := levadaTuned(fmt.Sprintf("storage:\n  segment_bytes: %dMiB\n", o.segment), o.retention<<20)
	out := &soak{Shards: o.shards, Asked: o.rate, Retention: o.retention << 20, Segment: o.segment << 20}
	b.report.Soak = out
	err := b.with(ctx, s, func(ctx context.Context, c cluster) error { return out.run(ctx, b, c.(*levadaCluster)) }) // what levadaTuned starts
	if err != nil {
		out.Failure = err.Error()
	}
	return err
}

func (s *soak) run(ctx context.Context, b *bench, c *levadaCluster) (err error) {
	made, err := c.writer(ctx, target{s.Shards, recordBytes, levadaDefaults()})
	if err != nil {
		return err
	}
	defer made.close()
	w := made.(*levadaWriter) // what a Levada cluster makes
	// The reader is there from the first record on: it has to see every one, and its work is part of the load.
	follower := c.follow(ctx, s.Shards)
	defer func() {
		err = errors.Join(err, follower.close())
		s.Stored, s.Read = w.storedPerShard(), follower.perShard()
	}()
	if err := b.prewarm(ctx, levadaSystem(), w); err != nil {
		return err
	}
	if s.Asked == 0 {
		t, err := flood(ctx, c, w, warmup{duration: b.options.warmup}, b.options.soak.find)
		if err != nil {
			return err
		}
		s.MaxMBps, s.Asked = t.MBps, soakShare*t.MBps
		b.say("soak: %.1f MB/s at most, goes on with %.1f", s.MaxMBps, s.Asked)
		if err := pause(ctx, calm); err != nil {
			return err
		}
	}
	if err := s.load(ctx, b, c, w, follower); err != nil {
		return err
	}
	return await(ctx, drainMax, func(context.Context) error {
		stored, read := w.storedPerShard(), follower.perShard()
		if !slices.Equal(stored, read) {
			return fmt.Errorf("acknowledged per shard: %v, read: %v", stored, read)
		}
		return nil
	})
}

// load runs the schedule and takes samples until it ends, or until something gets out of hand.
func (s *soak) load(ctx context.Context, b *bench, c *levadaCluster, w *levadaWriter, follower *follower) error {
	var (
		acked        atomic.Int64
		whole, since = newRecorder(), newRecorder()
		data         = payload(w.size())
		start        = time.Now()
	)
	loop := openLoop{
		schedule: scheduleOf(s.Asked, w.size(), b.options.soak.duration), w: w, callers: b.options.callers, data: func(int64) []byte { return data },
		acked: func(_ int64, shard int, due, now time.Duration) {
			acked.Add(1)
			whole.add(shard, now-due)
			since.add(shard, now-due)
		},
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		o, err := loop.run(loading, start)
		s.Missed = o.missed
		ended <- err
	}()
	sampler, err := newSampler(c, start)
	tick := time.NewTicker(b.options.soak.every)
	defer tick.Stop()
	for err == nil {
		select {
		case err := <-ended:
			s.Whole = whole.take()
			return err
		case <-tick.C:
		}
		var sample soakSample
		if sample, err = sampler.take(ctx, acked.Load(), w.size()); err != nil {
			break
		}
		// The reader may have a record before its acknowledgement is here: then it is behind by nothing.
		sample.quantiles, sample.Lag = since.take(), max(0, sum(w.storedPerShard())-sum(follower.perShard()))
		s.Samples = append(s.Samples, sample)
		b.say("soak %4.0f s: %.1f MB/s, p99 %.1f ms, %d MiB on disk, reader %d records behind", sample.Seconds, sample.MBps, ms(sample.P99), sample.diskBytes()>>20, sample.Lag)
		if err = sample.withinLimits(b.options.soak); err == nil {
			err = follower.failure()
		}
	}
	stop()
	<-ended
	s.Whole = whole.take()
	return err
}

func sum(all []int64) (total int64) {
	for _, n := range all {
		total += n
	}
	return total
}
