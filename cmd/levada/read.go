package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/levada-stream/levada/client"
)

// readFlags is what read and tail share.
type readFlags struct {
	target
	Stream string  `arg:"" help:"Name of the stream."`
	Shard  *string `help:"Read this shard only." placeholder:"ID"`
	Max    uint64  `help:"Stop after this many records; 0 is no limit." default:"0"`
	Format string  `help:"raw: the data and a newline; json: one object per line; or a Go template: '{{.Sequence}} {{.Key}} {{.Data}}', also .Shard .Number .Ordinal .Time .HashKey .Size. Default: raw, or json with -o json." placeholder:"FORMAT"`
	Node   string  `help:"Read from this node (name, id or address) only." placeholder:"NODE"`
	Local  bool    `help:"With --node: from that node's own replicas, or fail."`
}

// readCommand reads records.
type readCommand struct {
	readFlags
	From   string `help:"Where to begin: trim-horizon, latest, at:SEQ, after:SEQ, time:RFC3339 or ordinal:N." default:"trim-horizon"`
	Follow bool   `short:"f" help:"Wait for more at the end."`
}

// Run implements the command.
func (c readCommand) Run(ctx context.Context, s *session) error {
	from, err := parsePosition(c.From)
	if err != nil {
		return err
	}
	return c.read(ctx, s, from, c.Follow)
}

// tailCommand is read --from latest --follow.
type tailCommand struct{ readFlags }

// Run implements the command.
func (c tailCommand) Run(ctx context.Context, s *session) error {
	return c.read(ctx, s, client.Latest(), true)
}

// recordReader is a reader of one shard or of a whole stream.
type recordReader interface {
	NextBatch(ctx context.Context) ([]client.Record, error)
	Close()
}

func (f readFlags) read(ctx context.Context, s *session, from client.Position, follow bool) error {
	format, err := f.format()
	if err != nil {
		return err
	}
	if f.Local && f.Node == "" {
		return usagef("--local needs --node")
	}
	shard, err := optionalShard(f.Shard)
	if err != nil {
		return err
	}
	cl, err := f.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	options := client.ReadOptions{From: from, Follow: follow, LocalOnly: f.Local}
	if f.Node != "" {
		cluster, err := cl.Cluster(ctx, 0)
		if err != nil {
			return err
		}
		if options.Node, err = nodeAddress(cluster, f.Node); err != nil {
			return err
		}
	}
	var reader recordReader
	if shard != nil {
		reader = cl.ReadShard(ctx, f.Stream, *shard, options)
	} else {
		reader = cl.ReadStream(ctx, f.Stream, options)
	}
	defer reader.Close()
	out := bufio.NewWriterSize(s.out, 1<<16)
	err = copyRecords(ctx, s, reader, out, format, f.Max, follow)
	return errors.Join(err, out.Flush())
}

func (f readFlags) format() (recordFormat, error) {
	switch {
	case f.Format != "":
		return newRecordFormat(f.Format)
	case f.json():
		return writeRecordJSON, nil
	}
	return writeRaw, nil
}

// copyRecords writes up to limit records, all if it is 0. With eager, every
// batch is written out at once. An interrupt is a normal end.
func copyRecords(ctx context.Context, s *session, reader recordReader, out *bufio.Writer, format recordFormat, limit uint64, eager bool) error {
	for n := uint64(0); ; {
		records, err := reader.NextBatch(ctx)
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			s.warn("gap: %v", gap)
			continue
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		for _, r := range records {
			if err := format(out, r); err != nil {
				return err
			}
			if n++; n == limit {
				return nil
			}
		}
		if eager {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}
