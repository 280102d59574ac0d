package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/configs"
)

// streamScalingCommand sets or shows how a stream scales.
type streamScalingCommand struct {
	target
	Name string `arg:"" help:"Name of the stream."`
	Mode string `arg:"" optional:"" help:"on, off, or advise: decide, and only say so. By default show what was decided." enum:"on,off,advise," default:""`

	BytesPerSecond   string `help:"What one shard is to take, for example 1MiB; 0 leaves bytes out. Without this and the next: 1MiB and 1000 records." placeholder:"SIZE"`
	RecordsPerSecond int64  `help:"Records that one shard is to take."`
	SplitAfter       string `help:"Split a shard whose mean load over so long is above its target; 10s to 1h." default:"1m"`
	MergeAfter       string `help:"Merge neighbours whose load over so long is low; 10s to 1h." default:"15m"`
	MergePercent     uint32 `help:"That is: together below so much of one shard's target, 1 to 70." default:"50"`
	Cooldown         string `help:"How long a new shard is left as it is." default:"1m"`
	Min              uint32 `help:"Shards to keep at least." default:"1"`
	Max              uint32 `help:"Shards to make at most." default:"256"`
	ReshardsPerHour  uint32 `help:"Splits and merges to make in any hour at most." default:"60"`
	ShardHoursPerDay int64  `help:"Hours of open shards in one UTC day at most; 0 is no limit." default:"0"`
	SaltParts        uint32 `help:"Spread a key that is too hot for any shard over so many, 2 to 64: its records are then in no order. 0: do not." default:"0"`
	Reason           string `help:"Kept with the change."`
	Limit            int    `help:"Show at most so many decisions." default:"50"`
}

// Run implements the command.
func (c streamScalingCommand) Run(ctx context.Context, s *session) error {
	if c.Limit < 1 {
		return usagef("--limit: must be at least 1")
	}
	policy, err := c.policy()
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	if c.Mode != "" {
		stream, err := cl.SetScaling(ctx, c.Name, policy, c.Reason)
		if err != nil {
			return inScaling(err)
		}
		return printStream(s.out, stream, c.json())
	}
	events, err := cl.ListScalingEvents(ctx, c.Name, c.Limit)
	if err != nil {
		return err
	}
	return printEvents(s.out, events, c.json())
}

// policy returns what the flags say. All of it is set at once.
func (c streamScalingCommand) policy() (*levadav1.Scaling, error) {
	p := &levadav1.Scaling{
		Mode: c.Mode, RecordsPerSecond: c.RecordsPerSecond, MergePercent: c.MergePercent, ShardsMin: c.Min, ShardsMax: c.Max,
		ReshardsPerHour: c.ReshardsPerHour, ShardHoursPerDay: c.ShardHoursPerDay, SaltParts: c.SaltParts,
	}
	if c.BytesPerSecond != "" {
		size, err := configs.ParseByteSize(c.BytesPerSecond)
		if err != nil {
			return nil, usagef("--bytes-per-second: %w", err)
		}
		p.BytesPerSecond = int64(size)
	}
	for _, f := range []struct {
		flag, text string
		to         *int64
	}{{"split-after", c.SplitAfter, &p.SplitSeconds}, {"merge-after", c.MergeAfter, &p.MergeSeconds}, {"cooldown", c.Cooldown, &p.CooldownSeconds}} {
		d, err := configs.ParseDuration(f.text)
		if err != nil {
			return nil, usagef("--%s: %w", f.flag, err)
		}
		if d.Std() < time.Second || d.Std()%time.Second != 0 {
			return nil, usagef("--%s: must be a whole number of seconds, at least one", f.flag)
		}
		*f.to = int64(d.Std() / time.Second)
	}
	return p, nil
}

// inScaling names the flag that an error is about.
func inScaling(err error) error {
	return inNamedFlags(err, map[string]string{
		"bytes_per_second": "--bytes-per-second", "records_per_second": "--records-per-second", "split_seconds": "--split-after", "merge_seconds": "--merge-after",
		"merge_percent": "--merge-percent", "cooldown_seconds": "--cooldown", "shards_min": "--min", "shards_max": "--max", "shards": "--max",
		"reshards_per_hour": "--reshards-per-hour", "shard_hours_per_day": "--shard-hours-per-day", "salt_parts": "--salt-parts", "reason": "--reason",
	})
}

// scalingView is a scaling policy in JSON.
type scalingView struct {
	Mode             string `json:"mode"`
	OnDemand         bool   `json:"on_demand"`
	BytesPerSecond   int64  `json:"bytes_per_second"`
	RecordsPerSecond int64  `json:"records_per_second"`
	SplitSeconds     int64  `json:"split_seconds"`
	MergeSeconds     int64  `json:"merge_seconds"`
	MergePercent     uint32 `json:"merge_percent"`
	CooldownSeconds  int64  `json:"cooldown_seconds"`
	ShardsMin        uint32 `json:"shards_min"`
	ShardsMax        uint32 `json:"shards_max"`
	ReshardsPerHour  uint32 `json:"reshards_per_hour"`
	ShardHoursPerDay int64  `json:"shard_hours_per_day"`
	SaltParts        uint32 `json:"salt_parts"`
}

// saltedView is a salted key in JSON.
type saltedView struct {
	HashKey string `json:"hash_key"`
	Parts   uint32 `json:"parts"`
	Since   string `json:"since"`
}

func viewScaling(p *levadav1.Scaling) *scalingView {
	if p == nil {
		return nil
	}
	return &scalingView{
		Mode: p.GetMode(), OnDemand: p.GetOnDemand(), BytesPerSecond: p.GetBytesPerSecond(), RecordsPerSecond: p.GetRecordsPerSecond(),
		SplitSeconds: p.GetSplitSeconds(), MergeSeconds: p.GetMergeSeconds(), MergePercent: p.GetMergePercent(), CooldownSeconds: p.GetCooldownSeconds(),
		ShardsMin: p.GetShardsMin(), ShardsMax: p.GetShardsMax(), ReshardsPerHour: p.GetReshardsPerHour(), ShardHoursPerDay: p.GetShardHoursPerDay(),
		SaltParts: p.GetSaltParts(),
	}
}

// text is a policy in a line.
func (v *scalingView) text() string {
	var targets []string
	if v.BytesPerSecond > 0 {
		targets = append(targets, configs.ByteSize(v.BytesPerSecond).String()+"/s")
	}
	if v.RecordsPerSecond > 0 {
		targets = append(targets, grouped(v.RecordsPerSecond)+" records/s")
	}
	mode := v.Mode
	if v.OnDemand {
		mode += " (on demand)"
	}
	text := fmt.Sprintf("%s: %s a shard, %d to %d shards; split after %s above, merge after %s below %d %%",
		mode, strings.Join(targets, " or "), v.ShardsMin, v.ShardsMax, durationText(v.SplitSeconds*1000), durationText(v.MergeSeconds*1000), v.MergePercent)
	if v.ShardHoursPerDay > 0 {
		text += fmt.Sprintf("; %d shard hours a day", v.ShardHoursPerDay)
	}
	if v.SaltParts > 0 {
		text += fmt.Sprintf("; hot keys over %d", v.SaltParts)
	}
	return text
}

// eventView is a scaling event in JSON.
type eventView struct {
	Time    string   `json:"time"`
	Stream  string   `json:"stream"`
	Kind    string   `json:"kind"`
	Shards  []string `json:"shards"`
	Reshard string   `json:"reshard,omitempty"`
	HashKey string   `json:"hash_key,omitempty"`
	Reason  string   `json:"reason"`
}

func printEvents(w io.Writer, events []*levadav1.ScalingEvent, asJSON bool) error {
	views := make([]eventView, 0, len(events))
	t := newTable("time", "stream", "what", "shards", "why")
	for _, e := range events {
		v := eventView{timeText(e.GetTimeMs()), e.GetStream(), e.GetKind(), shardIDs(e.GetShards()), e.GetReshard(), e.GetHashKey(), e.GetReason()}
		views = append(views, v)
		t.add(v.Time, v.Stream, strings.ReplaceAll(v.Kind, "_", " "), shortIDs(e.GetShards()), v.Reason)
	}
	if asJSON {
		return printJSON(w, views)
	}
	return t.print(w)
}

// shardLoadCommand shows loads.
type shardLoadCommand struct {
	target
	Stream string `arg:"" help:"Name of the stream."`
	Shard  string `arg:"" optional:"" help:"Id or number of a shard whose keys to show."`
	Window string `help:"Average over so long, 10s to 1h." default:"1m"`
}

// Run implements the command.
func (c shardLoadCommand) Run(ctx context.Context, s *session) error {
	window, err := configs.ParseDuration(c.Window)
	if err != nil {
		return usagef("--window: %w", err)
	}
	if window.Std() < 10*time.Second || window.Std() > time.Hour {
		return usagef("--window: %s is outside its limits, 10s to 1h", window)
	}
	var shards []uint32
	if c.Shard != "" {
		shard, err := parseShard(c.Shard)
		if err != nil {
			return err
		}
		shards = append(shards, shard)
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	loads, err := cl.ListLoads(ctx, c.Stream, uint32(window.Std()/time.Second), shards...)
	if err != nil {
		return err
	}
	return printLoads(s.out, loads, shards, c.json())
}

// loadView is a shard's load in JSON.
type loadView struct {
	Shard            string    `json:"shard"`
	Known            bool      `json:"known"`
	BytesPerSecond   float64   `json:"bytes_per_second"`
	RecordsPerSecond float64   `json:"records_per_second"`
	KnownSince       string    `json:"known_since,omitempty"`
	Histogram        []float64 `json:"histogram,omitempty"`
	Heaviest         []keyView `json:"heaviest,omitempty"`
	Samples          uint32    `json:"samples,omitempty"`
}

type keyView struct {
	HashKey string  `json:"hash_key"`
	Share   float64 `json:"share"`
}

func printLoads(w io.Writer, loads []*levadav1.ShardLoad, shown []uint32, asJSON bool) error {
	views := make([]loadView, 0, len(loads))
	t := newTable("shard", "MB/s", "records/s", "known since")
	var keys strings.Builder
	for _, l := range loads {
		v := loadView{
			Shard: shardID(l.GetShard()), Known: l.GetKnown(), BytesPerSecond: l.GetBytesPerSecond(), RecordsPerSecond: l.GetRecordsPerSecond(),
			KnownSince: timeText(l.GetKnownSinceMs()), Histogram: l.GetHistogram(), Samples: l.GetSamples(),
		}
		for _, k := range l.GetHeaviest() {
			v.Heaviest = append(v.Heaviest, keyView{k.GetHashKey(), k.GetShare()})
		}
		views = append(views, v)
		rates := []string{"", ""}
		if v.Known {
			rates = []string{fmt.Sprintf("%.3f", v.BytesPerSecond/1e6), fmt.Sprintf("%.1f", v.RecordsPerSecond)}
		}
		t.add(v.Shard, rates[0], rates[1], v.KnownSince)
		keys.WriteString(v.keys())
	}
	if asJSON {
		return printJSON(w, views)
	}
	if err := t.print(w); err != nil {
		return err
	}
	if len(shown) > 0 && keys.Len() == 0 {
		keys.WriteString("\nno records of the last minutes were sampled in that shard\n")
	}
	_, err := io.WriteString(w, keys.String())
	return err
}

// keys draws how the load of a shard spreads over its range, and its heaviest keys.
func (v loadView) keys() string {
	if len(v.Histogram) == 0 {
		return ""
	}
	most := 0.0
	for _, share := range v.Histogram {
		most = max(most, share)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %d samples, bytes by 64 even parts of its range, the fullest has %.1f %%\n", v.Shard, v.Samples, 100*most)
	levels := []rune(" ▁▂▃▄▅▆▇█")
	for _, share := range v.Histogram {
		level := 0
		if share > 0 {
			level = 1 + min(len(levels)-2, int(share/most*float64(len(levels)-1)))
		}
		b.WriteRune(levels[level])
	}
	b.WriteString("\n")
	for _, k := range v.Heaviest {
		fmt.Fprintf(&b, "%6.1f %%  hash key %s\n", 100*k.Share, k.HashKey)
	}
	return b.String()
}

// streamProblemCommand reports a problem.
type streamProblemCommand struct {
	target
	Name     string   `arg:"" help:"Name of the stream."`
	Kind     string   `arg:"" help:"hot-shard, or lag: a consumer does not keep up." enum:"hot-shard,lag"`
	Shards   []string `arg:"" optional:"" help:"Ids or numbers of the shards; by default the most loaded one."`
	ID       string   `help:"Makes it safe to say the same again. By default a new one." placeholder:"ID"`
	Reporter string   `help:"Who has the problem, for the event log." default:"the command line"`
}

// Run implements the command.
func (c streamProblemCommand) Run(ctx context.Context, s *session) error {
	in := &levadav1.ReportProblemRequest{Id: c.ID, Stream: c.Name, Problem: levadav1.Problem_PROBLEM_HOT_SHARD, Reporter: c.Reporter}
	if c.Kind == "lag" {
		in.Problem = levadav1.Problem_PROBLEM_CONSUMER_LAG
	}
	for _, text := range c.Shards {
		shard, err := parseShard(text)
		if err != nil {
			return err
		}
		in.Shards = append(in.Shards, shard)
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	out, err := cl.ReportProblem(ctx, in)
	if err != nil {
		return inFlags(err)
	}
	return printEvents(s.out, out.GetEvents(), c.json())
}

// streamSaltCommand salts a key.
type streamSaltCommand struct {
	target
	Name    string `arg:"" help:"Name of the stream."`
	HashKey string `arg:"" help:"Hash key in decimal, as the event log and shard load show it."`
	Parts   uint32 `arg:"" help:"Over how many hash keys, 2 to 64; 0 is no longer."`
	Reason  string `help:"Kept with the change."`
}

// Run implements the command.
func (c streamSaltCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	stream, err := cl.SaltKey(ctx, c.Name, c.HashKey, c.Parts, c.Reason)
	if err != nil {
		return inNamedFlags(err, map[string]string{"hash_key": "HASH-KEY", "parts": "PARTS", "reason": "--reason"})
	}
	return printStream(s.out, stream, c.json())
}
