package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// appendRoundTo appends the bytes of a finished round.
func appendRoundTo(b []byte, chunks [][]byte) []byte {
	for _, c := range chunks {
		b = append(b, c...)
	}
	return b
}

// goldenRound has one record of each kind.
func goldenRound(gather bool) []byte {
	var e roundEncoder
	e.start(64<<10, gather)
	e.control(kindPrefix, 3, 12, 0, 0)
	e.entry(kindEntry, 7, &Entry{
		Index: 5, Term: 2, Type: 1, AppendedAt: 1_700_000_000_000_000_000,
		Data: []byte("data"), Extensions: []byte("ext"),
	})
	e.control(kindCommit, 7, 5, 0, 0)
	e.control(kindSuffix, 8, 6, 0, 0)
	e.control(kindDelete, 9, 0, 0, 0)
	e.control(kindRelocate, 10, 1, 4, 3)
	e.entry(kindRelocated, 10, &Entry{Index: 2, Term: 1})
	return appendRoundTo(nil, e.finish(roundHeader{sequence: 4, number: 1000, incarnation: 0x1122334455667788, page: 2}))
}

func goldenSegmentHeader() []byte {
	h := segmentHeader{
		sequence: 4, incarnation: 0x1122334455667788, firstRound: 999, size: 64 << 20, previousEnd: 0x3ff000,
		table: []bounds{{group: 7, first: 5, last: 9, commit: 8}, {group: 10, first: 1, last: 4, commit: 3}},
	}
	b := make([]byte, segmentHeaderBytes(len(h.table)))
	h.encode(b)
	return b
}

// TestGoldenBytes compares the encoders with testdata/golden.hex, which docs/formats/journal.md explains byte for byte.
func TestGoldenBytes(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.hex")
	must(t, err)
	want := map[string][]byte{}
	name := ""
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		if head, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok {
			name = head
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
		must(t, err)
		want[name] = append(want[name], b...)
	}
	for name, got := range map[string][]byte{"segment header": goldenSegmentHeader(), "round": goldenRound(false)} {
		used := bytes.TrimRight(got, "\x00")
		padding := got[len(used):]
		golden := want[name]
		if len(golden) < len(used) {
			t.Fatalf("%s: golden file has %d bytes, the encoder wrote %d", name, len(golden), len(used))
		}
		if diff := cmp.Diff(hex.Dump(golden), hex.Dump(got[:len(golden)])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(got)%pageSize != 0 || len(bytes.Trim(padding, "\x00")) != 0 {
			t.Errorf("%s: not padded to a page by zeros", name)
		}
	}
}

func TestGoldenDecodes(t *testing.T) {
	h, err := decodeSegmentHeader(goldenSegmentHeader())
	must(t, err)
	want := []bounds{{group: 7, first: 5, last: 9, commit: 8}, {group: 10, first: 1, last: 4, commit: 3}}
	if diff := cmp.Diff(want, h.table, cmp.AllowUnexported(bounds{})); diff != "" {
		t.Error(diff)
	}
	if h.sequence != 4 || h.firstRound != 999 || h.size != 64<<20 || h.previousEnd != 0x3ff000 {
		t.Errorf("%+v", h)
	}
	var kinds []recordKind
	header, payload, err := checkRound(goldenRound(false))
	must(t, err)
	must(t, visitRecords(header, payload, func(r record, _ int) error {
		kinds = append(kinds, r.kind)
		return nil
	}))
	if diff := cmp.Diff([]recordKind{4, 1, 2, 3, 5, 6, 7}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	b := goldenSegmentHeader()
	binary.LittleEndian.PutUint32(b[8:], formatVersion+1)
	length, err := segmentHeaderLength(b)
	must(t, err)
	binary.LittleEndian.PutUint32(b[4:], crcOf(0, b[8:length]))
	if _, err := decodeSegmentHeader(b); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
}

// TestGatherWritesTheSame compares rounds that copy with rounds that refer.
func TestGatherWritesTheSame(t *testing.T) {
	build := func(gather bool) (b []byte, chunks int) {
		var e roundEncoder
		for range 2 { // the second round reuses the buffer of the first
			e.start(256<<10, gather)
			for i, size := range []int{10, gatherMin, 0, 3 * gatherMin, gatherMin - 1, gatherMin} {
				en := entry(1, uint64(i+1), 1, size)
				e.entry(kindEntry, 1, &en)
			}
			e.control(kindCommit, 1, 3, 0, 0)
		}
		c := e.finish(roundHeader{number: 1})
		return appendRoundTo(nil, c), len(c)
	}
	copied, one := build(false)
	gathered, many := build(true)
	if !bytes.Equal(copied, gathered) {
		t.Error("bytes differ")
	}
	if one != 1 || many != 7 {
		t.Errorf("%d and %d chunks", one, many)
	}
}

// FuzzRound decodes arbitrary bytes. What decodes must encode to the same bytes again.
func FuzzRound(f *testing.F) {
	f.Add(goldenRound(false))
	f.Add(goldenRound(false)[:100])
	f.Add([]byte{})
	var e roundEncoder
	e.start(pageSize, false)
	f.Add(appendRoundTo(nil, e.finish(roundHeader{})))
	f.Fuzz(func(t *testing.T, b []byte) {
		sealFuzzed(b)
		h, payload, err := checkRound(b)
		if err != nil {
			return
		}
		var again roundEncoder
		again.start(int64(h.length), false)
		err = visitRecords(h, payload, func(r record, offset int) error {
			if offset != again.length {
				t.Fatalf("record at %d, encoder at %d", offset, again.length)
			}
			if r.kind.isEntry() {
				again.entry(r.kind, r.group, &r.entry)
			} else {
				again.control(r.kind, r.group, r.a, r.b, r.c)
			}
			return nil
		})
		if err != nil {
			return
		}
		if got := appendRoundTo(nil, again.finish(h)); !bytes.Equal(got[:h.length], b[:h.length]) {
			t.Fatalf("decoded and encoded again:\n%x\n%x", b[:h.length], got[:h.length])
		}
	})
}

// sealFuzzed makes the checksums right, so that the fuzzer reaches what lies behind them.
func sealFuzzed(b []byte) {
	if len(b) < roundHeaderSize {
		return
	}
	copy(b, roundMagic)
	length := binary.LittleEndian.Uint32(b[8:])
	if uint64(length) > uint64(len(b)) || length < roundHeaderSize {
		length = uint32(len(b))
		binary.LittleEndian.PutUint32(b[8:], length)
	}
	clear(b[48:64])
	for rest := b[roundHeaderSize:length]; len(rest) >= recordHeaderSize; {
		size := uint64(binary.LittleEndian.Uint32(rest[8:])) + uint64(binary.LittleEndian.Uint32(rest[12:])) + recordHeaderSize
		if size > uint64(len(rest)) {
			break
		}
		binary.LittleEndian.PutUint32(rest, crcOf(0, rest[4:size]))
		rest = rest[size:]
	}
	binary.LittleEndian.PutUint32(b[12:], crcOf(0, b[roundHeaderSize:length]))
	binary.LittleEndian.PutUint32(b[4:], crcOf(0, b[8:roundHeaderSize]))
}

// FuzzSegmentHeader decodes arbitrary bytes. What decodes must encode to the same bytes again.
func FuzzSegmentHeader(f *testing.F) {
	f.Add(goldenSegmentHeader())
	f.Add(goldenSegmentHeader()[:90])
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if length, err := segmentHeaderLength(b); err == nil && length <= len(b) {
			binary.LittleEndian.PutUint32(b[4:], crcOf(0, b[8:length]))
		}
		h, err := decodeSegmentHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, segmentHeaderBytes(len(h.table)))
		h.encode(again)
		length := segmentHeaderSize + len(h.table)*tableRowSize
		copy(again[56:64], b[56:64]) // spare bytes, for later versions
		binary.LittleEndian.PutUint32(again[4:], crcOf(0, again[8:length]))
		if !bytes.Equal(again[:length], b[:length]) {
			t.Fatalf("decoded and encoded again:\n%x\n%x", b[:length], again[:length])
		}
	})
}
