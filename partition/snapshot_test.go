package partition

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/hashkey"
)

func goldenState(t testing.TB) (Identity, Position, *State) {
	s := NewState(Rules{ProducerWindow: time.Minute, ProducersMax: 16})
	s.Apply(appendCommand(0x100, makeBatch(t, 1, 1, 3)))
	s.Apply(appendCommand(0x200, makeBatch(t, 2, 1, 1)))
	s.Apply(appendCommand(0x300, makeBatch(t, 1, 4, 2)))
	s.Apply(Command{Kind: CommandTrim, Time: 0x400, Trim: 2})
	s.Apply(Command{Kind: CommandSeal, Time: 0x500})
	return Identity{Group: 7, StreamID: 8, Shard: 9},
		Position{Next: 6, Index: 0x55, Time: 0x300, Chain: [16]byte{0: 0xC0, 15: 0xFF}}, s
}

// hexOf joins the fields of a golden snapshot and adds its checksum.
func hexOf(fields ...string) string {
	text := strings.Join(fields, "")
	data, _ := hex.DecodeString(text)
	return text + hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)))
}

// TestSnapshotGolden holds the encoding to the table of docs/formats/raft-commands.md.
func TestSnapshotGolden(t *testing.T) {
	id, p, s := goldenState(t)
	want := hexOf(
		"4c565053", "0200", "0100", "3801000000000000", // magic, version, flags, length 312
		"0700000000000000", "0800000000000000", "09000000", "02000000", // group, stream, shard, producers
		"0600000000000000", "5500000000000000", "0003000000000000", "c00000000000000000000000000000ff", // position
		"0005000000000000", "0200000000000000", "60ea000000000000", "10000000", // time, trim, window, limit
		"00000000", "0005000000000000", "0000000000000000", // zero, sealed, zero
		"aa000000000000000000000000000002", "0100000000000000", "0100000000000000", "0002000000000000", "01000000", "00000000",
		"01000000", "0300000000000000", "0002000000000000", "0000000000000000",
		"aa000000000000000000000000000001", "0500000000000000", "0100000000000000", "0003000000000000", "02000000", "00000000",
		"03000000", "0000000000000000", "0001000000000000", "0000000000000000",
		"02000000", "0400000000000000", "0003000000000000", "0000000000000000",
	)
	checkGolden(t, id, p, s, want)
}

// TestChildSnapshotGolden: a shard that took over from two, one of which was number 1 and had the lower half of the keys.
func TestChildSnapshotGolden(t *testing.T) {
	low, high := NewState(Rules{}), NewState(Rules{})
	low.Apply(appendCommand(0x100, keyed(t, 1, 1, lowKey, lowKey)))
	rules := Rules{ProducerWindow: time.Minute, ProducersMax: 16, Child: true}
	child := NewState(rules)
	checkGolden(t, Identity{Group: 7}, Position{}, child, hexOf(
		"4c565053", "0200", "0200", "8400000000000000", "0700000000000000", "0000000000000000", "00000000", "00000000", strings.Repeat("00", 40),
		"0000000000000000", "0000000000000000", "60ea000000000000", "10000000", strings.Repeat("00", 20)))
	child.Apply(Command{Kind: CommandAdopt, Inheritances: []Inheritance{
		seal(t, low, 1, halves[0], 0x200).For(hashkey.Full), seal(t, high, 2, halves[1], 0x300).For(hashkey.Full),
	}})
	checkGolden(t, Identity{Group: 7}, Position{}, child, hexOf(
		"4c565053", "0200", "0000", "f000000000000000", "0700000000000000", "0000000000000000", "00000000", "01000000", strings.Repeat("00", 40),
		"0103000000000000", "0000000000000000", "60ea000000000000", "10000000", strings.Repeat("00", 20),
		"aa000000000000000000000000000001", "0200000000000000", "0100000000000000", "0102000000000000", "01000000", "01000000",
		strings.Repeat("00", 16), "7fffffffffffffffffffffffffffffff",
		"02000000", "0000000000000000", "0001000000000000", "0200000000000000"))
}

// checkGolden wants a state to encode as hex digits, and back.
func checkGolden(t *testing.T, id Identity, p Position, s *State, want string) {
	t.Helper()
	data := EncodeSnapshot(id, p, s)
	if got := hex.EncodeToString(data); got != want {
		t.Fatalf("got\n%s, want\n%s", got, want)
	}
	gotID, gotP, back, err := DecodeSnapshot(data)
	if err != nil || gotID != id || gotP != p {
		t.Fatalf("decoded %+v %+v: %v", gotID, gotP, err)
	}
	if again := EncodeSnapshot(id, p, back); string(again) != string(data) {
		t.Fatalf("a decoded state encodes as\n%x", again)
	}
}

// TestFirstSnapshotVersionIsRead: what version 1 wrote is taken, and written as version 2.
func TestFirstSnapshotVersionIsRead(t *testing.T) {
	first, err := hex.DecodeString(hexOf(
		"4c565053", "0100", "0100", "2001000000000000", "0700000000000000", "0800000000000000", "09000000", "02000000",
		"0600000000000000", "5500000000000000", "0003000000000000", "c00000000000000000000000000000ff",
		"0005000000000000", "0200000000000000", "60ea000000000000", "10000000", strings.Repeat("00", 20),
		"aa000000000000000000000000000002", "0100000000000000", "0100000000000000", "0002000000000000", "01000000", "00000000",
		"01000000", "0300000000000000", "0002000000000000",
		"aa000000000000000000000000000001", "0500000000000000", "0100000000000000", "0003000000000000", "02000000", "00000000",
		"03000000", "0000000000000000", "0001000000000000",
		"02000000", "0400000000000000", "0003000000000000",
	))
	if err != nil {
		t.Fatal(err)
	}
	id, p, s, err := DecodeSnapshot(first)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := EncodeSnapshot(id, p, s), EncodeSnapshot(goldenState(t)); string(got) != string(want) {
		t.Fatalf("it is read as\n%x, want\n%x", got, want)
	}
	for name, edit := range map[string]func(b []byte){
		"pending":     func(b []byte) { b[6], b[7] = 2, 0 },
		"sealed then": func(b []byte) { b[112] = 1 },
		"a scope":     func(b []byte) { b[172] = 1 },
	} {
		data := bytes.Clone(first)
		edit(data)
		if _, _, _, err := DecodeSnapshot(reseal(data)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s in version 1: error %v", name, err)
		}
	}
}

func TestEveryFlippedBitOfASnapshotIsFound(t *testing.T) {
	data := EncodeSnapshot(goldenState(t))
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, _, _, err := DecodeSnapshot(data); err == nil {
				t.Fatalf("bit %d of byte %d flipped, and accepted", bit, i)
			}
			data[i] ^= 1 << bit
		}
		if _, _, _, err := DecodeSnapshot(data[:i]); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

// reseal gives an edited snapshot a right checksum, so that the rules behind it are tried.
func reseal(data []byte) []byte {
	binary.LittleEndian.PutUint32(data[len(data)-4:], crc32.Checksum(data[:len(data)-4], castagnoli))
	return data
}

func TestSnapshotRulesBehindTheChecksum(t *testing.T) {
	le := binary.LittleEndian
	for name, edit := range map[string]func(b []byte){
		"flags":                   func(b []byte) { b[6] = 2 },
		"reserved":                func(b []byte) { b[110] = 1 },
		"trim beyond the end":     func(b []byte) { le.PutUint64(b[88:], 7) },
		"negative time":           func(b []byte) { b[87] = 0x80 },
		"log newer than state":    func(b []byte) { le.PutUint64(b[56:], 0x501) },
		"no window":               func(b []byte) { le.PutUint64(b[96:], 0) },
		"no room for producers":   func(b []byte) { le.PutUint32(b[104:], 1) },
		"more producers":          func(b []byte) { le.PutUint32(b[36:], 3) },
		"fewer producers":         func(b []byte) { le.PutUint32(b[36:], 1) },
		"producer without id":     func(b []byte) { clear(b[128:144]) },
		"producer twice":          func(b []byte) { copy(b[204:220], b[128:144]) },
		"sealed in the future":    func(b []byte) { le.PutUint64(b[112:], 0x501) },
		"sealed and open":         func(b []byte) { b[6] = 0 },
		"pending with records":    func(b []byte) { b[6] |= 2 },
		"scope that ends first":   func(b []byte) { b[172] = 1 }, // what follows is read as a scope
		"an ancestor beyond all":  func(b []byte) { le.PutUint64(b[196:], 1<<32+1) },
		"producer out of order":   func(b []byte) { le.PutUint64(b[160:], 0x400) },
		"highest too high":        func(b []byte) { b[144] = 9 },
		"no positions":            func(b []byte) { le.PutUint32(b[168:], 0) },
		"too many positions":      func(b []byte) { le.PutUint32(b[168:], 65) },
		"empty position":          func(b []byte) { le.PutUint32(b[176:], 0) },
		"position beyond the end": func(b []byte) { le.PutUint64(b[180:], 6) },
		"position in the future":  func(b []byte) { le.PutUint64(b[188:], 0x501) },
	} {
		data := EncodeSnapshot(goldenState(t))
		edit(data)
		if _, _, _, err := DecodeSnapshot(reseal(data)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: error %v, want ErrSnapshot", name, err)
		}
	}
	data := EncodeSnapshot(goldenState(t))
	data[4] = 4
	if _, _, _, err := DecodeSnapshot(reseal(data)); !errors.Is(err, ErrSnapshotVersion) {
		t.Errorf("newer version: %v", err)
	}
}

// TestReplicasAgreeToTheByte applies the same commands to two states, one of
// which goes through its snapshot at every turn of a coin.
func TestReplicasAgreeToTheByte(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules := Rules{ProducerWindow: 30 * time.Millisecond, ProducersMax: 3}
		a, b := NewState(rules), NewState(rules)
		var now int64
		for range rapid.IntRange(1, 60).Draw(rt, "commands") {
			now += rapid.Int64Range(0, 10).Draw(rt, "step")
			cmd := Command{Kind: CommandTrim, Time: now, Trim: uint64(now)}
			if rapid.IntRange(0, 9).Draw(rt, "kind") > 0 {
				p := rapid.Byte().Draw(rt, "producer") % 6
				first := rapid.Uint64Range(1, 12).Draw(rt, "first")
				if p == 0 {
					first = 0
				}
				cmd = appendCommand(now, makeBatch(t, p, first, rapid.IntRange(1, 4).Draw(rt, "n")))
			}
			ra, rb := a.Apply(cmd), b.Apply(cmd)
			if d := cmp.Diff(ra.Ranges(), rb.Ranges()); d != "" {
				rt.Fatal(d)
			}
			if rapid.Bool().Draw(rt, "restart") {
				b = reload(rt, b)
			}
			p := Position{Next: a.Next()}
			if string(EncodeSnapshot(Identity{}, p, a)) != string(EncodeSnapshot(Identity{}, p, b)) {
				rt.Fatal("snapshots differ")
			}
		}
	})
}

// Ranges lists the ranges of all results, for comparison.
func (o Outcome) Ranges() (all [][]ResultRange) {
	for _, r := range o.Results {
		all = append(all, r.Ranges)
	}
	return all
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(EncodeSnapshot(goldenState(f)))
	f.Add(EncodeSnapshot(Identity{}, Position{}, NewState(Rules{})))
	calling := NewState(Rules{})
	calling.Apply(appendCommand(100, call(f, 1, 4, 7), call(f, 1, 1, 2), call(f, 2, 1, 2)))
	f.Add(EncodeSnapshot(Identity{}, Position{Next: 5, Time: 100}, calling))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= snapshotMin { // let the fuzzer past the frame
			data = append([]byte(nil), data...)
			binary.LittleEndian.PutUint64(data[8:], uint64(len(data)))
			reseal(data)
		}
		id, p, s, err := DecodeSnapshot(data)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) && !errors.Is(err, ErrSnapshotVersion) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		got := EncodeSnapshot(id, p, s)
		if version := binary.LittleEndian.Uint16(data[4:]); version == snapshotVersion && string(got) != string(data) {
			t.Fatalf("%x decodes and encodes as %x", data, got)
		}
		if string(EncodeSnapshot(id, p, reload(t, s))) != string(got) {
			t.Fatalf("%x is not read as what it was written from", got)
		}
		// What was accepted must keep its rules when it goes on, short of the last ordinal, which no shard reaches.
		if s.Next() > 1<<63-6 {
			return
		}
		s.Apply(appendCommand(s.Time(), makeBatch(t, 1, 1, 2), makeBatch(t, 1, 2, 3), makeBatch(t, 2, 1, 1)))
		reload(t, s)
	})
}
