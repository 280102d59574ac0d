package wal

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal/record"
)

// DumpOptions choose what Dump prints besides segments.
type DumpOptions struct {
	Blocks  bool   // one line per block
	Batches bool   // one line per record batch
	Records bool   // one line per record, with key and data quoted
	From    uint64 // blocks and batches that end at or below this ordinal and records below it are left out
}

// Dump prints a log that no process has open, for people. It checks what Verify
// checks, stops at the first bytes that are wrong and returns an error that says where.
func Dump(w io.Writer, fsys vfs.FS, dir string, o DumpOptions) error {
	firsts, err := listSegments(fsys, dir)
	if err != nil {
		return err
	}
	d := dumper{w: w, o: o}
	for i, first := range firsts {
		r := newSegmentReport(dir, first)
		if err := d.segment(fsys, &r, i == len(firsts)-1); err != nil {
			return err
		}
		d.before = &r
	}
	return d.err
}

// dumper prints; it remembers the first failed write.
type dumper struct {
	w      io.Writer
	o      DumpOptions
	before *SegmentReport // nil at the first segment
	err    error
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

func (d *dumper) segment(fsys vfs.FS, r *SegmentReport, last bool) (err error) {
	f, err := fsys.Open(r.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	v := verifier{f: f, last: last, r: r, each: d.block}
	if err := v.open(); err != nil {
		return err
	}
	if d.before != nil {
		if err := r.follow(d.before.End); err != nil {
			return err
		}
	}
	if r.stillborn {
		d.printf("segment %s without header torn %d\n", path.Base(r.Path), r.TornBytes)
		return d.err
	}
	state := "open"
	if r.Sealed {
		state = "sealed"
	}
	h := &v.header
	d.printf("segment %s group %d shard %d first %d time %d chain %x %s\n",
		path.Base(r.Path), h.group, h.shard, h.start.Next, h.start.Time, h.start.Chain, state)
	if err := v.scan(); err != nil {
		return err
	}
	d.printf("end     next %d index %d time %d chain %x bytes %d durable %d",
		r.End.Next, r.End.Index, r.End.Time, r.End.Chain, v.res.end, v.res.promise)
	if r.Torn {
		d.printf(" torn %d", r.TornBytes)
	}
	d.printf("\n")
	return d.err
}

func (d *dumper) block(off int64, h *blockHeader, payload []byte) error {
	if h.end() <= d.o.From {
		return nil
	}
	if d.o.Blocks {
		d.printf("block   %d first %d count %d time %d index %d bytes %d crc %08x chain %x\n",
			off, h.first, h.count, h.time, h.index, h.length, h.crc, h.chain)
	}
	if !d.o.Batches && !d.o.Records {
		return d.err
	}
	ordinal := h.first
	for rest := payload; len(rest) > 0; {
		b, after, err := record.Parse(rest)
		if err != nil {
			return err
		}
		end := ordinal + uint64(b.Count())
		if d.o.Batches && end > d.o.From {
			d.printf("batch   first %d count %d bytes %d producer %s sequence %d pinned %t\n",
				ordinal, b.Count(), b.Len(), b.Producer(), b.FirstSequence(), b.Pinned())
		}
		for i, r := range b.Records() {
			if at := ordinal + uint64(i); d.o.Records && at >= d.o.From {
				d.printf("record  %d hash %s key %q data %q\n", at, r.HashKey(), r.Key, r.Data)
			}
		}
		ordinal = end
		rest = after
	}
	return d.err
}
