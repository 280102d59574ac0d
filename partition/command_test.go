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
		{Command{Kind: CommandAppend, Time: 1_700_000_000_000, Batches: []record.Batch{batch, batch}}, "01020000" + "02000000" + time + batchText + batchText},
		{Command{Kind: CommandTrim, Time: 1_700_000_000_000, Trim: 0x1122334455667788}, "02020000" + "00000000" + time + "8877665544332211"},
		{Command{Kind: CommandSeal, Time: 1_700_000_000_000}, "03020000" + "00000000" + time},
		{Command{Kind: CommandTick}, "04020000" + "00000000" + "0000000000000000"},
	} {
		head, body := c.cmd.Encode()
		if got := hex.EncodeToString(head) + hex.EncodeToString(body); got != c.want || len(head) != commandHeaderSize {
			t.Errorf("kind %d encodes as\n%s, want\n%s", c.cmd.Kind, got, c.want)
		}
		back, err := DecodeCommand(head, body)
		if err != nil {
			t.Fatalf("kind %d: %v", c.cmd.Kind, err)
		}
		if d := cmp.Diff(c.cmd, back, cmpopts.IgnoreUnexported(Command{})); d != "" {
			t.Errorf("kind %d: %s", c.cmd.Kind, d)
		}
	}
}

func TestDecodedBatchesAliasTheEntry(t *testing.T) {
	head, body := appendCommand(1, makeBatch(t, 1, 1, 2), makeBatch(t, 1, 3, 2)).Encode()
	cmd, err := DecodeCommand(head, body)
	if err != nil {
		t.Fatal(err)
	}
	if &cmd.Batches[0][0] != &body[0] || &cmd.Batches[1][0] != &body[len(cmd.Batches[0])] {
		t.Fatal("decoding copied a batch")
	}
	if o := NewState(Rules{}).Apply(cmd); len(o.Payload) != 1 || &o.Payload[0][0] != &body[0] {
		t.Fatalf("an entry that is stored whole makes a block of %d pieces", len(o.Payload))
	}
}

func TestSingleBatchIsTheBody(t *testing.T) {
	batch := makeBatch(t, 1, 1, 2)
	if _, body := appendCommand(1, batch).Encode(); &body[0] != &batch[0] || len(body) != len(batch) {
		t.Fatal("encoding copied a batch")
	}
}

func TestDecodeCommandRefuses(t *testing.T) {
	joined := func(c Command) []byte {
		head, body := c.Encode()
		return append(head, body...)
	}
	good := func() []byte { return joined(appendCommand(5, makeBatch(t, 1, 1, 2))) }
	trim := joined(Command{Kind: CommandTrim, Trim: 9})
	edit := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for name, data := range map[string][]byte{
		"empty":               {},
		"short header":        good()[:15],
		"unknown kind":        edit(good(), 0, 9),
		"kind 0":              edit(good(), 0, 0),
		"version 1":           edit(good(), 1, 1),
		"unknown version":     edit(good(), 1, 4),
		"reserved":            edit(good(), 3, 1),
		"negative time":       edit(good(), 15, 0x80),
		"time beyond 44 bits": edit(good(), 13, 0x10),
		"no batch":            edit(good(), 4, 0),
		"too many batches":    edit(good(), 4, 2),
		"absurd batch count":  edit(good(), 7, 0xff),
		"cut batch":           good()[:40],
		"trailing byte":       append(good(), 0),
		"bad batch magic":     edit(good(), 16, 'X'),
		"needless version":    edit(good(), 1, 3),
		"version of a trim":   edit(joined(Command{Kind: CommandTrim}), 1, 3),
		"trim without body":   trim[:16],
		"trim with more":      append(trim, 0),
		"seal with body":      append(joined(Command{Kind: CommandSeal}), 0),
		"tick with batches":   edit(joined(Command{Kind: CommandTick}), 4, 1),
	} {
		cut := min(len(data), commandHeaderSize)
		if _, err := DecodeCommand(data[:cut], data[cut:]); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: error %v, want ErrCommand", name, err)
		}
	}
	if _, err := DecodeCommand(good()[:17], good()[17:]); !errors.Is(err, ErrCommand) {
		t.Errorf("a header that is too long: error %v, want ErrCommand", err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range []Command{
		appendCommand(5, makeBatch(f, 1, 1, 2), makeBatch(f, 0, 0, 1)),
		appendCommand(5, makeBatch(f, 1, 1, 2), call(f, 1, 4, 7), call(f, 1, 5, 9)),
		{Kind: CommandTrim, Time: 1, Trim: 7},
		{Kind: CommandSeal},
		{Kind: CommandTick, Time: seqno.MaxTime},
	} {
		head, body := c.Encode()
		f.Add(head, body)
		head[1] = 2
		f.Add(head, body)
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		cmd, err := DecodeCommand(head, body)
		if err != nil {
			if !errors.Is(err, ErrCommand) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if gotHead, gotBody := cmd.Encode(); string(gotHead) != string(head) || string(gotBody) != string(body) {
			t.Fatalf("%x %x decodes and encodes as %x %x", head, body, gotHead, gotBody)
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
