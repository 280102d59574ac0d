package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// commands is the whole command line.
type commands struct {
	Verbose bool `short:"v" help:"Say more on standard error."`

	Serve      serveCommand      `cmd:"" help:"Run one node."`
	Dev        devCommand        `cmd:"" help:"Run a cluster of several nodes on this machine."`
	Stream     streamCommands    `cmd:"" help:"Create, list, describe and delete streams."`
	Put        putCommand        `cmd:"" help:"Write the lines of a file, one record each."`
	Read       readCommand       `cmd:"" help:"Read records."`
	Tail       tailCommand       `cmd:"" help:"Read new records as they come."`
	Shard      shardCommands     `cmd:"" help:"Show the shards of a stream."`
	Cluster    clusterCommands   `cmd:"" help:"Show the cluster."`
	Key        keyCommands       `cmd:"" help:"Create, list and delete access keys of the Kinesis-compatible API."`
	Bench      benchCommands     `cmd:"" help:"Measure a cluster."`
	Config     configCommands    `cmd:"" help:"Check and print configurations."`
	WAL        walCommands       `cmd:"" name:"wal" help:"Look into the shard logs of a stopped node."`
	Completion completionCommand `cmd:"" help:"Print a completion script for a shell."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
	Complete   completeCommand   `cmd:"" name:"__complete" hidden:""`
}

// session is what every command is given.
type session struct {
	environment
	verbose bool
	command string // as typed, without the program and arguments: "stream list"
	stream  string // that the command is about, "" if it is about none

	// ballast is never touched and so takes no memory. Commands move much data through a small heap, for every
	// few megabytes of which the garbage collector would run; it lets the heap grow by as much.
	ballast []byte
}

const ballastBytes = 64 << 20

// checker is implemented by commands whose flags have rules of their own.
// check runs before the command does anything.
type checker interface{ check(s *session) error }

// note prints a line about how a command works, if asked for.
func (s *session) note(format string, args ...any) {
	if s.verbose {
		fmt.Fprintf(s.err, format+"\n", args...)
	}
}

// warn prints a line on standard error.
func (s *session) warn(format string, args ...any) {
	fmt.Fprintf(s.err, format+"\n", args...)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// newParser returns the parser of the command line. exit is called where help
// was asked for and printed.
func newParser(c *commands, e environment, exit func(int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("levada"),
		kong.Description("Levada stores streams of records on several machines at once. Start with: levada dev"),
		kong.Writers(e.out, e.err),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.Vars{"devdir": defaultDevDir, "version": versionText()},
	)
}

// run parses and runs one command line and returns the exit code.
func run(ctx context.Context, args []string, e environment) int {
	var c commands
	exited := -1
	parser, err := newParser(&c, e, func(code int) { exited = code })
	if err != nil {
		fmt.Fprintf(e.err, "levada: %v\n", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	s := &session{environment: e, verbose: c.Verbose}
	if err != nil {
		return report(s, asUsage(err))
	}
	chosen := parsed.Selected()
	s.command, s.stream = strings.TrimPrefix(chosen.Path(), "levada "), streamOf(chosen)
	if command, ok := chosen.Target.Interface().(checker); ok {
		if err := command.check(s); err != nil {
			return report(s, err)
		}
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return report(s, parsed.Run(s))
}

// streamOf returns the stream that a command's arguments name.
func streamOf(command *kong.Node) string {
	for _, argument := range command.Positional {
		if argument.Name == "stream" || argument.Name == "name" {
			return argument.Target.String()
		}
	}
	return ""
}

// asUsage marks a parser's error as wrong usage and names where help is.
func asUsage(err error) error {
	var parse *kong.ParseError
	hint := "see: levada --help"
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			hint = "see: levada " + node.Path() + " --help"
		}
	}
	return usageError{fmt.Errorf("%w\n%s", err, hint)}
}
