package kinesis

import (
	"context"
	"strconv"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

const (
	putRecordsMax = 500
	// putBytesMax is what the data and keys of one call may be together.
	putBytesMax = 10 << 20
	// putRecordsBodyMax leaves room for that in base64, and for hash keys and names.
	putRecordsBodyMax = putBytesMax/3*4 + 512<<10
)

// putRecords writes records. Those of one shard are stored in the order in which they stand in the call.
func putRecords() operation {
	return operation{name: "PutRecords", bodyMax: putRecordsBodyMax, run: func(ctx context.Context, s *Server, c *call) error {
		in := &putInput{}
		if err := readPutRecords(c.reader(), in); err != nil {
			return err
		}
		if err := checkPutRecords(in); err != nil {
			return err
		}
		k, err := s.admitPut(ctx, c, in, "records.")
		if err != nil {
			return err
		}
		records := make([]client.Record, len(in.entries))
		for i := range in.entries {
			if records[i], err = in.entries[i].record(k.spreads()); err != nil {
				return err
			}
		}
		if in.dryRun {
			return errDryRun()
		}
		results, err := s.write(ctx, c, k, records)
		if err != nil {
			return err
		}
		return s.answerPut(c, results)
	}}
}

// readPutRecords reads the body of PutRecords.
func readPutRecords(r codec.Reader, in *putInput) error {
	for r.Open(codec.Object); r.More(); {
		if string(r.Name()) != "Records" || r.Kind() == codec.Null {
			in.common(r, r.Name())
			continue
		}
		in.given, in.entries = true, make([]putEntry, 0, 64)
		for r.Open(codec.Array); r.More(); {
			if len(in.entries) > putRecordsMax {
				r.Skip() // one too many is kept to be refused
				continue
			}
			in.entries = append(in.entries, putEntry{})
			if r.Kind() == codec.Null {
				r.Skip()
				continue
			}
			e := &in.entries[len(in.entries)-1]
			for r.Open(codec.Object); r.More(); {
				if !e.member(r, r.Name()) {
					r.Skip()
				}
			}
		}
	}
	r.End()
	return r.Err()
}

// checkPutRecords holds the list of records against its own constraints.
func checkPutRecords(in *putInput) error {
	wrong := func(value, must string) error {
		return violations([]string{"Value " + value + " at 'records' failed to satisfy constraint: Member must " + must})
	}
	switch {
	case !in.given:
		return wrong("null", "not be null")
	case len(in.entries) == 0:
		return wrong("'[]'", "have length greater than or equal to 1")
	case len(in.entries) > putRecordsMax:
		return wrong("'[more than 500 elements]'", "have length less than or equal to "+strconv.Itoa(putRecordsMax))
	}
	total := 0
	for i := range in.entries {
		total += len(in.entries[i].data) + len(in.entries[i].key)
	}
	if total > putBytesMax {
		return fail(codeInvalidArgument, "Records size exceeds %d bytes: they have %d with their partition keys.", putBytesMax, total)
	}
	return nil
}

// memberPath is where the i-th record of a list stands, with the name of a member to follow.
func memberPath(path string, i int) string { return path + strconv.Itoa(i+1) + ".member." }

// answerPut writes the results of PutRecords, each in the place of its record.
func (s *Server) answerPut(c *call, results []client.Result) error {
	failed := 0
	for _, r := range results {
		if r.Err != nil {
			failed++
		}
	}
	if failed == len(results) {
		// Nothing was written: what went wrong for all of them is the request's own error, as for a stream that is gone.
		if e := s.putError(c.stream, results[0]); e.code == codeResourceNotFound || e.code == codeInvalidArgument {
			return e
		}
	}
	const perRecord = 104 // of an answer in JSON
	w := c.format.writer(make([]byte, 0, 64+perRecord*len(results)))
	w.Begin(codec.Object)
	w.Name("FailedRecordCount")
	w.Int(int64(failed))
	w.Name("Records")
	w.Begin(codec.Array)
	for _, r := range results {
		w.Begin(codec.Object)
		if r.Err == nil {
			w.Name("SequenceNumber")
			w.Text(r.Sequence.String())
			w.Name("ShardId")
			w.Text(shardID(r.Shard))
		} else {
			e := s.putError(c.stream, r)
			if e.code != codeThroughput {
				e = internalFailure("Internal Service Failure")
			}
			w.Name("ErrorCode")
			w.Text(e.code)
			w.Name("ErrorMessage")
			w.Text(e.message)
		}
		w.End(codec.Object)
	}
	w.End(codec.Array)
	w.End(codec.Object)
	c.send(200, w.Bytes())
	return nil
}
