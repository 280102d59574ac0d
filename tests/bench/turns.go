package main

import (
	"context"
	"fmt"
	"time"
)

// calm is how long a cluster is left alone between what prepares it and a measurement.
const calm = time.Second

// turns measures Levada with its defaults, and NATS in one mode, in turn, each
// on a fresh cluster, as often as there are runs.
func (b *bench) turns(ctx context.Context, peers natsMode, measure func(ctx context.Context, s system, how mode, c cluster, run int) error) error {
	all := []contender{levadaContender()}
	if b.options.peers {
		all = append(all, natsContenders(peers)...)
	}
	for run := range b.options.runs {
		for _, s := range all {
			err := b.with(ctx, s.system, func(ctx context.Context, c cluster) error {
				return measure(ctx, s.system, s.modes(1)[0], c, run+1) // it has one mode, whatever the shards
			})
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
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
