package meta

import (
	"iter"
	"slices"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// ScalingMode says what is done about the load of a stream.
type ScalingMode string

// The modes of scaling.
const (
	ScalingOff    ScalingMode = "off"
	ScalingAdvise ScalingMode = "advise" // decides as if it were on, and only says so
	ScalingOn     ScalingMode = "on"
)

// Limits of a scaling policy and of what is kept about it.
const (
	ScalingWindowSecondsMin = 10
	ScalingWindowSecondsMax = 60 * 60
	ScalingHistoryMax       = 10_000 // events that the cluster remembers
	ScalingReasonBytesMax   = 1024
	SaltPartsMax            = 64
	SaltedKeysMax           = 64 // of one stream
)

// Scaling is the policy by which a stream's number of shards follows its load. CompleteScaling fills in defaults;
// a command wants it complete. Comparable with ==.
type Scaling struct {
	Mode ScalingMode `json:"mode"`
	// OnDemand notes that the policy is the one of a stream without a number of shards of its own; it sets none of the other fields.
	OnDemand bool `json:"on_demand,omitempty"`
	// What one shard is to take per second. The shard is as loaded as the higher of both shares; 0 leaves one out.
	BytesPerSecond   int64 `json:"bytes_per_second"`
	RecordsPerSecond int64 `json:"records_per_second"`
	// A shard is split when its mean load over SplitSeconds is above its target, and two neighbours are
	// merged when theirs over MergeSeconds is together below MergePercent of one's.
	SplitSeconds int64 `json:"split_seconds"`
	MergeSeconds int64 `json:"merge_seconds"`
	MergePercent int   `json:"merge_percent"`
	// CooldownSeconds is how long a new shard is left as it is.
	CooldownSeconds int64 `json:"cooldown_seconds"`
	ShardsMin       int   `json:"shards_min"`
	ShardsMax       int   `json:"shards_max"`
	// ReshardsPerHour bounds how often, over any hour.
	ReshardsPerHour int `json:"reshards_per_hour"`
	// ShardHoursPerDay bounds the hours of open shards in one UTC day, 0 for no limit. What is left is
	// spread over the rest of the day: it bounds the shards as ShardsMax does.
	ShardHoursPerDay int64 `json:"shard_hours_per_day,omitempty"`
	// SaltParts permits to spread a key that is too hot for any shard over so many hash keys. Its records are
	// then in no order among each other. 0 forbids it.
	SaltParts int `json:"salt_parts,omitempty"`
}

// CompleteScaling returns s with the documented defaults where a field is 0 that may not be 0.
func CompleteScaling(s Scaling) Scaling {
	byDefault := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if s.Mode == "" {
		s.Mode = ScalingOn
	}
	if s.BytesPerSecond == 0 && s.RecordsPerSecond == 0 {
		s.BytesPerSecond, s.RecordsPerSecond = 1<<20, 1000
	}
	byDefault(&s.SplitSeconds, 60)
	byDefault(&s.MergeSeconds, 15*60)
	byDefault(&s.CooldownSeconds, 60)
	ints := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	ints(&s.MergePercent, 50)
	ints(&s.ShardsMin, 1)
	ints(&s.ShardsMax, 256)
	ints(&s.ReshardsPerHour, 60)
	return s
}

// Validate returns an Invalid error that names the first field out of its limits.
func (s Scaling) Validate() error {
	if s.Mode != ScalingOff && s.Mode != ScalingAdvise && s.Mode != ScalingOn {
		return fault.InvalidField("mode", "mode must be off, advise or on, not %q", string(s.Mode))
	}
	for _, f := range []struct {
		name            string
		value, min, max int64
	}{
		{"bytes_per_second", s.BytesPerSecond, 0, RateLimitMax},
		{"records_per_second", s.RecordsPerSecond, 0, RateLimitMax},
		{"split_seconds", s.SplitSeconds, ScalingWindowSecondsMin, ScalingWindowSecondsMax},
		{"merge_seconds", s.MergeSeconds, ScalingWindowSecondsMin, ScalingWindowSecondsMax},
		// Above it, what a split has made would soon be below the mark of a merge.
		{"merge_percent", int64(s.MergePercent), 1, 70},
		{"cooldown_seconds", s.CooldownSeconds, 1, 24 * 60 * 60},
		{"shards_min", int64(s.ShardsMin), 1, ShardsMax},
		{"shards_max", int64(s.ShardsMax), int64(s.ShardsMin), ShardsMax},
		{"reshards_per_hour", int64(s.ReshardsPerHour), 1, 3600},
		{"shard_hours_per_day", s.ShardHoursPerDay, 0, 24 * ShardsMax},
		{"salt_parts", int64(s.SaltParts), 0, SaltPartsMax},
	} {
		if err := checkRange(f.name, f.value, f.min, f.max); err != nil {
			return err
		}
	}
	if s.BytesPerSecond == 0 && s.RecordsPerSecond == 0 {
		return fault.InvalidField("bytes_per_second", "a shard needs a target: bytes_per_second or records_per_second")
	}
	if s.SaltParts == 1 {
		return limitError("salt_parts", SaltPartsMax, "salt_parts must be 0 or 2 to %d, not 1", SaltPartsMax)
	}
	return nil
}

// Scaling returns the stream's policy, nil if it has none.
func (s *Stream) Scaling() *Scaling { return s.scaling }

// A SaltedKey is a hash key whose records are spread over others. Immutable.
type SaltedKey struct {
	Key   hashkey.Key `json:"key"`
	Parts int         `json:"parts"`
	Since int64       `json:"since"` // unix ms
}

// Salted returns the keys that are spread, ascending.
func (s *Stream) Salted() []SaltedKey { return s.salted }

// A shardUsage counts the time of open shards up to the last change of their number.
type shardUsage struct {
	Until  int64 `json:"until"`  // unix ms
	Millis int64 `json:"millis"` // of the UTC day of Until
}

const dayMillis = 24 * 60 * 60 * 1000

// ShardMillis returns for how many milliseconds the stream had an open shard in the UTC day of now
// (ms since the Unix epoch), summed over its shards.
func (s *Stream) ShardMillis(now int64) int64 {
	since, sum := s.Created, int64(0)
	if u := s.usage; u != nil {
		since = u.Until
		if u.Until/dayMillis == now/dayMillis {
			sum = u.Millis
		}
	}
	since = max(since, now/dayMillis*dayMillis)
	return sum + int64(len(s.open))*max(now-since, 0)
}

// spend notes what the open shards of a stream, which the transaction may change, have used before their number changes.
func (s *Stream) spend(now int64) {
	if s.usage != nil {
		now = max(now, s.usage.Until)
	}
	s.usage = &shardUsage{Until: now, Millis: s.ShardMillis(now)}
}

// ScalingKind says what a scaling event is about.
type ScalingKind string

// The kinds of scaling events.
const (
	ScalingPolicy   ScalingKind = "policy"    // the policy was changed
	ScalingSplit    ScalingKind = "split"     // a split was begun
	ScalingMerge    ScalingKind = "merge"     // a merge was begun
	ScalingAdvice   ScalingKind = "advice"    // it would have been, if the mode were on
	ScalingHotKey   ScalingKind = "hot_key"   // a key is too hot for any shard
	ScalingSalted   ScalingKind = "salted"    // a key was spread over several, or is no longer
	ScalingHeldBack ScalingKind = "held_back" // something was due and a limit forbade it
)

func (k ScalingKind) valid() bool {
	return slices.Contains([]ScalingKind{ScalingPolicy, ScalingSplit, ScalingMerge, ScalingAdvice, ScalingHotKey, ScalingSalted, ScalingHeldBack}, k)
}

// A ScalingEvent is a decision about a stream's shards with its reasons. Immutable.
type ScalingEvent struct {
	Number   uint64      `json:"number"` // position in the cluster's history, from 1
	StreamID uint64      `json:"stream"`
	Time     int64       `json:"time"` // unix ms
	Kind     ScalingKind `json:"kind"`
	Shards   []uint32    `json:"shards,omitempty"`  // that it is about
	Reshard  string      `json:"reshard,omitempty"` // id of the one begun
	Key      string      `json:"key,omitempty"`     // hash key in decimal, of a hot or salted one
	Reason   string      `json:"reason"`
}

// same reports whether both say the same of the same moment.
func (e *ScalingEvent) same(o *ScalingEvent) bool {
	return e.StreamID == o.StreamID && e.Time == o.Time && e.Kind == o.Kind && slices.Equal(e.Shards, o.Shards) &&
		e.Reshard == o.Reshard && e.Key == o.Key && e.Reason == o.Reason
}

// RecentScaling yields the scaling events remembered with numbers below before, the latest first; 0 stands for all.
func (s *State) RecentScaling(before uint64) iter.Seq[*ScalingEvent] {
	return func(yield func(*ScalingEvent) bool) {
		if before == 0 || before > s.nextScaling {
			before = s.nextScaling
		}
		for number := before - 1; number > 0; number-- {
			e := s.scalings.get(number)
			if e == nil || !yield(e) {
				return
			}
		}
	}
}

// addScaling appends to the history and lets the oldest entry go.
func (t *txn) addScaling(e ScalingEvent) {
	e.Number = t.next.nextScaling
	t.next.nextScaling++
	t.next.scalings.set(t.edit, e.Number, &e)
	if e.Number > ScalingHistoryMax {
		t.next.scalings.remove(t.edit, e.Number-ScalingHistoryMax)
	}
	t.events.Streams = append(t.events.Streams, e.StreamID)
}
