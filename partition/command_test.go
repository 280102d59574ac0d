package partition

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// goldenBatch is a batch of one record, key "k", data "d", as bytes.
const goldenBatch = "4c564231" + "3a000000" + "XXXXXXXX" + "00000000" + // magic, length 58, CRC, flags
	"aa000000000000000000000000000001" + "0100000000000000" + "01000000" + "00000000" + // producer, first, count
	"01000000" + "0100" + "0000" + "6b" + "64" // data and key length, flags, key, data

func goldenAppend(t *testing.T) (record.Batch, string) {
	t.Helper()
	b := record.NewBuilder(0)
	addRecord(t, b, "k", "d")
	batch := b.Finish(producerID(1), 1, false)
	text := strings.Replace(goldenBatch, "XXXXXXXX", hex.EncodeToString(batch[8:12]), 1)
	if hex.EncodeToString(batch) != text {
		t.Fatalf("the record batch format moved: %x", []byte(batch))
	}
	return batch, text
}

// TestCommandGolden holds the encoding to the tables of docs/formats/raft-commands.md.
func TestCommandGolden(t *testing.T) {
	batch, batchText := goldenAppend(t)
	const time = "0068e5cf8b010000" // 1_700_000_000_000
	for _, c := range []struct {
		cmd  Command
		want string
	}{
		{Command{Kind: CommandAppend, Time: 1_700_000_000_000, Batches: []record.Batch{batch, batch}}, "01010000" + "02000000" + time + batchText + batchText},
		{Command{Kind: CommandTrim, Time: 1_700_000_000_000, Trim: 0x1122334455667788}, "02010000" + "00000000" + time + "8877665544332211"},
		{Command{Kind: CommandSeal, Time: 1_700_000_000_000}, "03010000" + "00000000" + time},
		{Command{Kind: CommandTick}, "04010000" + "00000000" + "0000000000000000"},
	} {
		data := c.cmd.Encode()
		if got := hex.EncodeToString(data); got != c.want {
			t.Errorf("kind %d encodes as\n%s, want\n%s", c.cmd.Kind, got, c.want)
		}
		back, err := DecodeCommand(data)
		if err != nil {
			t.Fatalf("kind %d: %v", c.cmd.Kind, err)
		}
		if d := cmp.Diff(c.cmd, back, cmpopts.IgnoreUnexported(Command{})); d != "" {
			t.Errorf("kind %d: %s", c.cmd.Kind, d)
		}
	}
}

func TestDecodedBatchesAliasTheEntry(t *testing.T) {
	data := appendCommand(1, makeBatch(t, 1, 1, 2), makeBatch(t, 1, 3, 2)).Encode()
	cmd, err := DecodeCommand(data)
	if err != nil {
		t.Fatal(err)
	}
	if &cmd.Batches[0][0] != &data[commandHeaderSize] || &cmd.Batches[1][0] != &data[commandHeaderSize+len(cmd.Batches[0])] {
		t.Fatal("decoding copied a batch")
	}
	if o := NewState(Rules{}).Apply(cmd); len(o.Payload) != 1 || &o.Payload[0][0] != &data[commandHeaderSize] {
		t.Fatalf("an entry that is stored whole makes a block of %d pieces", len(o.Payload))
	}
}

func TestDecodeCommandRefuses(t *testing.T) {
	good := func() []byte { return appendCommand(5, makeBatch(t, 1, 1, 2)).Encode() }
	trim := Command{Kind: CommandTrim, Trim: 9}.Encode()
	edit := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for name, data := range map[string][]byte{
		"empty":               {},
		"short header":        good()[:15],
		"unknown kind":        edit(good(), 0, 9),
		"kind 0":              edit(good(), 0, 0),
		"unknown version":     edit(good(), 1, 2),
		"reserved":            edit(good(), 3, 1),
		"negative time":       edit(good(), 15, 0x80),
		"time beyond 44 bits": edit(good(), 13, 0x10),
		"no batch":            edit(good(), 4, 0),
		"too many batches":    edit(good(), 4, 2),
		"absurd batch count":  edit(good(), 7, 0xff),
		"cut batch":           good()[:40],
		"trailing byte":       append(good(), 0),
		"bad batch magic":     edit(good(), 16, 'X'),
		"trim without body":   trim[:16],
		"trim with more":      append(trim, 0),
		"seal with body":      append(Command{Kind: CommandSeal}.Encode(), 0),
		"tick with batches":   edit(Command{Kind: CommandTick}.Encode(), 4, 1),
	} {
		if _, err := DecodeCommand(data); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: error %v, want ErrCommand", name, err)
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add(appendCommand(5, makeBatch(f, 1, 1, 2), makeBatch(f, 0, 0, 1)).Encode())
	f.Add(Command{Kind: CommandTrim, Time: 1, Trim: 7}.Encode())
	f.Add(Command{Kind: CommandSeal}.Encode())
	f.Add(Command{Kind: CommandTick, Time: seqno.MaxTime}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := DecodeCommand(data)
		if err != nil {
			if !errors.Is(err, ErrCommand) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if got := cmd.Encode(); string(got) != string(data) {
			t.Fatalf("%x decodes and encodes as %x", data, got)
		}
		// Whatever decodes must be applied without a panic, twice.
		s := NewState(Rules{})
		for range 2 {
			o := s.Apply(cmd)
			if len(o.Results) != len(cmd.Batches) {
				t.Fatalf("%d results for %d batches", len(o.Results), len(cmd.Batches))
			}
		}
		reload(t, s)
	})
}
