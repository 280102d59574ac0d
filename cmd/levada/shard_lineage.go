package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
)

// shardLineageCommand draws the lineage of a stream's shards.
type shardLineageCommand struct {
	target
	Stream string `arg:"" help:"Name of the stream."`
	At     string `help:"Only the shards that owned keys at this time, and what they came from." placeholder:"TIME"`
}

// Run implements the command.
func (c shardLineageCommand) Run(ctx context.Context, s *session) error {
	at := int64(0)
	if c.At != "" {
		var err error
		if at, err = parseTime(c.At); err != nil {
			return fmt.Errorf("--at: %w", err)
		}
	}
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	shards, err := cl.ListShardsWhere(ctx, c.Stream, client.ShardFilter{})
	if err != nil {
		return err
	}
	if c.json() {
		views := make([]shardView, 0, len(shards))
		for _, sh := range lineageAt(shards, at) {
			views = append(views, viewShard(sh))
		}
		return printJSON(s.out, views)
	}
	return drawLineage(s.out, lineageAt(shards, at))
}

// lineageAt returns the shards that were there at a time: those that owned keys then, and what they came from. 0 stands for all.
func lineageAt(shards []*levadav1.Shard, at int64) []*levadav1.Shard {
	if at == 0 {
		return shards
	}
	var out []*levadav1.Shard
	for _, sh := range shards {
		if sh.GetOpenedMs() > 0 && sh.GetOpenedMs() <= at {
			out = append(out, sh)
		}
	}
	return out
}

// drawLineage draws a forest: each shard below the first of its parents, which names the other one if there are two.
//
//	0 closed 2026-11-26T05:00:00.000Z
//	├─ 2 closed 2026-11-26T05:10:00.000Z
//	│  └─ 4 open, also of 3
//	└─ 3 closed 2026-11-26T05:10:00.000Z (4)
//	1 open
func drawLineage(w io.Writer, shards []*levadav1.Shard) error {
	byNumber := map[uint32]*levadav1.Shard{}
	for _, sh := range shards {
		byNumber[sh.GetNumber()] = sh
	}
	children := map[uint32][]*levadav1.Shard{} // by the first parent that is still there
	var roots []*levadav1.Shard
	for _, sh := range shards {
		i := slices.IndexFunc(sh.GetParents(), func(p uint32) bool { return byNumber[p] != nil })
		if i < 0 {
			roots = append(roots, sh)
			continue
		}
		first := sh.GetParents()[i]
		children[first] = append(children[first], sh)
	}
	var b strings.Builder
	var draw func(sh *levadav1.Shard, lead, rest string)
	draw = func(sh *levadav1.Shard, lead, rest string) {
		b.WriteString(lead + lineageText(sh, children[sh.GetNumber()]) + "\n")
		below := children[sh.GetNumber()]
		for i, child := range below {
			if i == len(below)-1 {
				draw(child, rest+"└─ ", rest+"   ")
			} else {
				draw(child, rest+"├─ ", rest+"│  ")
			}
		}
	}
	for _, sh := range roots {
		draw(sh, "", "")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lineageText is a shard's line: its number, range, state, and relatives that are drawn elsewhere.
func lineageText(sh *levadav1.Shard, drawn []*levadav1.Shard) string {
	text := fmt.Sprintf("%d  [%s, %s]  %s", sh.GetNumber(), sh.GetHashStart(), sh.GetHashEnd(), sh.GetState())
	if sh.GetClosedMs() > 0 {
		text += fmt.Sprintf(" %s after %s records", timeText(sh.GetClosedMs()), grouped(sh.GetEndOrdinal()))
	}
	if len(sh.GetParents()) > 1 {
		text += "  from " + shortIDs(sh.GetParents())
	}
	var elsewhere []uint32
	for _, c := range sh.GetChildren() {
		if !slices.ContainsFunc(drawn, func(d *levadav1.Shard) bool { return d.GetNumber() == c }) {
			elsewhere = append(elsewhere, c)
		}
	}
	if len(elsewhere) > 0 {
		text += "  into " + shortIDs(elsewhere)
	}
	return text
}
