package autoscale

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/meta"
)

const (
	// splitFill is how loaded, of its target, a shard made by a split is to be.
	splitFill = 0.7
	// splitPartsMax bounds the shards that one split makes.
	splitPartsMax = 16

	hourMillis = 60 * 60 * 1000
	dayMillis  = 24 * hourMillis
)

// A Rate is a mean load per second.
type Rate struct {
	Bytes, Records float64
}

func (r Rate) plus(o Rate) Rate { return Rate{r.Bytes + o.Bytes, r.Records + o.Records} }

// A Shard is an open shard with what is known of its load.
type Shard struct {
	Number uint32
	Range  hashkey.Range
	Opened int64 // unix ms
	Busy   bool  // part of a reshard that is under way
	Known  int64 // since when (unix ms) its load is known, 0 if it is not
	Split  Rate  // mean over the policy's SplitSeconds
	Merge  Rate  // mean over its MergeSeconds
	// Samples are of its records, for one that is loaded above its target; without any it would be cut evenly.
	Samples []Sample
}

// A Stream is what Decide looks at.
type Stream struct {
	Policy     meta.Scaling
	Shards     []Shard // open, ascending by their ranges
	Coming     int     // by how much their number will grow with what is under way
	Begun      []int64 // unix ms at which reshards were begun by decisions before, in any order
	UsedMillis int64   // time of open shards in this UTC day so far
}

// A Step is a decision.
type Step struct {
	Kind   meta.ScalingKind // split, merge, hot_key for a key too hot for any shard, or held_back for a split that was due
	Shards []uint32         // one to split, or two neighbours to merge, the one with the lower keys first
	Bounds []hashkey.Key    // of a split: the first keys of the children but the first
	Hot    *HotKey          // set iff Kind is hot_key
	Reason string
}

// Decide returns what is to be done now (unix ms), the most urgent first.
func Decide(now int64, s Stream) []Step {
	d := decision{Stream: s, now: now, open: len(s.Shards) + s.Coming, taken: map[uint32]bool{}}
	d.left = s.Policy.ReshardsPerHour
	for _, at := range s.Begun {
		if now-at < hourMillis {
			d.left--
		}
	}
	d.allowed, d.bound = Allowed(now, s)
	d.splits()
	d.merges()
	return d.steps
}

// Allowed returns how many open shards the stream may have now, at least ShardsMin, and which bound says so.
func Allowed(now int64, s Stream) (shards int, bound string) {
	p := s.Policy
	shards, bound = p.ShardsMax, fmt.Sprintf("shards_max is %d", p.ShardsMax)
	if p.ShardHoursPerDay == 0 {
		return shards, bound
	}
	rest := dayMillis - now%dayMillis
	left := p.ShardHoursPerDay*hourMillis - s.UsedMillis
	if affordable := int(max(left, 0) / rest); affordable < shards {
		shards = max(affordable, p.ShardsMin)
		bound = fmt.Sprintf("%.1f of %d shard hours of this day (UTC) are left for %.1f hours, which is enough for %d shards",
			float64(max(left, 0))/hourMillis, p.ShardHoursPerDay, float64(rest)/hourMillis, shards)
	}
	return shards, bound
}

type decision struct {
	Stream
	now     int64
	open    int // shards that there will be with what is under way and decided
	allowed int
	bound   string
	left    int // reshards that may still be begun in this hour
	taken   map[uint32]bool
	steps   []Step
}

// Load returns how loaded a shard is by a policy: 1 is its target.
func Load(p meta.Scaling, r Rate) (load float64) {
	if p.BytesPerSecond > 0 {
		load = r.Bytes / float64(p.BytesPerSecond)
	}
	if p.RecordsPerSecond > 0 {
		load = max(load, r.Records/float64(p.RecordsPerSecond))
	}
	return load
}

// known reports whether the load is known for all of a window.
func (d *decision) known(sh *Shard, seconds int64) bool {
	return sh.Known > 0 && d.now-max(sh.Known, sh.Opened) >= seconds*1000
}

// settled reports whether a shard may be changed.
func (d *decision) settled(sh *Shard) bool {
	return !sh.Busy && !d.taken[sh.Number] && d.now-sh.Opened >= d.Policy.CooldownSeconds*1000
}

func (d *decision) splits() {
	var hot []*Shard
	for i := range d.Shards {
		sh := &d.Shards[i]
		if d.settled(sh) && d.known(sh, d.Policy.SplitSeconds) && Load(d.Policy, sh.Split) > 1 {
			hot = append(hot, sh)
		}
	}
	slices.SortStableFunc(hot, func(a, b *Shard) int { return cmp.Compare(Load(d.Policy, b.Split), Load(d.Policy, a.Split)) })
	for _, sh := range hot {
		load := Load(d.Policy, sh.Split)
		parts := int(min(math.Ceil(load/splitFill), splitPartsMax))
		d.split(sh, max(parts, 2), fmt.Sprintf("shard %d has %s over %d s, %s", sh.Number, describe(sh.Split), d.Policy.SplitSeconds, ofTarget(d.Policy, load)))
	}
	if d.open < d.Policy.ShardsMin {
		d.raise()
	}
}

// raise splits towards ShardsMin: the most loaded shard, of equals the one with the most keys.
func (d *decision) raise() {
	var best *Shard
	for i := range d.Shards {
		sh := &d.Shards[i]
		if !d.settled(sh) || sh.Range.Start == sh.Range.End {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(Load(d.Policy, sh.Split), Load(d.Policy, best.Split)), cmp.Compare(width(sh), width(best))) > 0 {
			best = sh
		}
	}
	if best != nil {
		parts := min(d.Policy.ShardsMin-d.open+1, splitPartsMax)
		d.split(best, parts, fmt.Sprintf("%d shards are open, shards_min is %d, and shard %d has the highest load or the most keys", d.open, d.Policy.ShardsMin, best.Number))
	}
}

// width returns the number of a shard's keys, about.
func width(sh *Shard) float64 {
	return float64(sh.Range.End.Hi-sh.Range.Start.Hi)*math.Exp2(64) + float64(sh.Range.End.Lo) - float64(sh.Range.Start.Lo)
}

// split adds a split, into fewer parts if no more are allowed, or says what forbids it.
func (d *decision) split(sh *Shard, parts int, why string) {
	step := Step{Kind: meta.ScalingSplit, Shards: []uint32{sh.Number}, Reason: why}
	room := d.allowed - d.open
	cut := CutByLoad(d.Policy, *sh, max(min(parts, room+1), 2), sh.Samples)
	if cut.Hot != nil {
		d.steps = append(d.steps, Step{Kind: meta.ScalingHotKey, Shards: step.Shards, Hot: cut.Hot, Reason: step.Reason + "; " + cut.Hot.String()})
	}
	step.Bounds = cut.Bounds
	switch made := len(cut.Bounds) + 1; {
	case made == 1:
		d.taken[sh.Number] = true
		if cut.Hot == nil {
			d.hold(step, cut.Reason)
		}
		return
	case d.left <= 0:
		d.hold(step, fmt.Sprintf("reshards_per_hour is %d", d.Policy.ReshardsPerHour))
		return
	case room < 1:
		d.hold(step, d.bound)
		return
	case room+1 < parts:
		step.Reason += fmt.Sprintf("; into %d instead of %d, as %s; %s", made, parts, d.bound, cut.Reason)
	default:
		step.Reason += fmt.Sprintf("; into %d; %s", made, cut.Reason)
	}
	d.add(step, len(cut.Bounds))
}

func (d *decision) hold(step Step, by string) {
	d.taken[step.Shards[0]] = true
	d.steps = append(d.steps, Step{Kind: meta.ScalingHeldBack, Shards: step.Shards, Reason: step.Reason + "; not split: " + by})
}

func (d *decision) add(step Step, more int) {
	for _, number := range step.Shards {
		d.taken[number] = true
	}
	d.open += more
	d.left--
	d.steps = append(d.steps, step)
}

// merges joins neighbours, the least loaded first.
func (d *decision) merges() {
	type pair struct {
		a, b *Shard
		load float64
		rate Rate
	}
	var pairs []pair
	for i := 1; i < len(d.Shards); i++ {
		a, b := &d.Shards[i-1], &d.Shards[i]
		if d.settled(a) && d.settled(b) {
			rate := a.Merge.plus(b.Merge)
			pairs = append(pairs, pair{a, b, Load(d.Policy, rate), rate})
		}
	}
	slices.SortStableFunc(pairs, func(p, q pair) int { return cmp.Compare(p.load, q.load) })
	mark := float64(d.Policy.MergePercent) / 100
	for _, p := range pairs {
		if d.left <= 0 || d.open <= d.Policy.ShardsMin {
			return
		}
		if d.taken[p.a.Number] || d.taken[p.b.Number] {
			continue
		}
		why := ""
		switch {
		case d.open > d.allowed:
			why = fmt.Sprintf("%d shards are open and %s", d.open, d.bound)
		case d.known(p.a, d.Policy.MergeSeconds) && d.known(p.b, d.Policy.MergeSeconds) && p.load < mark &&
			Load(d.Policy, p.a.Split.plus(p.b.Split)) < mark: // and it is not about to rise
			why = fmt.Sprintf("which is below merge_percent, %d %%", d.Policy.MergePercent)
		default:
			continue
		}
		d.add(Step{
			Kind: meta.ScalingMerge, Shards: []uint32{p.a.Number, p.b.Number},
			Reason: fmt.Sprintf("shards %d and %d together have %s over %d s, %s: %s",
				p.a.Number, p.b.Number, describe(p.rate), d.Policy.MergeSeconds, ofTarget(d.Policy, p.load), why),
		}, -1)
	}
}

func describe(r Rate) string {
	return fmt.Sprintf("%.3f MB/s and %.0f records/s", r.Bytes/1e6, r.Records)
}

// ofTarget says how loaded that is, and by which target.
func ofTarget(p meta.Scaling, load float64) string {
	target := ""
	if p.BytesPerSecond > 0 {
		target = fmt.Sprintf("%.3f MB/s", float64(p.BytesPerSecond)/1e6)
	}
	if p.RecordsPerSecond > 0 {
		if target != "" {
			target += " or "
		}
		target += fmt.Sprintf("%d records/s", p.RecordsPerSecond)
	}
	return fmt.Sprintf("%.0f %% of the target of %s", 100*load, target)
}
