package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// profileTime is the length of a CPU profile.
const profileTime = 10 * time.Second

// profileLevada loads Levada as P1 does and keeps profiles of the node that leads
// most shards, of one other node, and of the client, which is this process.
func (b *bench) profileLevada(ctx context.Context, shards int) error {
	if err := os.MkdirAll(b.options.profiles, 0o755); err != nil {
		return err
	}
	return b.with(ctx, levadaSystem(), func(ctx context.Context, c cluster) (err error) {
		l := c.(*levadaCluster) // what levadaSystem starts
		w, err := c.writer(ctx, target{shards, recordBytes, levadaDefaults()})
		if err != nil {
			return err
		}
		defer w.close()
		leader, _, err := l.busiest(ctx, streamName(shards))
		if err != nil {
			return err
		}
		follower := l.nodes[0]
		if follower == leader {
			follower = l.nodes[1]
		}
		loading, stop := context.WithCancel(ctx)
		var acked atomic.Int64
		ended := make(chan error, 1)
		go func() { ended <- w.flood(loading, &acked) }()
		defer func() {
			stop()
			err = errors.Join(err, <-ended)
		}()
		if err := (warmup{b.options.warmup, b.options.prewarm << 20}).run(ctx, w, &acked); err != nil {
			return err
		}
		return b.collect(ctx, leader, follower, shards)
	})
}

// collect writes the profiles, named after the shards and the process.
func (b *bench) collect(ctx context.Context, leader, follower *levadaNode, shards int) error {
	path := func(what string) string {
		return filepath.Join(b.options.profiles, fmt.Sprintf("levada-p1-%dshards-%s.pprof", shards, what))
	}
	own, err := os.Create(path("client-cpu"))
	if err != nil {
		return err
	}
	defer own.Close()
	if err := pprof.StartCPUProfile(own); err != nil {
		return err
	}
	seconds := int(profileTime / time.Second)
	pages := []struct{ what, url string }{
		{"leader-cpu", fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", leader.http, seconds)},
		{"leader-allocs", fmt.Sprintf("http://%s/debug/pprof/allocs?seconds=%d", leader.http, seconds)},
		{"follower-cpu", fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", follower.http, seconds)},
	}
	failures := make(chan error, len(pages))
	for _, p := range pages {
		go func() {
			text, err := fetch(ctx, p.url)
			if err == nil {
				err = os.WriteFile(path(p.what), text, 0o644)
			}
			failures <- err
		}()
	}
	var errs []error
	for range pages {
		errs = append(errs, <-failures)
	}
	pprof.StopCPUProfile()
	b.say("profiles of %s, %s and the client are in %s", leader.name, follower.name, b.options.profiles)
	return errors.Join(errs...)
}
