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
	Group     uint64
	Shard     uint32
	Start     Position
	End       Position
	Blocks    uint64
	Payload   uint64 // bytes
	Durable   int64  // bytes that a later write in the segment declared durable; all if it is sealed
	Torn      bool   // a crash left a write, or the whole segment, unfinished: harmless, Open cuts it
	TornBytes int64  // what is left of it; it may be nothing
	Problem   error  // a *CorruptError or a read error; nil if the segment is good or torn

	stillborn bool // without header, and Open removes it
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
		} else if before := r.Segments[i-1]; s.Problem == nil && before.Problem == nil {
			s.Problem = s.follow(before.End)
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

// follow checks that the segment continues a log that ends at end.
func (r *SegmentReport) follow(end Position) error {
	if r.stillborn && r.First == end.Next {
		r.Start, r.End = end, end
		return nil
	}
	return checkJoin(r.Path, end, r.Start)
}

func newSegmentReport(dir string, first uint64) SegmentReport {
	r := SegmentReport{SegmentInfo: SegmentInfo{Path: path.Join(dir, segmentName(first)), First: first, Next: first}}
	r.Start.Next, r.End.Next = first, first
	return r
}

func verifySegment(fsys vfs.FS, dir string, first uint64, last bool) SegmentReport {
	r := newSegmentReport(dir, first)
	f, err := fsys.Open(r.Path)
	if err != nil {
		r.Problem = err
		return r
	}
	v := verifier{f: f, last: last, r: &r}
	if err = v.open(); err == nil {
		err = v.scan()
	}
	r.Problem = errors.Join(err, f.Close())
	return r
}

// verifier checks one segment into r.
type verifier struct {
	f      vfs.File
	last   bool
	each   visitor // sees every good block, nil for none
	r      *SegmentReport
	header segmentHeader
	footer footer // if r.Sealed
	index  []indexEntry
	res    scanResult
}

// open reads header and footer.
func (v *verifier) open() (err error) {
	r := v.r
	if r.Bytes, err = v.f.Size(); err != nil {
		return &readError{err}
	}
	if v.header, err = readHeader(v.f, r.Path, r.First); err != nil {
		if !v.last || !errors.Is(err, ErrCorrupt) {
			return err
		}
		unborn, readErr := stillborn(v.f, r.Bytes)
		switch {
		case readErr != nil:
			return readErr
		case !unborn:
			return err
		}
		r.stillborn, r.Torn, r.TornBytes = true, true, r.Bytes
		return nil
	}
	h := &v.header
	r.Group, r.Shard, r.Start, r.End = h.group, h.shard, h.start, h.start
	r.LastTime = h.start.Time
	ft, _, footErr := readFooter(v.f, r.Path, h.id())
	if footErr == nil && v.last { // as Open does: it would cut a torn footer and scan
		_, footErr = readIndex(v.f, r.Path, h.id(), ft)
	}
	if isReadError(footErr) || (footErr != nil && !v.last) {
		return footErr
	}
	v.footer, r.Sealed = ft, footErr == nil
	return nil
}

// scan checks everything between header and footer, and both against it.
func (v *verifier) scan() error {
	r := v.r
	switch {
	case r.stillborn:
		return nil
	case !r.Sealed:
		t, err := scanTail(v.f, r.Path, &v.header, r.Bytes, v.block)
		v.ended(t.scanResult, t.pos)
		r.Durable, r.Torn, r.TornBytes = t.durable, t.torn, t.tornBytes
		return err
	}
	res, pos, err := scanSegment(v.f, v.header.id(), v.header.start, v.footer.dataEnd, v.block)
	v.ended(res, pos)
	if err != nil {
		return err
	}
	r.Durable = r.Bytes
	return v.checkFooter(v.footer, res, pos)
}

func (v *verifier) ended(res scanResult, pos Position) {
	v.res = res
	v.r.End, v.r.Next, v.r.LastTime = pos, pos.Next, pos.Time
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
	if v.each != nil {
		return v.each(off, h, payload)
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
	index, err := readIndex(v.f, path, v.header.id(), ft)
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
