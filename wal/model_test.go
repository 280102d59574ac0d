package wal

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/vfs"
)

// model is what the log should be: its blocks, those physically deleted left out.
type model struct {
	base   Position
	blocks []Block
}

func (m *model) pos() Position {
	if n := len(m.blocks); n > 0 {
		return endOf(m.blocks[n-1])
	}
	return m.base
}

func endOf(b Block) Position {
	return Position{Next: b.End(), Index: b.Index, Time: b.Time, Chain: b.Chain}
}

func (m *model) seek(ms int64) uint64 {
	for _, b := range m.blocks {
		if b.Time >= ms {
			return b.First
		}
	}
	return m.pos().Next
}

func (m *model) trimTo(first uint64) {
	for len(m.blocks) > 0 && m.blocks[0].End() <= first {
		m.base = endOf(m.blocks[0])
		m.blocks = m.blocks[1:]
	}
}

// walMachine runs random operations on a log and on the model.
type walMachine struct {
	m   model
	fs  *vfs.Mem
	w   *Writer
	o   Options
	log *Log
}

func (s *walMachine) append(t *rapid.T) {
	size := rapid.SampledFrom([]int{0, 10, 300, 5000, 20_000}).Draw(t, "size")
	b := testBlock(s.m.pos().Next, rapid.IntRange(1, 4).Draw(t, "count"), size)
	b.Time = s.m.pos().Time + rapid.Int64Range(0, 3).Draw(t, "later")
	b.Index = s.m.pos().Index + 1
	p := mustAppend(t, s.log, b)
	b.Chain = p.Chain
	s.m.blocks = append(s.m.blocks, b)
	if p != s.m.pos() || s.log.Position() != p {
		t.Fatalf("position %+v, want %+v", p, s.m.pos())
	}
}

func (s *walMachine) flush(t *rapid.T) {
	upTo := rapid.Uint64Range(0, s.m.pos().Next).Draw(t, "upTo")
	if err := s.log.Flush(context.Background(), upTo); err != nil {
		t.Fatalf("Flush: %v", err)
	}
	if s.log.Durable().Next < upTo {
		t.Fatalf("durable %d after Flush(%d)", s.log.Durable().Next, upTo)
	}
}

func (s *walMachine) read(t *rapid.T) {
	if len(s.m.blocks) == 0 {
		return
	}
	from := rapid.Uint64Range(s.m.blocks[0].First, s.m.pos().Next).Draw(t, "from")
	got := readAll(t, s.log, from, rapid.SampledFrom([]int{0, 1000, 30_000, 1 << 20}).Draw(t, "maxBytes"))
	var want []Block
	for _, b := range s.m.blocks {
		if b.End() > from {
			want = append(want, b)
		}
	}
	compareBlocks(t, got, want)
}

func compareBlocks(t fatalf, got, want []Block) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d blocks, want %d", len(got), len(want))
	}
	for i := range got {
		if !sameBlock(got[i], want[i]) {
			t.Fatalf("block %d differs: [%d, %d), want [%d, %d)", i, got[i].First, got[i].End(), want[i].First, want[i].End())
		}
	}
}

func (s *walMachine) seek(t *rapid.T) {
	ms := rapid.Int64Range(s.m.base.Time-1, s.m.pos().Time+2).Draw(t, "ms")
	got, err := s.log.SeekTime(ms)
	if err != nil || got != s.m.seek(ms) {
		t.Fatalf("SeekTime(%d) = %d, %v, want %d", ms, got, err, s.m.seek(ms))
	}
}

func (s *walMachine) truncate(t *rapid.T) {
	n := rapid.IntRange(0, len(s.m.blocks)).Draw(t, "keep")
	p := s.m.base
	if n > 0 {
		p = endOf(s.m.blocks[n-1])
	}
	wrong := p
	wrong.Chain[0] ^= 1
	if err := s.log.TruncateTo(wrong); !errors.Is(err, ErrDiverged) {
		t.Fatalf("TruncateTo with a wrong chain: %v", err)
	}
	if err := s.log.TruncateTo(p); err != nil {
		t.Fatalf("TruncateTo(%d): %v", p.Next, err)
	}
	s.m.blocks = s.m.blocks[:n:n]
	if s.log.Position() != p {
		t.Fatalf("position %+v, want %+v", s.log.Position(), p)
	}
	p.Next++
	if err := s.log.TruncateTo(p); !errors.Is(err, ErrShort) {
		t.Fatalf("TruncateTo above the end: %v", err)
	}
}

func (s *walMachine) delete(t *rapid.T) {
	before := rapid.Uint64Range(0, s.m.pos().Next+1).Draw(t, "before")
	was := s.log.First()
	if err := s.log.DeleteBefore(before); err != nil {
		t.Fatalf("DeleteBefore: %v", err)
	}
	first := s.log.First()
	if first < was || first > max(before, was) {
		t.Fatalf("first %d after DeleteBefore(%d), was %d", first, before, was)
	}
	if segs := s.log.Segments(); len(segs) > 1 && segs[0].Next <= before {
		t.Fatalf("segment [%d, %d) is there after DeleteBefore(%d)", segs[0].First, segs[0].Next, before)
	}
	s.m.trimTo(first)
	var trimmed *TrimmedError
	if first > 0 {
		if _, err := s.log.Read(first-1, 1); !errors.As(err, &trimmed) || trimmed.First != first {
			t.Fatalf("Read below the first: %v", err)
		}
	}
}

func (s *walMachine) reset(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "dice") > 0 {
		return
	}
	p := Position{Next: rapid.Uint64Range(0, 50).Draw(t, "next"), Index: 9, Time: 5, Chain: Chain{1}}
	if err := s.log.Reset(p); err != nil {
		t.Fatalf("Reset: %v", err)
	}
	s.m = model{base: p}
}

func (s *walMachine) reopen(t *rapid.T) {
	if rapid.Bool().Draw(t, "abandon") {
		mustFlush(t, s.log)
		if err := s.log.Abandon(); err != nil {
			t.Fatalf("Abandon: %v", err)
		}
	} else {
		mustClose(t, s.log)
	}
	if _, err := s.log.Read(0, 1); !errors.Is(err, ErrClosed) {
		t.Fatalf("Read after Close: %v", err)
	}
	s.log = mustOpen(t, s.fs, s.o)
}

func (s *walMachine) check(t *rapid.T) {
	if p := s.log.Position(); p != s.m.pos() {
		t.Fatalf("position %+v, want %+v", p, s.m.pos())
	}
	if first := s.log.First(); first != s.m.base.Next {
		t.Fatalf("first %d, want %d", first, s.m.base.Next)
	}
	oldest, ok := s.log.OldestTime()
	if ok != (len(s.m.blocks) > 0) || (ok && oldest != s.m.blocks[0].Time) {
		t.Fatalf("oldest time %d, %v", oldest, ok)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &walMachine{fs: vfs.NewMem(1)}
		s.fs.SetDirect(rapid.Bool().Draw(t, "direct"))
		s.w = NewWriter(WriterOptions{
			FlushInterval: time.Hour, BlockBytes: rapid.SampledFrom([]int{1, 10_000, 1 << 20}).Draw(t, "blockBytes"),
			CacheBytes:   rapid.SampledFrom([]int64{-1, 20_000, 1 << 20}).Draw(t, "cacheBytes"),
			OpenFilesMax: rapid.IntRange(1, 3).Draw(t, "openFiles"),
		})
		defer s.w.Close()
		s.o = testOptions(s.w, rapid.SampledFrom([]int64{16 << 10, 64 << 10, 1 << 20}).Draw(t, "segmentBytes"))
		s.log = mustOpen(t, s.fs, s.o)
		defer func() { s.log.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": s.append, "append2": s.append, "append3": s.append, "flush": s.flush, "read": s.read,
			"seek": s.seek, "truncate": s.truncate, "delete": s.delete, "reset": s.reset, "reopen": s.reopen, "": s.check,
		})
		mustClose(t, s.log)
		report, err := Verify(s.fs, "log")
		if err != nil {
			t.Fatalf("Verify: %v", err)
		}
		if len(report.Segments) > 0 && (report.End != s.m.pos() || report.First != s.m.base.Next) {
			t.Fatalf("Verify says [%d, %+v], want [%d, %+v]", report.First, report.End, s.m.base.Next, s.m.pos())
		}
		if st := s.w.Stats(); st.DirtyBytes != 0 || st.OpenWrites != 0 || st.OpenFiles != 0 || st.CachedBytes != 0 {
			t.Fatalf("left after Close: %+v", st)
		}
	})
}
