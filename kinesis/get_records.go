package kinesis

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

type getRecordsInput struct {
	ShardIterator *string `is:"required;len=1:512"`
	Limit         *int64  `is:"range=1:10000"`
	StreamARN     *string `is:"len=1:2048;match=streamARN"`
	StreamId      *string `is:"len=1:24"`
	DryRun        *bool
}

// locate finds the stream that the iterator belongs to.
func (in *getRecordsInput) locate(s *Server) (string, error) {
	it, err := parseIterator(*in.ShardIterator)
	if err != nil {
		return "", err
	}
	if in.StreamARN != nil {
		if name, err := s.resolve(&streamRef{StreamARN: in.StreamARN}); err != nil || name != it.stream {
			return "", fail(codeInvalidArgument, "The StreamARN %s is not that of the ShardIterator's stream.", *in.StreamARN)
		}
	}
	return it.stream, nil
}

const (
	getRecordsMax = 10_000
	// pageBytes bounds what one call reads of the shard's log.
	pageBytes = 4 << 20
	// waitHeader lets a call wait so many ms for a first record, up to waitMax: so a reader needs few calls and waits for nothing.
	waitHeader = "X-Levada-Wait-Ms"
	waitMax    = 20 * time.Second
)

// getRecords returns the records from an iterator on, and the iterator with which to go on.
func getRecords() operation {
	return operation{name: "GetRecords", bodyMax: controlBodyMax, run: func(ctx context.Context, s *Server, c *call) error {
		in := &getRecordsInput{}
		if err := codec.Decode(c.reader(), in); err != nil {
			return err
		}
		if err := s.admit(ctx, c, in); err != nil {
			return err
		}
		it, err := parseIterator(*in.ShardIterator)
		if err != nil {
			return err
		}
		now := s.opts.Now()
		if err := it.checkAge(now); err != nil {
			return err
		}
		k, err := s.known(ctx, it.stream)
		if err != nil {
			return err
		}
		if k.stream.GetId() != it.streamID {
			return fail(codeResourceNotFound, "Shard %s in stream %s under account %s does not exist", shardID(it.shard), it.stream, s.opts.Account)
		}
		wait, err := waitOf(c.r.Header.Get(waitHeader))
		if err != nil {
			return err
		}
		if in.DryRun != nil && *in.DryRun {
			return errDryRun()
		}
		if err := s.admitRead(ctx, k, it.shard); err != nil {
			return err
		}
		limit := getRecordsMax
		if in.Limit != nil {
			limit = int(*in.Limit)
		}
		waiting := ctx
		if wait > 0 {
			var cancel context.CancelFunc
			waiting, cancel = context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(s.closing, cancel)()
		}
		page, err := s.cluster.GetRecords(waiting, it.stream, it.shard, client.AtOrdinal(it.ordinal), client.PageOptions{MaxBytes: pageBytes, Wait: wait})
		switch {
		case err != nil && waiting.Err() != nil && ctx.Err() == nil:
			return closing()
		case err != nil:
			return s.readError(ctx, it.stream, it.shard, err)
		}
		return s.answerRecords(ctx, c, k, it, page, limit)
	}}
}

// waitOf reads how long a call is to wait.
func waitOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	ms, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fail(codeInvalidArgument, "The header %s must be a number of milliseconds, not %.20q.", waitHeader, text)
	}
	return min(time.Duration(ms)*time.Millisecond, waitMax), nil
}

// answerRecords writes a page of up to limit records.
func (s *Server) answerRecords(ctx context.Context, c *call, k *known, it iterator, page *client.Page, limit int) error {
	records, next, behind := cut(page, limit, putBytesMax, s.opts.Now())
	s.chargeRead(ctx, k, it.shard, records)
	ended := page.Ended && len(records) == len(page.Records)
	size := 256
	for i := range records {
		size += len(records[i].Data)*4/3 + len(records[i].PartitionKey) + 160
	}
	held := min(int64(size), s.opts.AnswerBytesMax)
	if err := acquire(ctx, s.answers, held); err != nil {
		return err
	}
	defer s.answers.Release(held) // it has been sent
	w := c.format.writer(make([]byte, 0, size))
	if ended {
		children, err := s.children(ctx, it.stream, page.Children)
		if err != nil {
			return err
		}
		writePage(w, records, behind, "", children)
	} else {
		it.ordinal, it.issued = next, s.opts.Now()
		writePage(w, records, behind, it.String(), nil)
	}
	c.send(http.StatusOK, w.Bytes())
	return nil
}

// writePage writes an answer: with the iterator to go on with or, if that is "", with the shards that take over.
func writePage(w codec.Writer, records []client.Record, behind int64, next string, children []childShard) {
	w.Begin(codec.Object)
	if next == "" {
		w.Name("ChildShards")
		writeChildren(w, children)
	}
	w.Name("MillisBehindLatest")
	w.Int(behind)
	if next != "" {
		w.Name("NextShardIterator")
		w.Text(next)
	}
	w.Name("Records")
	writeRecords(w, records)
	w.End(codec.Object)
}

// cut returns as many records of a page as an answer may have, the ordinal of the one after them, and how far behind the tail that is.
// One record always passes.
func cut(page *client.Page, limit, bytesMax int, now time.Time) (records []client.Record, next uint64, behind int64) {
	bytes := 0
	for i := range page.Records {
		bytes += len(page.Records[i].Data) + len(page.Records[i].PartitionKey)
		if i == limit || i > 0 && bytes > bytesMax {
			return page.Records[:i], page.Records[i].Ordinal, max(0, now.Sub(page.Records[i].ApproxArrival).Milliseconds())
		}
	}
	return page.Records, page.Next, page.MillisBehind
}

// writeRecords writes a list of records.
func writeRecords(w codec.Writer, records []client.Record) {
	w.Begin(codec.Array)
	for i := range records {
		r := &records[i]
		w.Begin(codec.Object)
		w.Name("ApproximateArrivalTimestamp")
		w.Time(r.ApproxArrival.UnixMilli())
		w.Name("Data")
		w.Blob(r.Data)
		if r.PartitionKey != "" { // else the stream spreads its records
			w.Name("PartitionKey")
			w.Text(r.PartitionKey)
		}
		w.Name("SequenceNumber")
		w.Text(r.Sequence.String())
		w.End(codec.Object)
	}
	w.End(codec.Array)
}

func writeChildren(w codec.Writer, children []childShard) {
	w.Begin(codec.Array)
	for i := range children {
		codec.Encode(w, &children[i])
	}
	w.End(codec.Array)
}
