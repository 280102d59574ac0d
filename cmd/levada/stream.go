package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

// streamCommands manage streams.
type streamCommands struct {
	Create   streamCreateCommand   `cmd:"" help:"Create a stream. Doing so again with the same settings does nothing."`
	List     streamListCommand     `cmd:"" help:"List the streams."`
	Describe streamDescribeCommand `cmd:"" help:"Show a stream and what an acknowledgement of it means."`
	Scale    streamScaleCommand    `cmd:"" help:"Bring a stream to a number of shards, by splits and merges, while it is written to and read."`
	Scaling  streamScalingCommand  `cmd:"" help:"Let the number of shards follow the load, or show what was decided and why."`
	Salt     streamSaltCommand     `cmd:"" help:"Spread the records of one hash key over several shards, out of order."`
	Problem  streamProblemCommand  `cmd:"" help:"Report shards that are hot, or that a consumer cannot keep up with, and let the cluster find the remedy."`
	Delete   streamDeleteCommand   `cmd:"" help:"Delete a stream and all its records."`
}

// streamCreateCommand creates a stream.
type streamCreateCommand struct {
	target
	Name           string `arg:"" help:"Name of the stream."`
	Shards         uint32 `help:"Number of shards." default:"1"`
	Replicas       uint32 `help:"Replicas of each shard: 1, 3 or 5; 0 is 3, or 1 on a cluster of fewer nodes." default:"0"`
	Retention      string `help:"How long records are kept, 1h to 365d, for example 24h or 7d." default:"24h"`
	RetentionBytes string `help:"Bytes kept per shard at most, for example 10GiB; 0 is no limit." default:"0"`
	MaxRecordBytes string `help:"Largest record, key included, 1B to 10MiB." default:"1MiB"`
	OnDemand       bool   `help:"Let the number of shards follow the load, from --shards on, by the default scaling policy."`
	NoWait         bool   `help:"Return before every shard has a leader."`
}

// Run implements the command.
func (c streamCreateCommand) Run(ctx context.Context, s *session) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	stream, existed, err := cl.CreateStream(ctx, c.Name, settings, !c.NoWait)
	if err != nil {
		return inFlags(err)
	}
	if existed {
		s.warn("stream %s exists already with these settings", c.Name)
	}
	if c.OnDemand {
		if stream, err = cl.SetScaling(ctx, c.Name, &levadav1.Scaling{OnDemand: true, ShardsMin: c.Shards}, "created on demand"); err != nil {
			return fmt.Errorf("stream %s was created, but not its scaling policy: %w", c.Name, err)
		}
	}
	return printStream(s.out, stream, c.json())
}

// Limits of --retention. A retention of nothing has to be refused here: to the
// cluster it means the default.
const (
	retentionMin = configs.Duration(time.Hour)
	retentionMax = configs.Duration(365 * 24 * time.Hour)
)

// inFlags makes the cluster's refusal of a setting name the flag that set it.
func inFlags(err error) error {
	return inNamedFlags(err, map[string]string{
		"name": "NAME", "shards": "--shards", "replicas": "--replicas", "retention_ms": "--retention", "retention_seconds": "--retention",
		"retention_bytes": "--retention-bytes", "max_record_bytes": "--max-record-bytes",
		"bounds": "--at", "parts": "--parts", "id": "--id", "parents": "SHARD", "reporter": "--reporter",
	})
}

// inNamedFlags is inFlags for a command whose fields have these flags.
func inNamedFlags(err error, flags map[string]string) error {
	var known *client.Error
	if !errors.As(err, &known) {
		return err
	}
	flag := flags[known.Field]
	if flag == "" {
		return err
	}
	renamed := *known
	if rest, ok := strings.CutPrefix(known.Message, known.Field+" "); ok {
		renamed.Message = flag + " " + rest
	} else {
		renamed.Message = flag + ": " + known.Message
	}
	return &renamed
}

func (c streamCreateCommand) settings() (*levadav1.StreamSettings, error) {
	retention, err := configs.ParseDuration(c.Retention)
	if err != nil {
		return nil, usagef("--retention: %w", err)
	}
	if retention < retentionMin || retention > retentionMax {
		return nil, usagef("--retention: %s is outside its limits, %s to %s", retention, retentionMin, retentionMax)
	}
	kept, err := configs.ParseByteSize(c.RetentionBytes)
	if err != nil {
		return nil, usagef("--retention-bytes: %w", err)
	}
	largest, err := configs.ParseByteSize(c.MaxRecordBytes)
	if err != nil {
		return nil, usagef("--max-record-bytes: %w", err)
	}
	if largest < 1 || largest > 10*configs.MiB {
		return nil, usagef("--max-record-bytes: %s is outside its limits, 1B to 10MiB", largest)
	}
	if c.Shards == 0 {
		return nil, usagef("--shards: must be at least 1")
	}
	return &levadav1.StreamSettings{
		Shards: c.Shards, Replicas: c.Replicas, RetentionMs: retention.Std().Milliseconds(),
		RetentionBytes: int64(kept), MaxRecordBytes: uint32(largest),
	}, nil
}

// streamListCommand lists streams.
type streamListCommand struct{ target }

// Run implements the command.
func (c streamListCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	streams, err := cl.ListStreams(ctx)
	if err != nil {
		return err
	}
	return printStreams(s.out, streams, c.json())
}

// streamDescribeCommand shows one stream.
type streamDescribeCommand struct {
	target
	Name string `arg:"" help:"Name of the stream."`
}

// Run implements the command.
func (c streamDescribeCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	stream, err := cl.DescribeStream(ctx, c.Name)
	if err != nil {
		return err
	}
	return printStream(s.out, stream, c.json())
}

// streamDeleteCommand deletes one stream.
type streamDeleteCommand struct {
	target
	Name     string `arg:"" help:"Name of the stream."`
	IfExists bool   `help:"Do not fail if there is none."`
}

// Run implements the command.
func (c streamDeleteCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	return c.deleted(s, "stream", c.Name, c.IfExists, cl.DeleteStream(ctx, c.Name))
}

// deleted prints the outcome of the deletion of something that has a name.
func (t target) deleted(s *session, what, name string, ifExists bool, err error) error {
	v := deletedView{Deleted: name, Existed: true}
	switch {
	case client.IsNotFound(err) && ifExists:
		v = deletedView{}
	case err != nil:
		return err
	}
	switch {
	case t.json():
		return printJSON(s.out, v)
	case !v.Existed:
		s.warn("%s %s does not exist", what, name)
		return nil
	}
	_, err = fmt.Fprintf(s.out, "deleted %s\n", name)
	return err
}

// deletedView is the outcome of delete in JSON.
type deletedView struct {
	Deleted string `json:"deleted"` // its name, empty if there was none
	Existed bool   `json:"existed"`
}

// streamView is a stream in JSON.
type streamView struct {
	Name           string `json:"name"`
	ID             uint64 `json:"id"`
	State          string `json:"state"`
	Shards         uint32 `json:"open_shards"`
	Replicas       uint32 `json:"replicas"`
	RetentionMS    int64  `json:"retention_ms"`
	RetentionBytes int64  `json:"retention_bytes"`
	MaxRecordBytes uint32 `json:"max_record_bytes"`
	DedupWindowMS  int64  `json:"dedup_window_ms"`
	Created        string `json:"created"`
	Durability     string `json:"durability"`

	Goal            *goalView    `json:"goal,omitempty"`
	Scaling         *scalingView `json:"scaling,omitempty"`
	SaltedKeys      []saltedView `json:"salted_keys,omitempty"`
	ShardHoursToday float64      `json:"shard_hours_today"`
}

// goalView is a number of shards that was set, in JSON.
type goalView struct {
	ID      string `json:"id"`
	Shards  uint32 `json:"shards"`
	Reason  string `json:"reason"`
	Started string `json:"started"`
	Ended   string `json:"ended,omitempty"`
	Failure string `json:"failure,omitempty"`
}

func viewStream(s *levadav1.Stream) streamView {
	v := streamView{
		Name: s.GetName(), ID: s.GetId(), State: s.GetState(), Shards: s.GetOpenShards(),
		Replicas: s.GetSettings().GetReplicas(), RetentionMS: s.GetSettings().GetRetentionMs(),
		RetentionBytes: s.GetSettings().GetRetentionBytes(), MaxRecordBytes: s.GetSettings().GetMaxRecordBytes(),
		DedupWindowMS: s.GetSettings().GetDedupWindowMs(), Created: timeText(s.GetCreatedMs()), Durability: s.GetDurability(),
	}
	if g := s.GetGoal(); g != nil {
		v.Goal = &goalView{ID: g.GetId(), Shards: g.GetShards(), Reason: g.GetReason(), Started: timeText(g.GetStartedMs()), Ended: timeText(g.GetEndedMs()), Failure: g.GetFailure()}
	}
	v.Scaling, v.ShardHoursToday = viewScaling(s.GetScaling()), s.GetShardHoursToday()
	for _, k := range s.GetSaltedKeys() {
		v.SaltedKeys = append(v.SaltedKeys, saltedView{k.GetHashKey(), k.GetParts(), timeText(k.GetSinceMs())})
	}
	return v
}

func printStreams(w io.Writer, streams []*levadav1.Stream, asJSON bool) error {
	views := make([]streamView, 0, len(streams))
	t := newTable("name", "state", "shards", "replicas", "retention", "created")
	for _, stream := range streams {
		v := viewStream(stream)
		views = append(views, v)
		t.add(v.Name, v.State, strconv.Itoa(int(v.Shards)), strconv.Itoa(int(v.Replicas)), durationText(v.RetentionMS), v.Created)
	}
	if asJSON {
		return printJSON(w, views)
	}
	return t.print(w)
}

func printStream(w io.Writer, stream *levadav1.Stream, asJSON bool) error {
	v := viewStream(stream)
	if asJSON {
		return printJSON(w, v)
	}
	kept := "no limit"
	if v.RetentionBytes > 0 {
		kept = configs.ByteSize(v.RetentionBytes).String() + " per shard"
	}
	t := newTable()
	t.add("name", v.Name)
	t.add("id", strconv.FormatUint(v.ID, 10))
	t.add("state", v.State)
	t.add("open shards", strconv.Itoa(int(v.Shards)))
	t.add("replicas", strconv.Itoa(int(v.Replicas)))
	t.add("retention", durationText(v.RetentionMS))
	t.add("retention bytes", kept)
	t.add("largest record", configs.ByteSize(v.MaxRecordBytes).String())
	t.add("de-duplication window", durationText(v.DedupWindowMS))
	t.add("created", v.Created)
	t.add("durability", v.Durability)
	if g := v.Goal; g != nil && g.Ended == "" {
		t.add("on its way to", fmt.Sprintf("%d shards, since %s (%s)", g.Shards, g.Started, g.ID))
	} else if g != nil && g.Failure != "" {
		t.add("given up", fmt.Sprintf("%d shards, at %s: %s", g.Shards, g.Ended, g.Failure))
	}
	if v.Scaling != nil {
		t.add("scaling", v.Scaling.text())
		t.add("shard hours today", fmt.Sprintf("%.1f", v.ShardHoursToday))
	}
	for _, k := range v.SaltedKeys {
		t.add("salted key", fmt.Sprintf("%s over %d hash keys since %s", k.HashKey, k.Parts, k.Since))
	}
	return t.print(w)
}

func durationText(ms int64) string {
	return configs.Duration(time.Duration(ms) * time.Millisecond).String()
}
