package main

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal"
)

// walCommands look into shard logs.
type walCommands struct {
	Dump   walDumpCommand   `cmd:"" help:"Print a shard log."`
	Verify walVerifyCommand `cmd:"" help:"Check every byte of a shard log: checksums, order, cumulative hashes, indexes."`
}

// walDumpCommand prints a log.
type walDumpCommand struct {
	Dir     string `arg:"" help:"Directory of the log: DATA/groups/GROUP/log of a node that is stopped." type:"existingdir"`
	Blocks  bool   `help:"One line per block."`
	Batches bool   `help:"One line per batch of records."`
	Records bool   `help:"One line per record."`
	From    uint64 `help:"Leave out blocks, batches and records that lie before this ordinal."`
}

// Run implements the command.
func (c walDumpCommand) Run(s *session) error {
	if err := needSegments(c.Dir); err != nil {
		return err
	}
	out := bufio.NewWriterSize(s.out, 1<<16)
	err := wal.Dump(out, vfs.OS(), c.Dir, wal.DumpOptions{Blocks: c.Blocks, Batches: c.Batches, Records: c.Records, From: c.From})
	return errors.Join(err, out.Flush())
}

// walVerifyCommand checks a log.
type walVerifyCommand struct {
	Dir    string `arg:"" help:"Directory of the log: DATA/groups/GROUP/log of a node that is stopped." type:"existingdir"`
	Output string `short:"o" help:"Form of the result: ${enum}." enum:"table,json" default:"table"`
}

// walReportView is the outcome of verify in JSON.
type walReportView struct {
	OK       bool             `json:"ok"`
	First    uint64           `json:"first"`
	Next     uint64           `json:"next"`
	Blocks   uint64           `json:"blocks"`
	Records  uint64           `json:"records"`
	Bytes    uint64           `json:"bytes"`
	Chain    string           `json:"chain"`
	Segments []walSegmentView `json:"segments"`
}

// walSegmentView is one segment of it.
type walSegmentView struct {
	Group   uint64 `json:"group"`
	Shard   uint32 `json:"shard"`
	State   string `json:"state"`
	First   uint64 `json:"first"`
	Next    uint64 `json:"next"`
	Blocks  uint64 `json:"blocks"`
	Bytes   uint64 `json:"bytes"`
	Torn    int64  `json:"torn_bytes"`
	Problem string `json:"problem,omitempty"`
}

// Run implements the command.
func (c walVerifyCommand) Run(s *session) error {
	if err := needSegments(c.Dir); err != nil {
		return err
	}
	report, err := wal.Verify(vfs.OS(), c.Dir)
	if err != nil && len(report.Segments) == 0 {
		return err
	}
	if printErr := printWALReport(s, viewWALReport(report, err == nil), c.Output == "json"); printErr != nil {
		return printErr
	}
	return err
}

// needSegments refuses a directory without segments: seldom is it a log that never had a record, mostly another directory.
func needSegments(dir string) error {
	found, err := wal.HasSegments(vfs.OS(), dir)
	if err == nil && !found {
		err = fmt.Errorf("%s holds no segments: name the directory DATA/groups/GROUP/log of a node's data directory DATA; a log that never had a record is empty", dir)
	}
	return err
}

// walState says in one word how a segment is. One that a crash left torn is as good: the node cuts it when it opens the log.
func walState(r wal.SegmentReport) string {
	switch {
	case errors.Is(r.Problem, wal.ErrCorrupt):
		return "damaged"
	case r.Problem != nil:
		return "unreadable"
	case r.Torn:
		return "torn"
	}
	return "good"
}

func viewWALReport(r wal.Report, ok bool) walReportView {
	v := walReportView{
		OK: ok, First: r.First, Next: r.End.Next, Blocks: r.Blocks, Records: r.Records, Bytes: r.Payload,
		Chain: fmt.Sprintf("%x", r.End.Chain), Segments: []walSegmentView{},
	}
	for _, s := range r.Segments {
		segment := walSegmentView{
			Group: s.Group, Shard: s.Shard, State: walState(s), First: s.First, Next: s.Next,
			Blocks: s.Blocks, Bytes: s.Payload, Torn: s.TornBytes,
		}
		if s.Problem != nil {
			segment.Problem = s.Problem.Error()
		}
		v.Segments = append(v.Segments, segment)
	}
	return v
}

func printWALReport(s *session, v walReportView, asJSON bool) error {
	if asJSON {
		return printJSON(s.out, v)
	}
	t := newTable("first", "next", "blocks", "bytes", "torn bytes", "state")
	for _, segment := range v.Segments {
		t.add(strconv.FormatUint(segment.First, 10), strconv.FormatUint(segment.Next, 10), strconv.FormatUint(segment.Blocks, 10),
			strconv.FormatUint(segment.Bytes, 10), strconv.FormatInt(segment.Torn, 10), segment.State)
	}
	if err := t.print(s.out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "\n%s records in %s blocks, ordinals %d to below %d, cumulative hash %s\n",
		grouped(v.Records), grouped(v.Blocks), v.First, v.Next, v.Chain)
	return err
}
