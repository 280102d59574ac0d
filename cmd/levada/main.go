package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first signal ends the context; commands then say what they got done. A second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	e := environment{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, lookup: os.LookupEnv, environ: os.Environ,
		terminal: isTerminal(os.Stderr),
	}
	os.Exit(run(ctx, os.Args[1:], e))
}

// environment is what a command sees of the process it runs in.
type environment struct {
	in       io.Reader
	out, err io.Writer
	lookup   func(name string) (string, bool)
	environ  func() []string
	terminal bool // err is a terminal: progress may be shown there
}
