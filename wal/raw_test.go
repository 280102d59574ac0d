package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/vfs"
)

func TestRawRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := NewWriter(WriterOptions{CacheBytes: rapid.SampledFrom([]int64{-1, 1 << 20}).Draw(t, "cache")})
		defer w.Close()
		o := testOptions(w, 64<<10)
		from, to := mustOpen(t, vfs.NewMem(1), o), mustOpen(t, vfs.NewMem(2), o)
		defer from.Close()
		defer to.Close()
		n := rapid.IntRange(1, 30).Draw(t, "blocks")
		ps := fill(t, from, n, rapid.IntRange(1, 3).Draw(t, "count"), rapid.SampledFrom([]int{1, 5000, 20_000}).Draw(t, "size"))
		if rapid.Bool().Draw(t, "flush") {
			mustFlush(t, from)
		}
		end := ps[rapid.IntRange(0, n-1).Draw(t, "end")]
		limit := rapid.SampledFrom([]int{1, 10_000, 1 << 20}).Draw(t, "limit")
		for to.Position().Next < end.Next {
			raw, next, err := from.ReadRaw(to.Position().Next, end.Next, limit)
			if err != nil || len(raw) == 0 {
				t.Fatalf("ReadRaw(%d): %d bytes, %v", to.Position().Next, len(raw), err)
			}
			p, err := to.AppendRaw(raw)
			if err != nil || p.Next != next {
				t.Fatalf("AppendRaw ends at %d, want %d: %v", p.Next, next, err)
			}
		}
		if to.Position() != end {
			t.Fatalf("the copy ends at %+v, want %+v", to.Position(), end)
		}
		if raw, next, err := from.ReadRaw(end.Next, end.Next, limit); raw != nil || next != end.Next || err != nil {
			t.Fatalf("ReadRaw of nothing: %d bytes, next %d, %v", len(raw), next, err)
		}
		want := readAll(t, from, 0, 1<<20)
		got := readAll(t, to, 0, 1<<20)
		compareBlocks(t, got, want[:len(got)])
	})
}

func TestAppendRawRefusesTamperedBytes(t *testing.T) {
	w := newTestWriter(t)
	from, to := mustOpen(t, vfs.NewMem(1), testOptions(w, 1<<20)), mustOpen(t, vfs.NewMem(2), testOptions(w, 1<<20))
	defer from.Close()
	defer to.Close()
	fill(t, from, 3, 1, 20)
	raw, _, err := from.ReadRaw(0, 3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 {
		bad := bytes.Clone(raw)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := to.AppendRaw(bad); err == nil {
			t.Fatalf("bit %d changed and accepted", i)
		}
	}
	for n := 1; n < len(raw); n++ {
		size := len(raw) / 3
		if _, err := to.AppendRaw(raw[:n]); n%size != 0 && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		} else if err == nil {
			_ = to.TruncateTo(Position{})
		}
	}
	// A header that is consistent in itself but not with the history before it.
	bad := bytes.Clone(raw)
	binary.LittleEndian.PutUint64(bad[32:], 1)
	binary.LittleEndian.PutUint32(bad[4:], crc32.Checksum(bad[8:64], castagnoli))
	if _, err := to.AppendRaw(bad); !errors.Is(err, ErrDiverged) {
		t.Fatalf("other history: %v", err)
	}
	if to.Position() != (Position{}) {
		t.Fatalf("refused blocks are in the log: %+v", to.Position())
	}
	if _, err := to.AppendRaw(raw[len(raw)/3:]); !errors.Is(err, ErrOrder) {
		t.Fatalf("gap: %v", err)
	}
}

func TestAppendRefusesDisorder(t *testing.T) {
	l := mustOpen(t, vfs.NewMem(1), testOptions(newTestWriter(t), 1<<20))
	defer l.Close()
	fill(t, l, 2, 2, 10)
	for name, edit := range map[string]func(*Block){
		"gap":           func(b *Block) { b.First++ },
		"again":         func(b *Block) { b.First-- },
		"time back":     func(b *Block) { b.Time = 1 },
		"index back":    func(b *Block) { b.Index = 1 },
		"no records":    func(b *Block) { b.Count = 0 },
		"no payload":    func(b *Block) { b.Payload = nil },
		"empty payload": func(b *Block) { b.Payload = [][]byte{{}} },
	} {
		b := testBlock(4, 1, 10)
		edit(&b)
		if _, err := l.Append(b); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.Position().Next != 4 {
		t.Fatalf("position %+v", l.Position())
	}
}
