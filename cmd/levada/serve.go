package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/node"
)

// serveCommand runs one node in this process.
type serveCommand struct {
	Config     string `help:"Configuration file. Without one: the defaults and the environment." env:"LEVADA_CONFIG" type:"path" placeholder:"FILE"`
	WithParent bool   `hidden:"" help:"End when standard input ends: the mark of a parent that died."`
}

// gcPercent is the garbage collector's setting of a node that is not told another by GOGC. What a busy node
// holds is large buffers without pointers, which cost nothing to mark: measured beside 100, a quarter less memory at the
// same throughput.
const gcPercent = 50

// Run implements the command.
func (c serveCommand) Run(ctx context.Context, s *session) error {
	cfg, err := configs.Load(c.Config, s.lookup)
	if err != nil {
		return usageError{err}
	}
	if _, chosen := s.lookup("GOGC"); !chosen {
		debug.SetGCPercent(gcPercent)
	}
	log := newLogger(cfg.Log, s.err)
	for _, warning := range append(cfg.Warnings(), unknownEnv(s.environ())...) {
		log.Warn("configuration", "warning", warning)
	}
	if c.WithParent {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() { // ends with the process at the latest: a read of standard input cannot be called off
			_, _ = io.Copy(io.Discard, s.in)
			cancel()
		}()
	}
	err = node.Run(ctx, cfg, log, func(i node.Info) {
		log.Info("serving", "name", i.Name, "id", i.NodeID, "grpc", i.GRPC, "http", i.HTTP, "raft", i.Raft, "gossip", i.Gossip)
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\nanother process has that port: stop it, or give this node another address in its configuration", err)
	}
	return err
}

func newLogger(c configs.Log, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.LevelFromString(c.Level), JSONFormat: c.Format == "json", Output: w})
}
