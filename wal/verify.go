package wal

import (
	"errors"
	"fmt"
	"path"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal/record"
)

// SegmentReport is what Verify found in one segment.
type SegmentReport struct {
	SegmentInfo
	Group   uint64
	Shard   uint32
	Start   Position
	End     Position
	Blocks  uint64
	Payload uint64 // bytes
	Durable int64  // bytes that a later write in the segment declared durable; all if it is sealed
	Torn    int64  // bytes behind the last good block that Open would cut
	Problem error  // a *CorruptError or a read error; nil if the segment is good
}

// Report is what Verify found in a log.
type Report struct {
	Segments []SegmentReport
	First    uint64
	End      Position
	Blocks   uint64
	Records  uint64
	Payload  uint64 // bytes
}

// Verify reads a log that no process has open and checks every byte: checksums,
// order, cumulative hashes, footers, indexes, and the record batches in
// the payloads. It changes nothing. The error joins the problems of all segments;
// the report is complete nevertheless. A torn tail is no problem.
func Verify(fsys vfs.FS, dir string) (Report, error) {
	firsts, err := listSegments(fsys, dir)
	if err != nil {
		return Report{}, err
	}
	var r Report
	var problems []error
	for i, first := range firsts {
		s := verifySegment(fsys, dir, first, i == len(firsts)-1)
		if i == 0 {
			r.First = first
		} else if before := r.Segments[i-1]; s.Problem == nil && before.Problem == nil && before.End != s.Start {
			s.Problem = corrupt(s.Path, 0, "the segment begins at ordinal %d, the one before ends at %d", s.Start.Next, before.End.Next)
		}
		if s.Problem != nil {
			problems = append(problems, s.Problem)
		}
		r.Segments = append(r.Segments, s)
		r.Blocks += s.Blocks
		r.Payload += s.Payload
		r.Records += s.End.Next - s.Start.Next
		r.End = s.End
	}
	return r, errors.Join(problems...)
}

func verifySegment(fsys vfs.FS, dir string, first uint64, last bool) SegmentReport {
	r := SegmentReport{SegmentInfo: SegmentInfo{Path: path.Join(dir, segmentName(first)), First: first, Next: first}}
	r.Start.Next, r.End.Next = first, first
	f, err := fsys.Open(r.Path)
	if err != nil {
		r.Problem = err
		return r
	}
	v := verifier{f: f, last: last, r: &r}
	r.Problem = errors.Join(v.run(), f.Close())
	return r
}

// verifier checks one segment into r.
type verifier struct {
	f     vfs.File
	id    segmentID
	last  bool
	r     *SegmentReport
	index []indexEntry
}

func (v *verifier) run() error {
	r := v.r
	h, err := readHeader(v.f, r.Path, r.First)
	if err != nil {
		return err
	}
	v.id = h.id()
	r.Group, r.Shard, r.Start, r.End = h.group, h.shard, h.start, h.start
	r.LastTime = h.start.Time
	if r.Bytes, err = v.f.Size(); err != nil {
		return err
	}
	ft, _, footErr := readFooter(v.f, r.Path, v.id)
	if footErr == nil && v.last { // as Open does: it would cut a torn footer and scan
		_, footErr = readIndex(v.f, r.Path, v.id, ft)
	}
	if isReadError(footErr) || (footErr != nil && !v.last) {
		return footErr
	}
	r.Sealed = footErr == nil
	limit := r.Bytes
	if r.Sealed {
		limit = ft.dataEnd
	}
	res, pos, err := scanSegment(v.f, v.id, h.start, limit, v.block)
	r.End, r.Next, r.LastTime = pos, pos.Next, pos.Time
	if err != nil {
		return err
	}
	if r.Sealed {
		r.Durable = r.Bytes
		return v.checkFooter(ft, res, pos)
	}
	promise, zero, err := afterEnd(v.f, &v.id, pageCeil(res.end), r.Bytes)
	if err != nil {
		return err
	}
	r.Durable = max(res.promise, promise)
	if promise > res.end {
		return corrupt(r.Path, res.end, "%v, below byte %d that was durable", res.bad, promise)
	}
	if !zero || !res.onPage {
		r.Torn = r.Bytes - res.end
	}
	return nil
}

// block checks what the scan does not: that the payload is whole batches with as many records.
func (v *verifier) block(off int64, h *blockHeader, payload []byte) error {
	r := v.r
	if r.Blocks == 0 {
		r.FirstTime = h.time
	}
	v.index = appendIndex(v.index, h, off)
	r.Blocks++
	r.Payload += uint64(h.length)
	var count uint64
	for rest := payload; len(rest) > 0; {
		b, after, err := record.Parse(rest)
		if err != nil {
			at := off + BlockHeaderSize + int64(len(payload)-len(rest))
			return fmt.Errorf("%w: %w", corrupt(r.Path, at, "record batch"), err)
		}
		count += uint64(b.Count())
		rest = after
	}
	if count != uint64(h.count) {
		return corrupt(r.Path, off, "the block says %d records, its batches have %d", h.count, count)
	}
	return nil
}

func (v *verifier) checkFooter(ft footer, res scanResult, pos Position) error {
	path := v.r.Path
	switch {
	case res.bad != nil:
		return corrupt(path, res.end, "%v", res.bad)
	case ft.end != pos:
		return corrupt(path, ft.dataEnd, "the footer ends at ordinal %d, the blocks at %d", ft.end.Next, pos.Next)
	case ft.firstTime != v.r.FirstTime:
		return corrupt(path, ft.dataEnd, "the footer has time %d for the first block, which has %d", ft.firstTime, v.r.FirstTime)
	}
	index, err := readIndex(v.f, path, v.id, ft)
	if err != nil {
		return err
	}
	if len(index) != len(v.index) {
		return corrupt(path, ft.dataEnd, "the index has %d entries, expected %d", len(index), len(v.index))
	}
	for i := range index {
		if index[i] != v.index[i] {
			return corrupt(path, ft.dataEnd+int64(i)*indexEntrySize, "index entry %d does not match its block", i)
		}
	}
	return nil
}
