package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

// change holds what all commands have that change shards.
type change struct {
	ID     string `help:"Makes it safe to say the same again: an id names one change. By default a new one." placeholder:"ID"`
	Reason string `help:"Kept with the change."`
	NoWait bool   `help:"Return as soon as it is begun."`
}

// reshard returns what to ask for. The id is said before anything happens: it is what the change is asked about by if the wait is cut short.
func (c change) reshard(s *session) client.Reshard {
	id := c.ID
	if id == "" {
		id = rand.Text()
	}
	if !c.NoWait {
		s.warn("waiting for it; its id is %s", id)
	}
	return client.Reshard{ID: id, Reason: c.Reason, Wait: !c.NoWait}
}

// shardSplitCommand splits a shard.
type shardSplitCommand struct {
	target
	change
	Stream string   `arg:"" help:"Name of the stream."`
	Shard  string   `arg:"" help:"Id or number of the shard."`
	At     []string `help:"First hash key of a new shard, decimal; may be given more than once. By default even parts." placeholder:"KEY" xor:"where"`
	Parts  uint32   `help:"Number of parts; by default 2." xor:"where"`
	ByLoad bool     `help:"Parts of about the same load, as it was in the last minutes."`
}

// check implements checker.
func (c shardSplitCommand) check(s *session) error {
	if c.ByLoad && len(c.At) > 0 {
		return usagef("--by-load finds where to split; leave --at out")
	}
	return c.target.check(s)
}

// Run implements the command.
func (c shardSplitCommand) Run(ctx context.Context, s *session) error {
	shard, err := parseShard(c.Shard)
	if err != nil {
		return err
	}
	return c.do(ctx, s, true, func(cl *client.Client) (*levadav1.Reshard, error) {
		if c.ByLoad {
			return cl.SplitShardByLoad(ctx, c.Stream, shard, c.Parts, c.reshard(s))
		}
		return cl.SplitShard(ctx, c.Stream, shard, c.At, c.Parts, c.reshard(s))
	})
}

// shardMergeCommand merges two shards.
type shardMergeCommand struct {
	target
	change
	Stream string `arg:"" help:"Name of the stream."`
	Shard  string `arg:"" help:"Id or number of a shard."`
	With   string `arg:"" help:"Id or number of its neighbour."`
}

// Run implements the command.
func (c shardMergeCommand) Run(ctx context.Context, s *session) error {
	shard, err := parseShard(c.Shard)
	if err != nil {
		return err
	}
	with, err := parseShard(c.With)
	if err != nil {
		return err
	}
	return c.do(ctx, s, true, func(cl *client.Client) (*levadav1.Reshard, error) {
		return cl.MergeShards(ctx, c.Stream, shard, with, c.reshard(s))
	})
}

// shardAbortCommand aborts a reshard.
type shardAbortCommand struct {
	target
	ID     string `arg:"" help:"Id of the split or merge."`
	Reason string `help:"Kept with it."`
}

// Run implements the command.
func (c shardAbortCommand) Run(ctx context.Context, s *session) error {
	return c.do(ctx, s, false, func(cl *client.Client) (*levadav1.Reshard, error) { return cl.AbortReshard(ctx, c.ID, c.Reason) })
}

// do connects, runs one change and prints what became of it. One that is wanted must not be aborted.
func (t target) do(ctx context.Context, s *session, wanted bool, f func(*client.Client) (*levadav1.Reshard, error)) error {
	cl, err := t.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	r, err := f(cl)
	if err != nil {
		return inFlags(err)
	}
	if err := printReshards(s.out, []*levadav1.Reshard{r}, t.json()); err != nil {
		return err
	}
	if r.GetPhase() == "aborted" && wanted {
		return fmt.Errorf("it was aborted: %s", r.GetFailure())
	}
	return nil
}

// shardReshardsCommand lists reshards.
type shardReshardsCommand struct {
	target
	Stream string `arg:"" optional:"" help:"Name of the stream; by default of all."`
	Active bool   `help:"Only those under way."`
	Limit  int    `help:"Show at most so many." default:"50"`
}

// Run implements the command.
func (c shardReshardsCommand) Run(ctx context.Context, s *session) error {
	if c.Limit < 1 {
		return usagef("--limit: must be at least 1")
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	reshards, err := cl.ListReshards(ctx, c.Stream, c.Active, c.Limit)
	if err != nil {
		return err
	}
	return printReshards(s.out, reshards, c.json())
}

// reshardView is a reshard in JSON.
type reshardView struct {
	ID       string   `json:"id"`
	Stream   string   `json:"stream"`
	Kind     string   `json:"kind"`
	Parents  []string `json:"parents"`
	Children []string `json:"children"`
	Phase    string   `json:"phase"`
	Reason   string   `json:"reason"`
	Failure  string   `json:"failure,omitempty"`
	Started  string   `json:"started"`
	Sealing  string   `json:"sealing,omitempty"`
	Ended    string   `json:"ended,omitempty"`
}

func viewReshard(r *levadav1.Reshard) reshardView {
	v := reshardView{
		ID: r.GetId(), Stream: r.GetStream(), Kind: "split", Parents: shardIDs(r.GetParents()), Children: shardIDs(r.GetChildren()),
		Phase: r.GetPhase(), Reason: r.GetReason(), Failure: r.GetFailure(),
		Started: timeText(r.GetStartedMs()), Sealing: timeText(r.GetSealingMs()), Ended: timeText(r.GetEndedMs()),
	}
	if len(r.GetParents()) > 1 {
		v.Kind = "merge"
	}
	return v
}

func printReshards(w io.Writer, reshards []*levadav1.Reshard, asJSON bool) error {
	views := make([]reshardView, 0, len(reshards))
	t := newTable("id", "stream", "kind", "parents", "children", "phase", "started", "ended", "reason")
	for _, r := range reshards {
		v := viewReshard(r)
		views = append(views, v)
		why := v.Reason
		if v.Failure != "" {
			why += "; " + v.Failure
		}
		t.add(v.ID, v.Stream, v.Kind, shortIDs(r.GetParents()), shortIDs(r.GetChildren()), v.Phase, v.Started, v.Ended, why)
	}
	if asJSON {
		return printJSON(w, views)
	}
	return t.print(w)
}

// shortIDs names shards by their numbers, "1,2,3".
func shortIDs(numbers []uint32) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = fmt.Sprint(n)
	}
	return strings.Join(texts, ",")
}

// streamScaleCommand sets the number of shards.
type streamScaleCommand struct {
	target
	change
	Name   string `arg:"" help:"Name of the stream."`
	Shards uint32 `arg:"" optional:"" help:"Number of shards it shall have."`
	Cancel bool   `help:"Give up the number that was set; what was done stays."`
}

// Run implements the command.
func (c streamScaleCommand) Run(ctx context.Context, s *session) error {
	if c.Cancel == (c.Shards > 0) {
		return usagef("say either how many shards the stream shall have, or --cancel")
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	var stream *levadav1.Stream
	if c.Cancel {
		stream, err = cl.CancelShardCount(ctx, c.Name, c.Reason)
	} else {
		stream, err = cl.SetShardCount(ctx, c.Name, c.Shards, c.reshard(s))
	}
	if err != nil {
		return inScale(err)
	}
	if err := printStream(s.out, stream, c.json()); err != nil {
		return err
	}
	if g := stream.GetGoal(); g.GetFailure() != "" && !c.Cancel {
		return fmt.Errorf("the %d shards were given up: %s", g.GetShards(), g.GetFailure())
	}
	return nil
}

// inScale names the argument of scale that an error is about.
func inScale(err error) error {
	var known *client.Error
	if errors.As(err, &known) && known.Field == "shards" {
		renamed := *known
		renamed.Field = ""
		return &renamed
	}
	return inFlags(err)
}

// filterOf turns flags into a filter.
func filterOf(open bool, at string) (client.ShardFilter, error) {
	if open {
		return client.ShardFilter{Kind: levadav1.ShardFilter_SHARDS_OPEN}, nil
	}
	if at == "" {
		return client.ShardFilter{}, nil
	}
	ms, err := parseTime(at)
	if err != nil {
		return client.ShardFilter{}, fmt.Errorf("--at: %w", err)
	}
	return client.ShardFilter{Kind: levadav1.ShardFilter_SHARDS_AT, At: ms}, nil
}

var errTime = errors.New("no time")

// parseTime reads a time in RFC 3339 and returns ms since the Unix epoch.
func parseTime(text string) (int64, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, usagef("%q is %w: write one like 2026-11-26T05:00:00Z", text, errTime)
	}
	return at.UnixMilli(), nil
}
