package kinesis

import (
	"context"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

// putInput is what PutRecord and PutRecords have in common.
type putInput struct {
	streamRef
	dryRun   bool
	ordering *string // PutRecord: SequenceNumberForOrdering
	entries  []putEntry
	given    bool // PutRecords: there is a list of records
}

// common reads a member that both operations have, or passes over one that neither has.
func (in *putInput) common(r codec.Reader, name []byte) {
	text := func() *string {
		t := string(r.Text())
		return &t
	}
	switch {
	case r.Kind() == codec.Null:
		r.Skip()
	case string(name) == "StreamName":
		in.StreamName = text()
	case string(name) == "StreamARN":
		in.StreamARN = text()
	case string(name) == "StreamId":
		in.StreamId = text()
	case string(name) == "SequenceNumberForOrdering":
		in.ordering = text()
	case string(name) == "DryRun":
		in.dryRun = r.Bool()
	default:
		r.Skip()
	}
}

// putRecordBodyMax leaves room for the largest record in base64, its key and hash key, and the names around them.
const putRecordBodyMax = recordBytesMax/3*4 + 64<<10

// putRecord writes one record.
func putRecord() operation {
	return operation{name: "PutRecord", bodyMax: putRecordBodyMax, run: func(ctx context.Context, s *Server, c *call) error {
		in := &putInput{}
		if err := readPutRecord(c.reader(), in); err != nil {
			return err
		}
		k, err := s.admitPut(ctx, c, in, "")
		if err != nil {
			return err
		}
		if err := s.checkOrdering(in); err != nil {
			return err
		}
		record, err := in.entries[0].record(k.spreads())
		if err != nil {
			return err
		}
		if in.dryRun {
			return errDryRun()
		}
		results, err := s.write(ctx, c, k, []client.Record{record})
		if err != nil {
			return err
		}
		if results[0].Err != nil {
			return s.putError(c.stream, results[0])
		}
		return c.reply(&putRecordOutput{ShardId: shardID(results[0].Shard), SequenceNumber: results[0].Sequence.String()})
	}}
}

// readPutRecord reads the body of PutRecord, whose members are those of its record and those that PutRecords has too.
func readPutRecord(r codec.Reader, in *putInput) error {
	in.entries = make([]putEntry, 1)
	for r.Open(codec.Object); r.More(); {
		if !in.entries[0].member(r, r.Name()) {
			in.common(r, r.Name())
		}
	}
	r.End()
	return r.Err()
}

type putRecordOutput struct {
	ShardId        string
	SequenceNumber string
}

// admitPut holds a request that writes against its constraints and returns what is known of its stream.
func (s *Server) admitPut(ctx context.Context, c *call, in *putInput, path string) (*known, error) {
	// Records are held against theirs first as if they needed keys, because that needs the stream; if it spreads them, they do not.
	found := s.rules.Validate(&in.streamRef)
	check := func(spread bool) error {
		all := found
		for i := range in.entries {
			at := path
			if path != "" {
				at = memberPath(path, i)
			}
			in.entries[i].check(at, spread, &all)
		}
		return violations(all)
	}
	name, err := in.locate(s)
	if err != nil {
		if wrong := check(true); wrong != nil {
			return nil, wrong
		}
		return nil, err
	}
	if wrong := violations(found); wrong != nil {
		return nil, wrong
	}
	c.stream = name
	if err := s.authorize(ctx, c.caller, c.op.name, name); err != nil {
		return nil, err
	}
	k, err := s.known(ctx, name)
	if err != nil {
		if wrong := check(true); wrong != nil {
			return nil, wrong
		}
		return nil, err
	}
	if err := check(k.spreads()); err != nil {
		return nil, err
	}
	for i := range in.entries {
		if err := k.checkSize(&in.entries[i]); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// spreads reports whether the stream's records go anywhere, whatever their keys.
func (k *known) spreads() bool { return k.distribution() == distributionAuto }

// checkOrdering refuses a SequenceNumberForOrdering that no record of the stream can have had. One that is sound asks for nothing more: sequence numbers
// of a key always increase.
func (s *Server) checkOrdering(in *putInput) error {
	if in.ordering == nil || *in.ordering == "0" { // "0": there was none before
		return nil
	}
	if n, err := client.ParseSequence(*in.ordering); err == nil && n.Millis() <= s.opts.Now().Add(clockSlack).UnixMilli() {
		return nil
	}
	return fail(codeInvalidArgument, "ExclusiveMinimumSequenceNumber %.129s used in PutRecord is invalid.", *in.ordering)
}
