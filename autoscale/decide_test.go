package autoscale

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/meta"
)

const second = 1000

// policy has a target of 1 MB/s or 1,000 records/s.
func policy(change func(*meta.Scaling)) meta.Scaling {
	p := meta.CompleteScaling(meta.Scaling{BytesPerSecond: 1_000_000, RecordsPerSecond: 1000})
	if change != nil {
		change(&p)
	}
	return p
}

// shards returns even shards, open and known for ever, with loads in MB/s.
func shards(loads ...float64) []Shard {
	out := make([]Shard, len(loads))
	for i, r := range hashkey.SplitEven(len(loads)) {
		rate := Rate{Bytes: loads[i] * 1e6, Records: 1}
		out[i] = Shard{Number: uint32(i), Range: r, Opened: 1, Known: 1, Split: rate, Merge: rate}
	}
	return out
}

const noon = int64(20_000)*dayMillis + dayMillis/2

// kinds sums up steps: "split 3", "merge 1,2".
func kinds(steps []Step) []string {
	out := []string{}
	for _, s := range steps {
		out = append(out, strings.Trim(fmt.Sprintf("%s %v", s.Kind, s.Shards), " "))
	}
	return out
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy func(*meta.Scaling)
		shards []Shard
		change func(*Stream)
		want   []string
		reason string // part of the first step's
	}{
		{"at its target nothing happens", nil, shards(1, 0.9), nil, []string{}, ""},
		{"above it a shard is split", nil, shards(0.9, 1.1), nil, []string{"split [1]"}, "1.100 MB/s and 1 records/s over 60 s, 110 % of the target of 1.000 MB/s or 1000 records/s; into 2"},
		{"the hottest first", nil, shards(1.1, 3, 0.9, 2), nil, []string{"split [1]", "split [3]", "split [0]"}, "into 5"},
		{"by records too", nil, shards(0.9), func(s *Stream) { s.Shards[0].Split = Rate{Bytes: 1000, Records: 1500} }, []string{"split [0]"}, "150 % of the target"},
		{"not while it is busy", nil, shards(2), func(s *Stream) { s.Shards[0].Busy = true }, []string{}, ""},
		{"not while it is new", nil, shards(2), func(s *Stream) { s.Shards[0].Opened = noon - 59*second }, []string{}, ""},
		{"not on a load of which the window is not over", nil, shards(2), func(s *Stream) { s.Shards[0].Known = noon - 59*second }, []string{}, ""},
		{"nor on one that is not known", nil, shards(2), func(s *Stream) { s.Shards[0].Known = 0 }, []string{}, ""},
		{"no more than shards_max", func(p *meta.Scaling) { p.ShardsMax = 2 }, shards(2, 0.9), nil, []string{"held_back [0]"}, "not split: shards_max is 2"},
		{"and fewer parts if more do not fit", func(p *meta.Scaling) { p.ShardsMax = 3 }, shards(5, 0.9), nil, []string{"split [0]"}, "into 2 instead of 8, as shards_max is 3"},
		{"what is under way counts", func(p *meta.Scaling) { p.ShardsMax = 3 }, shards(2, 0.9), func(s *Stream) { s.Coming = 1 }, []string{"held_back [0]"}, "shards_max"},
		{"no more often than allowed", func(p *meta.Scaling) { p.ReshardsPerHour = 2 }, shards(2, 0.9), func(s *Stream) { s.Begun = []int64{noon - 1, noon - hourMillis + 1, noon - hourMillis} }, []string{"held_back [0]"}, "reshards_per_hour is 2"},
		{"which an hour later is over", func(p *meta.Scaling) { p.ReshardsPerHour = 2 }, shards(2, 0.9), func(s *Stream) { s.Begun = []int64{noon - 1, noon - hourMillis} }, []string{"split [0]"}, ""},
		{"low neighbours are merged, the lowest first", nil, shards(0.2, 0.2, 0.1, 0.1, 0.9), nil, []string{"merge [2 3]", "merge [0 1]"}, "together have 0.200 MB/s and 2 records/s over 900 s"},
		{"each in one merge only", nil, shards(0.1, 0.1, 0.1), nil, []string{"merge [0 1]"}, "below merge_percent, 50 %"},
		{"not down to fewer than shards_min", func(p *meta.Scaling) { p.ShardsMin = 4 }, shards(0, 0, 0, 0), nil, []string{}, ""},
		{"not while the load rises", nil, shards(0.1, 0.1), func(s *Stream) { s.Shards[0].Split.Bytes = 0.7e6 }, []string{}, ""},
		{"not before the window is over", nil, shards(0.1, 0.1), func(s *Stream) { s.Shards[1].Known = noon - 899*second }, []string{}, ""},
		{"more than allowed are merged whatever the load", func(p *meta.Scaling) { p.ShardsMax = 2 }, shards(0.9, 0.8, 0.7, 0.6), nil, []string{"merge [2 3]", "merge [0 1]"}, "4 shards are open and shards_max is 2"},
		{"but not more than that", func(p *meta.Scaling) { p.ShardsMax = 3 }, shards(0.9, 0.8, 0.7, 0.6), nil, []string{"merge [2 3]"}, ""},
		{"fewer than wanted are split", func(p *meta.Scaling) { p.ShardsMin = 5 }, shards(0.3, 0.6), nil, []string{"split [1]"}, "2 shards are open, shards_min is 5"},
		{
			"the budget bounds like shards_max", func(p *meta.Scaling) { p.ShardHoursPerDay = 48 }, shards(2, 0.9), func(s *Stream) { s.UsedMillis = 20 * hourMillis },
			[]string{"held_back [0]"},
			"28.0 of 48 shard hours of this day (UTC) are left for 12.0 hours, which is enough for 2 shards",
		},
		{"and makes merges", func(p *meta.Scaling) { p.ShardHoursPerDay = 48 }, shards(0.9, 0.9, 0.8), func(s *Stream) { s.UsedMillis = 30 * hourMillis }, []string{"merge [1 2]"}, "enough for 1 shards"},
		{"though not below shards_min", func(p *meta.Scaling) { p.ShardHoursPerDay, p.ShardsMin = 48, 3 }, shards(0.9, 0.9, 0.8), func(s *Stream) { s.UsedMillis = 60 * hourMillis }, []string{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Stream{Policy: policy(c.policy), Shards: c.shards}
			if c.change != nil {
				c.change(&s)
			}
			steps := Decide(noon, s)
			if got := kinds(steps); !slices.Equal(got, c.want) {
				t.Fatalf("decided %v, want %v: %+v", got, c.want, steps)
			}
			if c.reason != "" && !strings.Contains(steps[0].Reason, c.reason) {
				t.Errorf("the reason is %q, want %q in it", steps[0].Reason, c.reason)
			}
		})
	}
}

// TestDecideKeepsToThePolicy draws streams and policies at random.
func TestDecideKeepsToThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policy(func(p *meta.Scaling) {
			p.ShardsMin = rapid.IntRange(1, 6).Draw(t, "min")
			p.ShardsMax = rapid.IntRange(p.ShardsMin, 12).Draw(t, "max")
			p.ReshardsPerHour = rapid.IntRange(1, 5).Draw(t, "per hour")
			p.MergePercent = rapid.IntRange(1, 70).Draw(t, "merge percent")
			p.ShardHoursPerDay = rapid.SampledFrom([]int64{0, 24, 100}).Draw(t, "hours")
		})
		loads := make([]float64, rapid.IntRange(1, 14).Draw(t, "shards"))
		for i := range loads {
			loads[i] = rapid.Float64Range(0, 3).Draw(t, "load")
		}
		s := Stream{Policy: p, Shards: shards(loads...), UsedMillis: rapid.Int64Range(0, 120*hourMillis).Draw(t, "used")}
		for i := range s.Shards {
			s.Shards[i].Busy = rapid.IntRange(0, 5).Draw(t, "busy") == 0
			s.Shards[i].Opened = noon - rapid.Int64Range(0, 2000).Draw(t, "age")*second
			s.Shards[i].Known = noon - rapid.Int64Range(0, 2000).Draw(t, "known")*second
			for range rapid.SampledFrom([]int{0, 10, 60}).Draw(t, "samples") {
				k := hashkey.Key{Hi: rapid.Uint64().Draw(t, "key")}
				s.Shards[i].Samples = append(s.Shards[i].Samples, Sample{Key: k, Bytes: 1, Records: 1})
			}
		}
		for range rapid.IntRange(0, 6).Draw(t, "begun") {
			s.Begun = append(s.Begun, noon-rapid.Int64Range(0, 2*hourMillis).Draw(t, "ago"))
		}
		steps := Decide(noon, s)
		if again := Decide(noon, s); !reflect.DeepEqual(steps, again) {
			t.Fatalf("the same input gives %+v, and then %+v", steps, again)
		}
		allowed, _ := Allowed(noon, s)
		if allowed < p.ShardsMin || allowed > p.ShardsMax {
			t.Fatalf("%d shards are allowed, of %d to %d", allowed, p.ShardsMin, p.ShardsMax)
		}
		open, begun, taken := len(loads), 0, map[uint32]bool{}
		for _, at := range s.Begun {
			if noon-at < hourMillis {
				begun++
			}
		}
		for _, step := range steps {
			if step.Reason == "" {
				t.Fatalf("%+v has no reason", step)
			}
			if step.Kind != meta.ScalingSplit && step.Kind != meta.ScalingMerge {
				continue
			}
			begun++
			for _, n := range step.Shards {
				if taken[n] || s.Shards[n].Busy || noon-s.Shards[n].Opened < p.CooldownSeconds*second {
					t.Fatalf("shard %d may not be changed (again): %+v", n, steps)
				}
				taken[n] = true
			}
			if step.Kind == meta.ScalingMerge {
				if open--; step.Shards[1] != step.Shards[0]+1 || open < p.ShardsMin {
					t.Fatalf("merge %+v of %d shards", step, open+1)
				}
				continue
			}
			open += len(step.Bounds)
			r, last := s.Shards[step.Shards[0]].Range, s.Shards[step.Shards[0]].Range.Start
			for _, b := range step.Bounds {
				if b.Compare(last) <= 0 || b.Compare(r.End) > 0 {
					t.Fatalf("shard %d with range %s is cut at %v", step.Shards[0], r, step.Bounds)
				}
				last = b
			}
			if open > allowed || len(step.Bounds) == 0 {
				t.Fatalf("a split makes %d shards, %d are allowed: %+v", open, allowed, steps)
			}
		}
		if begun > p.ReshardsPerHour && len(taken) > 0 {
			t.Fatalf("%d reshards in an hour, %d are allowed", begun, p.ReshardsPerHour)
		}
	})
}
