package node

import (
	"context"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// createTries is how often a new stream is placed: again where others took the
// room meanwhile on which the placement counted.
const createTries = 3

// createStream places a stream and proposes it. Of the command it chooses the placement, the limits and the time.
func (n *Node) createStream(ctx context.Context, wanted meta.CreateStream) error {
	for try := 1; ; try++ {
		state := n.metaStore.State()
		command, err := n.placeStream(state, wanted)
		if err != nil {
			return err
		}
		err = n.propose(ctx, command)
		if fault.KindOf(err) != fault.LimitReached || try == createTries {
			return err
		}
		// The refusal is part of the log: this node's copy gets to what it was about.
		if late := n.awaitVersion(ctx, state.Version()+1); late != nil {
			return err
		}
	}
}

// placeStream returns the command that creates a stream, or a refusal that is
// certain already. A name in use is told before a lack of room, which may be due to that very stream.
func (n *Node) placeStream(state *meta.State, wanted meta.CreateStream) (*meta.CreateStream, error) {
	placement, err := meta.Place(state, n.hints(), wanted.Settings)
	command := &wanted
	command.Placement, command.StreamsMax, command.Time = placement, n.cfg.Limits.StreamsMax, n.now().UnixMilli()
	if err == nil {
		err = command.CheckLimits(state)
	}
	if _, exists := state.StreamByName(wanted.Name); exists && fault.KindOf(err) == fault.LimitReached {
		return nil, fault.New(fault.Conflict, "stream %q exists with other settings", wanted.Name)
	}
	return command, err
}

// checkShards bounds a new stream by this node's configuration.
func (n *Node) checkShards(shards int) error {
	if most := n.cfg.Limits.ShardsPerStreamMax; shards > most {
		e := fault.InvalidField("shards", "shards must be between 1 and %d, not %d (limits.shards_per_stream_max)", most, shards)
		e.Limit = uint64(most)
		return e
	}
	return nil
}
