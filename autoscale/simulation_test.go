package autoscale

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/meta"
)

// simulation is a stream in simulated time, whose load moves between keys by a Zipf law.
type simulation struct {
	t       *testing.T
	policy  meta.Scaling
	now     int64
	keys    []hashkey.Key
	share   []float64 // of each key
	load    []float64 // MB/s of all keys, by tick
	shards  []simShard
	next    uint32
	begun   []int64
	used    int64
	steps   []Step
	highest int
}

type simShard struct {
	number uint32
	keys   hashkey.Range
	opened int64
}

const tick = 10 * second // as the resolution of the load is

func newSimulation(t *testing.T, p meta.Scaling, keys int, exponent float64) *simulation {
	s := &simulation{t: t, policy: p, now: noon, shards: []simShard{{keys: hashkey.Full, opened: noon - hourMillis}}, next: 1}
	sum := 0.0
	for i := range keys {
		s.keys = append(s.keys, hashkey.FromPartitionKey([]byte(fmt.Sprint("key", i))))
		s.share = append(s.share, 1/math.Pow(float64(i+1), exponent))
		sum += s.share[i]
	}
	for i := range s.share {
		s.share[i] /= sum
	}
	return s
}

// rate is the mean load of a range over so many seconds, in which it was open since a moment.
func (s *simulation) rate(r hashkey.Range, opened, seconds int64) Rate {
	share := 0.0
	for i, k := range s.keys {
		if r.Contains(k) {
			share += s.share[i]
		}
	}
	ticks := int(seconds * second / tick)
	sum := 0.0
	for i := len(s.load) - min(ticks, len(s.load)); i < len(s.load); i++ {
		if s.now-int64(len(s.load)-i)*tick >= opened {
			sum += s.load[i]
		}
	}
	mb := share * sum / float64(ticks)
	return Rate{Bytes: mb * 1e6, Records: mb * 100}
}

func (s *simulation) run(ticks int, mbps func(i int) float64) {
	for i := range ticks {
		s.load = append(s.load, mbps(i))
		s.now += tick
		s.used += tick * int64(len(s.shards))
		if s.now/dayMillis != (s.now-tick)/dayMillis {
			s.used = 0
		}
		in := Stream{Policy: s.policy, Begun: s.begun, UsedMillis: s.used}
		for _, sh := range s.shards {
			shard := Shard{
				Number: sh.number, Range: sh.keys, Opened: sh.opened, Known: sh.opened,
				Split: s.rate(sh.keys, sh.opened, s.policy.SplitSeconds), Merge: s.rate(sh.keys, sh.opened, s.policy.MergeSeconds),
			}
			for j, k := range s.keys {
				for range int(1 + s.share[j]*1000) {
					shard.Samples = append(shard.Samples, Sample{Key: k, Bytes: 1, Records: 1})
				}
			}
			in.Shards = append(in.Shards, shard)
		}
		for _, step := range Decide(s.now, in) {
			s.apply(step)
		}
		s.highest = max(s.highest, len(s.shards))
	}
}

func (s *simulation) apply(step Step) {
	s.steps = append(s.steps, step)
	at := slices.IndexFunc(s.shards, func(sh simShard) bool { return sh.number == step.Shards[0] })
	var made []simShard
	switch step.Kind {
	case meta.ScalingSplit:
		rest := s.shards[at].keys
		for _, b := range step.Bounds {
			made = append(made, simShard{keys: hashkey.Range{Start: rest.Start, End: b.Prev()}})
			rest.Start = b
		}
		made = append(made, simShard{keys: rest})
	case meta.ScalingMerge:
		made = []simShard{{keys: hashkey.Range{Start: s.shards[at].keys.Start, End: s.shards[at+1].keys.End}}}
	default:
		return
	}
	for i := range made {
		made[i].number, made[i].opened = s.next, s.now
		s.next++
	}
	s.shards = slices.Replace(s.shards, at, at+len(step.Shards), made...)
	s.begun = append(s.begun, s.now)
}

// hottest returns the load of the most loaded shard, 1 being the target.
func (s *simulation) hottest() (load float64) {
	for _, sh := range s.shards {
		load = max(load, Load(s.policy, s.rate(sh.keys, sh.opened, s.policy.SplitSeconds)))
	}
	return load
}

func (s *simulation) count(kind meta.ScalingKind) (n int) {
	for _, step := range s.steps {
		if step.Kind == kind {
			n++
		}
	}
	return n
}

// TestLoadComesAndGoes: under a skewed load the hottest shard comes below its target, nothing flaps while the load is steady, and
// when it stops the shards merge back.
func TestLoadComesAndGoes(t *testing.T) {
	s := newSimulation(t, policy(func(p *meta.Scaling) { p.MergeSeconds = 300 }), 1000, 0.8)
	s.run(60, func(int) float64 { return 10 }) // ten minutes at ten times the target
	if load := s.hottest(); load > 1 {
		t.Fatalf("after ten minutes the hottest of %d shards has %.2f of its target", len(s.shards), load)
	}
	grown, steps := len(s.shards), len(s.steps)
	if grown < 11 || grown > 25 {
		t.Errorf("%d shards for ten times the target of one", grown)
	}
	s.run(360, func(i int) float64 { return 10 + 0.5*math.Sin(float64(i)) }) // an hour of the same, up and down a little
	if len(s.steps) > steps+2 {
		t.Errorf("under a steady load %d more decisions: %+v", len(s.steps)-steps, s.steps[steps:])
	}
	s.run(360, func(int) float64 { return 0 })
	if len(s.shards) != 1 {
		t.Errorf("an hour after the load stopped there are %d shards: %+v", len(s.shards), s.steps[len(s.steps)-3:])
	}
	t.Logf("%d shards at most, %d splits, %d merges", s.highest, s.count(meta.ScalingSplit), s.count(meta.ScalingMerge))
}

// TestGrowthIsFollowed: a load that doubles every few minutes keeps no shard above its target for long.
func TestGrowthIsFollowed(t *testing.T) {
	s := newSimulation(t, policy(nil), 5000, 0.5)
	above := 0
	for i := range 240 {
		s.run(1, func(int) float64 { return 0.5 * math.Exp2(float64(i)/60) })
		if s.hottest() > 1 {
			above++
		}
	}
	if above > 40 {
		t.Errorf("the hottest shard was above its target in %d of 240 samples, with %d shards at the end", above, len(s.shards))
	}
}

// TestOneHotKey: it is found and cut out, reported, and then left alone.
func TestOneHotKey(t *testing.T) {
	s := newSimulation(t, policy(nil), 1000, 0)
	s.share[17] += 1.5 // of 2.5
	for i := range s.share {
		s.share[i] /= 2.5
	}
	s.run(60, func(int) float64 { return 5 })
	i := slices.IndexFunc(s.shards, func(sh simShard) bool { return sh.keys.Contains(s.keys[17]) })
	if hot := s.shards[i].keys; hot.Start != s.keys[17] && hot.End != s.keys[17] {
		t.Errorf("the hot key %s is in a shard with range %s", s.keys[17], hot)
	}
	splits := s.count(meta.ScalingSplit)
	if s.count(meta.ScalingHotKey) == 0 {
		t.Fatal("it is not reported")
	}
	for _, step := range s.steps {
		if step.Kind == meta.ScalingHotKey && step.Hot.Key != s.keys[17] {
			t.Errorf("key %s is reported", step.Hot.Key)
		}
	}
	s.run(60, func(int) float64 { return 5 })
	if more := s.count(meta.ScalingSplit) - splits; more > 0 {
		t.Errorf("%d more splits, which cannot help", more)
	}
}

// TestBudget: a stream that is always too loaded uses the shard hours of the day, and no more.
func TestBudget(t *testing.T) {
	p := policy(func(p *meta.Scaling) { p.ShardHoursPerDay, p.ReshardsPerHour = 96, 3600 })
	s := newSimulation(t, p, 1000, 0)
	s.now = noon + dayMillis/2 // from midnight on
	s.used = 0
	s.run(24*360-1, func(int) float64 { return 10 })
	if hours := float64(s.used) / hourMillis; hours > 96.5 || hours < 80 {
		t.Errorf("%.1f shard hours were used of 96", hours)
	}
	if s.highest > 5 {
		t.Errorf("%d shards at once, when 4 are affordable all day", s.highest)
	}
}
