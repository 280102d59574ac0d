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
	From    uint64 // blocks that end at or below this ordinal are left out
}

// Dump prints a log that no process has open, for people. It stops at the
// first bytes that are wrong and returns an error that says where.
func Dump(w io.Writer, fsys vfs.FS, dir string, o DumpOptions) error {
	firsts, err := listSegments(fsys, dir)
	if err != nil {
		return err
	}
	d := dumper{w: w, o: o}
	for i, first := range firsts {
		if err := d.segment(fsys, path.Join(dir, segmentName(first)), first, i == len(firsts)-1); err != nil {
			return err
		}
	}
	return d.err
}

// dumper prints; it remembers the first failed write.
type dumper struct {
	w   io.Writer
	o   DumpOptions
	err error
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

func (d *dumper) segment(fsys vfs.FS, name string, first uint64, last bool) (err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h, err := readHeader(f, name, first)
	if err != nil {
		return err
	}
	limit, err := f.Size()
	if err != nil {
		return err
	}
	state := "open"
	ft, _, footErr := readFooter(f, name, h.id())
	if footErr == nil {
		limit, state = ft.dataEnd, "sealed"
	}
	d.printf("segment %s group %d shard %d first %d time %d chain %x %s\n",
		path.Base(name), h.group, h.shard, h.start.Next, h.start.Time, h.start.Chain, state)
	res, pos, err := scanSegment(f, h.id(), h.start, limit, d.block)
	if err != nil {
		return err
	}
	if res.bad != nil && (!last || footErr == nil) {
		return corrupt(name, res.end, "%v", res.bad)
	}
	d.printf("end     next %d index %d time %d chain %x bytes %d durable %d\n",
		pos.Next, pos.Index, pos.Time, pos.Chain, res.end, res.promise)
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
		if d.o.Batches {
			d.printf("batch   first %d count %d bytes %d producer %s sequence %d pinned %t\n",
				ordinal, b.Count(), b.Len(), b.Producer(), b.FirstSequence(), b.Pinned())
		}
		for i, r := range b.Records() {
			if d.o.Records {
				d.printf("record  %d hash %s key %q data %q\n", ordinal+uint64(i), r.HashKey(), r.Key, r.Data)
			}
		}
		ordinal += uint64(b.Count())
		rest = after
	}
	return d.err
}
