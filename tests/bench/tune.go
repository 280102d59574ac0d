package main

import (
	"context"
	"fmt"
)

// tuned is how fast a system was in one mode.
type tuned struct {
	Row    string  `json:"row"`
	System string  `json:"system"`
	Shards int     `json:"shards"`
	Mode   string  `json:"mode"`
	MBps   float64 `json:"mb_per_second"`
	Error  string  `json:"error,omitempty"`
	Kept   bool    `json:"kept"`
}

// best tries each mode for a moment, all on one cluster, and returns the fastest.
func (a appending) best(ctx context.Context, b *bench, s contender, shards int) (mode, error) {
	modes := s.modes(shards)
	if len(modes) == 1 {
		return modes[0], nil
	}
	outcomes := make([]tuned, len(modes))
	err := b.with(ctx, s.system, func(ctx context.Context, c cluster) error {
		for i, m := range modes {
			mbps, err := a.try(ctx, b, c, target{shards, a.size, m})
			outcomes[i] = tuned{Row: a.name, System: s.name, Shards: shards, Mode: m.String(), MBps: mbps}
			if err != nil { // a mode that the server does not take: say so and try the others
				outcomes[i].Error = err.Error()
			}
			b.say("%s tuning: %s, %d shards, %s: %.1f MB/s %s", a.name, s.name, shards, m, mbps, outcomes[i].Error)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	i, ok := fastest(outcomes)
	if !ok {
		return nil, fmt.Errorf("%s takes none of the settings", s.name)
	}
	outcomes[i].Kept = true
	b.report.Tuning = append(b.report.Tuning, outcomes...)
	return modes[i], nil
}

func (a appending) try(ctx context.Context, b *bench, c cluster, t target) (mbps float64, _ error) {
	w, err := c.writer(ctx, t)
	if err != nil {
		return 0, err
	}
	defer w.close()
	out, err := flood(ctx, c, w, warmup{duration: b.options.tune / 2}, b.options.tune)
	return out.MBps, err
}

// fastest returns the best outcome without an error, false if there is none.
func fastest(outcomes []tuned) (best int, ok bool) {
	for i, o := range outcomes {
		if o.Error == "" && (!ok || o.MBps > outcomes[best].MBps) {
			best, ok = i, true
		}
	}
	return best, ok
}
