package main

import (
	"context"
	"fmt"
	"time"
)

// calm is how long a cluster is left alone between what prepares it and a measurement.
const calm = time.Second

// turns measures systems in turn, each on a fresh cluster, as often as there are runs.
func (b *bench) turns(ctx context.Context, all []contender, measure func(ctx context.Context, s contender, c cluster, run int) error) error {
	for run := range b.options.runs {
		for _, s := range all {
			err := b.with(ctx, s.system, func(ctx context.Context, c cluster) error { return measure(ctx, s, c, run+1) })
			if err = b.forgive(ctx, s.name, err); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// forgive notes that a peer failed in a run, so that the others go on; what it had measured in that run before stays. It
// returns all other errors, Levada's among them.
func (b *bench) forgive(ctx context.Context, system string, err error) error {
	if err == nil || system == levadaSystem().name || ctx.Err() != nil {
		return err
	}
	failure := fmt.Sprintf("%s: %v", system, err)
	b.say("failed: %s", failure)
	b.report.Failures = append(b.report.Failures, failure)
	return nil
}

// waitingContenders are Levada with its defaults, and NATS with callers that wait for each message.
func (b *bench) waitingContenders() []contender {
	all := []contender{levadaContender()}
	if b.options.peers {
		all = append(all, natsContenders(waiting())...)
	}
	return all
}

// singleContenders are Levada with its defaults, and NATS publishing single
// messages in whichever way is the fastest with each number of shards: of NATS's
// ways to publish only that one tells of each message when it is stored.
func (b *bench) singleContenders(ctx context.Context, row string, shardCounts []int) ([]contender, error) {
	all := []contender{levadaContender()}
	if !b.options.peers {
		return all, nil
	}
	trial := p1()
	trial.name = row
	for _, s := range natsSystems() {
		kept := map[int]mode{}
		for _, shards := range shardCounts {
			var err error
			if kept[shards], err = trial.best(ctx, b, contender{s, natsSingles}, shards); err != nil {
				return nil, err
			}
		}
		all = append(all, contender{s, func(shards int) []mode { return []mode{kept[shards]} }})
	}
	return all, nil
}

// prewarm writes what a system asks for before its first measurement.
func (b *bench) prewarm(ctx context.Context, s system, w writer) error {
	if !s.prewarm || b.options.prewarm <= 0 {
		return nil
	}
	if _, err := fill(ctx, w, b.options.prewarm<<20); err != nil {
		return err
	}
	return pause(ctx, calm)
}
