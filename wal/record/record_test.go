package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/hashkey"
)

func build(t testing.TB, p ProducerID, first uint64, pinned bool, records ...Record) Batch {
	t.Helper()
	b := NewBuilder(256)
	for _, r := range records {
		if err := b.Add(r); err != nil {
			t.Fatalf("Add: %v", err)
		}
	}
	return b.Finish(p, first, pinned)
}

func collect(b Batch) []Record {
	var out []Record
	for i, r := range b.Records() {
		if i != len(out) {
			panic("index out of order")
		}
		out = append(out, r)
	}
	return out
}

// The bytes of docs/formats/record-batch.md, written out by hand except the CRC,
// whose value was computed by an independent bitwise implementation below.
func TestGolden(t *testing.T) {
	p := ProducerID{0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10}
	got := build(t, p, 7, true,
		Record{Key: []byte("k1"), Data: []byte("hello")},
		Record{Key: []byte("é"), HasExplicitHash: true, ExplicitHash: hashkey.Key{Hi: 1, Lo: 2}},
	)
	body := "01" + "000000" + // flags
		"0102030405060708090a0b0c0d0e0f10" + // producer
		"0700000000000000" + // first sequence
		"02000000" + "00000000" + // count
		"05000000" + "0200" + "00" + "00" + hex.EncodeToString([]byte("k1hello")) +
		"00000000" + "0200" + "01" + "00" + "00000000000000010000000000000002" + "c3a9"
	raw, err := hex.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("LVB1"), binary.LittleEndian.AppendUint32(nil, uint32(12+len(raw)))...)
	want = binary.LittleEndian.AppendUint32(want, bitwiseCRC32C(raw))
	want = append(want, raw...)
	if diff := cmp.Diff(hex.Dump(want), hex.Dump(got)); diff != "" {
		t.Fatalf("encoding differs (-want +got):\n%s", diff)
	}
	if got.Len() != 89 || got.Count() != 2 || got.FirstSequence() != 7 || !got.Pinned() || got.Producer() != p {
		t.Errorf("fields: len %d count %d first %d pinned %v producer %s", got.Len(), got.Count(), got.FirstSequence(), got.Pinned(), got.Producer())
	}
	if s := p.String(); s != "01020304-0506-0708-090a-0b0c0d0e0f10" {
		t.Errorf("producer prints as %s", s)
	}
}

func bitwiseCRC32C(b []byte) uint32 {
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	return ^crc
}

func genRecord(t *rapid.T) Record {
	key := rapid.StringN(1, 40, -1).Filter(func(s string) bool { return s != "" }).Draw(t, "key")
	r := Record{Key: []byte(key), Data: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "data")}
	if rapid.Bool().Draw(t, "explicit") {
		r.HasExplicitHash = true
		r.ExplicitHash = hashkey.Key{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
		if rapid.Bool().Draw(t, "no key") {
			r.Key = []byte{}
		}
	}
	return r
}

func TestRoundTripAndTail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(genRecord), 1, 20).Draw(t, "records")
		var p ProducerID
		var first uint64
		if rapid.Bool().Draw(t, "producer") {
			p[3], first = 9, rapid.Uint64Range(1, 1<<40).Draw(t, "first")
		}
		b := NewBuilder(rapid.IntRange(0, 200).Draw(t, "capacity"))
		for _, r := range records {
			if err := b.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		size := b.Len()
		batch := b.Finish(p, first, rapid.Bool().Draw(t, "pinned"))
		if len(batch) != size {
			t.Fatalf("Len said %d, the batch has %d", size, len(batch))
		}
		parsed, rest, err := Parse(append(bytes.Clone(batch), "after"...))
		if err != nil || string(rest) != "after" || !bytes.Equal(parsed, batch) {
			t.Fatalf("Parse: rest %q, err %v", rest, err)
		}
		if diff := cmp.Diff(records, collect(parsed)); diff != "" {
			t.Fatalf("records differ:\n%s", diff)
		}
		skip := rapid.IntRange(0, len(records)).Draw(t, "skip")
		tail := parsed.Tail(skip)
		if skip == len(records) {
			if tail != nil {
				t.Fatal("a tail of nothing is not nil")
			}
			return
		}
		if _, _, err := Parse(tail); err != nil {
			t.Fatalf("Tail(%d) does not parse: %v", skip, err)
		}
		if diff := cmp.Diff(records[skip:], collect(tail)); diff != "" {
			t.Fatalf("tail differs:\n%s", diff)
		}
		wantFirst := first + uint64(skip)
		if p.IsZero() {
			wantFirst = 0
		}
		if tail.FirstSequence() != wantFirst || tail.Pinned() != batch.Pinned() || tail.Producer() != p {
			t.Fatalf("tail header: first %d, want %d", tail.FirstSequence(), wantFirst)
		}
	})
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	batch := build(t, ProducerID{1}, 1, false, Record{Key: []byte("key"), Data: []byte("data")})
	for i := range len(batch) * 8 {
		bad := bytes.Clone(batch)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := Parse(bad); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrShort) {
			t.Fatalf("bit %d flipped: error %v", i, err)
		}
	}
	for n := range len(batch) {
		if _, _, err := Parse(batch[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("cut to %d bytes: error %v", n, err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	for _, c := range []struct {
		name, field string
		limit       uint64
		r           Record
	}{
		{"empty key", "key", 0, Record{}},
		{"257 characters", "key", MaxKeyChars, Record{Key: []byte(strings.Repeat("x", 257))}},
		{"1025 bytes", "key", MaxKeyChars, Record{Key: []byte(strings.Repeat("x", 1025))}},
		{"not UTF-8", "key", 0, Record{Key: []byte{0xff}}},
		{"too much data", "data", MaxDataBytes, Record{Key: []byte("k"), Data: make([]byte, MaxDataBytes+1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBuilder(0)
			err := b.Add(c.r)
			var detail *InvalidError
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &detail) || detail.Field != c.field || detail.Limit != c.limit {
				t.Fatalf("error %#v", err)
			}
			if b.Count() != 0 || b.Finish(ProducerID{}, 0, false) != nil {
				t.Fatal("a refused record is in the batch")
			}
		})
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	b := NewBuilder(0)
	largest := Record{Key: []byte(strings.Repeat("𝄞", 256)), Data: make([]byte, MaxDataBytes)}
	if err := b.Add(largest); err != nil {
		t.Fatalf("largest record: %v", err)
	}
	if err := b.Add(largest); !errors.Is(err, ErrFull) {
		t.Fatalf("second largest record: %v", err)
	}
	if _, _, err := Parse(b.Finish(ProducerID{}, 0, false)); err != nil {
		t.Fatal(err)
	}
	small := Record{Key: []byte("k")}
	for i := range MaxRecords {
		if err := b.Add(small); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if err := b.Add(small); !errors.Is(err, ErrFull) {
		t.Fatalf("record %d: %v", MaxRecords, err)
	}
	b.Reset()
	if b.Count() != 0 || b.Len() != HeaderSize {
		t.Fatalf("after Reset: %d records, %d bytes", b.Count(), b.Len())
	}
}

func TestParseRefusesBrokenRules(t *testing.T) {
	good := build(t, ProducerID{1}, 5, false, Record{Key: []byte("k"), Data: []byte("d")})
	for _, c := range []struct {
		name string
		edit func(b []byte) []byte
		want error
	}{
		{"unknown flag", func(b []byte) []byte { b[offFlags] |= 2; return b }, ErrInvalid},
		{"reserved byte", func(b []byte) []byte { b[14] = 1; return b }, ErrInvalid},
		{"reserved field", func(b []byte) []byte { b[offZero] = 1; return b }, ErrInvalid},
		{"sequence 0", func(b []byte) []byte { clear(b[offFirst:offCount]); return b }, ErrInvalid},
		{"no producer", func(b []byte) []byte { clear(b[offProducer:offFirst]); return b }, ErrInvalid},
		{"sequence overflow", func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[offFirst:], ^uint64(0))
			return b
		}, ErrInvalid},
		{"count 0", func(b []byte) []byte { b[offCount] = 0; return b }, ErrCorrupt},
		{"count too large", func(b []byte) []byte { b[offCount] = 2; return b }, ErrInvalid},
		{"record flag", func(b []byte) []byte { b[HeaderSize+6] = 2; return b }, ErrInvalid},
		{"hash key cut", func(b []byte) []byte { b[HeaderSize+6] = 1; return b }, ErrInvalid},
		{"empty key", func(b []byte) []byte { b[HeaderSize], b[HeaderSize+4] = 2, 0; return b }, ErrInvalid},
		{"bytes after", func(b []byte) []byte { return append(b, 0) }, ErrInvalid},
		{"length below header", func(b []byte) []byte { return b[:HeaderSize-1] }, ErrShort},
		{"other magic", func(b []byte) []byte { b[0] = 'X'; return b }, ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.edit(bytes.Clone(good))
			binary.LittleEndian.PutUint32(b[offLength:], uint32(len(b)))
			binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(b[offFlags:], castagnoli))
			if _, _, err := Parse(b); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestHashKey(t *testing.T) {
	r := Record{Key: []byte("abc")}
	if r.HashKey() != hashkey.FromPartitionKey([]byte("abc")) {
		t.Error("the partition key is not hashed")
	}
	r.HasExplicitHash, r.ExplicitHash = true, hashkey.Key{Lo: 3}
	if r.HashKey() != (hashkey.Key{Lo: 3}) {
		t.Error("the explicit hash key is ignored")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(build(f, ProducerID{1}, 1, true, Record{Key: []byte("k"), Data: []byte("d")})), true)
	f.Add([]byte(build(f, ProducerID{}, 0, false, Record{Key: []byte("k"), HasExplicitHash: true})), false)
	f.Add([]byte("LVB1"), false)
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		if trusted, _, err := ParseTrusted(data); err == nil {
			for range trusted.Records() {
				_ = trusted.Tail(1)
			}
			if repair { // reach the checks behind the checksum
				binary.LittleEndian.PutUint32(trusted[offCRC:], crc32.Checksum(trusted[offFlags:], castagnoli))
			}
		}
		b, rest, err := Parse(data)
		if err != nil {
			return
		}
		if len(b)+len(rest) != len(data) {
			t.Fatal("bytes lost")
		}
		again := NewBuilder(0)
		for _, r := range b.Records() {
			if err := again.Add(r); err != nil {
				t.Fatalf("a parsed record does not build: %v", err)
			}
		}
		if got := again.Finish(b.Producer(), b.FirstSequence(), b.Pinned()); !bytes.Equal(got, b) {
			t.Fatalf("one batch, two encodings:\n%x\n%x", b, got)
		}
	})
}

// TestCutKeepsEveryRecord cuts batches anywhere: the parts have the records, numbers and flags of the whole, and those that are not kept are nil.
func TestCutKeepsEveryRecord(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(genRecord), 1, 12).Draw(rt, "records")
		b := NewBuilder(0)
		for _, r := range records {
			if err := b.Add(r); err != nil {
				rt.Fatal(err)
			}
		}
		whole := b.Finish(RepeatableID([16]byte{1}), 7, rapid.Bool().Draw(rt, "pinned"))
		var counts []int
		for left := len(records); left > 0; left -= counts[len(counts)-1] {
			counts = append(counts, rapid.IntRange(1, left).Draw(rt, "count"))
		}
		keep := rapid.SliceOfN(rapid.Bool(), len(counts), len(counts)).Draw(rt, "keep")
		parts := whole.Cut(counts, func(i int) bool { return keep[i] })
		at := 0
		for i, part := range parts {
			if (part != nil) != keep[i] {
				rt.Fatalf("part %d: %v", i, part)
			}
			if part != nil {
				back, rest, err := Parse(part)
				if err != nil || len(rest) > 0 || back.Count() != counts[i] || back.FirstSequence() != 7+uint64(at) || back.Pinned() != whole.Pinned() || back.Producer() != whole.Producer() {
					rt.Fatalf("part %d: %v", i, err)
				}
				for j, r := range back.Records() {
					want := records[at+j]
					if !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Data, want.Data) || r.HashKey() != want.HashKey() {
						rt.Fatalf("record %d of part %d is another", j, i)
					}
				}
			}
			at += counts[i]
		}
		if whole.Cut([]int{len(records) + 1}, func(int) bool { return true }) != nil || whole.Part(1, len(records)) != nil {
			rt.Fatal("a part beyond the end")
		}
	})
}
