package client

import (
	"testing"

	"google.golang.org/protobuf/proto"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/wal/record"
)

func block(t testing.TB, first uint64, keys string) *levadav1.Block {
	t.Helper()
	b := record.NewBuilder(64)
	for _, k := range keys {
		if err := b.Add(record.Record{Key: []byte(string(k)), Data: []byte(string(k))}); err != nil {
			t.Fatal(err)
		}
	}
	return &levadav1.Block{FirstOrdinal: first, Count: uint32(len(keys)), TimeMs: 1_700_000_000_000, Payload: b.Finish(record.ProducerID{}, 0, false)}
}

func TestCursorChecks(t *testing.T) {
	flipped := block(t, 10, "abc")
	flipped.Payload[len(flipped.Payload)-1] ^= 1
	miscounted := block(t, 10, "abc")
	miscounted.Count = 4
	skipped := block(t, 8, "xyabc")
	skipped.Skip = 2
	for name, tc := range map[string]struct {
		m    *levadav1.ReadResponse
		want string // keys, or "" for an error
	}{
		"next":          {&levadav1.ReadResponse{Blocks: []*levadav1.Block{block(t, 10, "abc")}}, "abc"},
		"two":           {&levadav1.ReadResponse{Blocks: []*levadav1.Block{block(t, 10, "abc"), block(t, 13, "d")}}, "abcd"},
		"skip":          {&levadav1.ReadResponse{Blocks: []*levadav1.Block{skipped}}, "abc"},
		"overlap":       {&levadav1.ReadResponse{Blocks: []*levadav1.Block{block(t, 9, "xabc")}}, "abc"},
		"hole":          {&levadav1.ReadResponse{Blocks: []*levadav1.Block{block(t, 11, "bc")}}, ""},
		"hole between":  {&levadav1.ReadResponse{Blocks: []*levadav1.Block{block(t, 10, "abc"), block(t, 14, "e")}}, ""},
		"bit flip":      {&levadav1.ReadResponse{Blocks: []*levadav1.Block{flipped}}, ""},
		"wrong count":   {&levadav1.ReadResponse{Blocks: []*levadav1.Block{miscounted}}, ""},
		"garbage after": {&levadav1.ReadResponse{Blocks: []*levadav1.Block{{FirstOrdinal: 10, Count: 1, Payload: []byte("LVB1")}}}, ""},
	} {
		c := newCursor(3, AtOrdinal(10), true)
		records, gap, err := c.take(tc.m)
		got := ""
		for i, r := range records {
			got += r.PartitionKey
			if r.Ordinal != uint64(10+i) || r.Shard != 3 {
				t.Errorf("%s: record %d is %+v", name, i, r)
			}
		}
		if gap != nil || got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s: %q %v %v", name, got, gap, err)
		}
		if want := uint64(10 + len(tc.want)); c.next != want {
			t.Errorf("%s: next %d, want %d", name, c.next, want)
		}
	}
}

// FuzzCursor holds that no message makes a cursor panic, go back, or hand out
// records that do not follow one another.
func FuzzCursor(f *testing.F) {
	for _, m := range []*levadav1.ReadResponse{
		{Blocks: []*levadav1.Block{block(f, 10, "abc"), block(f, 13, "d")}, NextOrdinal: 14, TailOrdinal: 20},
		{FirstOrdinal: 40, NextOrdinal: 40},
		{FirstOrdinal: 12, Blocks: []*levadav1.Block{block(f, 12, "c")}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(10), true)
		f.Add(b, uint64(11), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, next uint64, verify bool) {
		m := &levadav1.ReadResponse{}
		if proto.Unmarshal(data, m) != nil {
			return
		}
		c := newCursor(1, AtOrdinal(next), verify)
		records, gap, err := c.take(m)
		if err != nil {
			if c.next != next || len(records) > 0 || gap != nil {
				t.Fatal("a message refused left a trace")
			}
			return
		}
		at := next
		if gap != nil {
			if gap.From != next || gap.To <= gap.From {
				t.Fatalf("gap %+v at %d", gap, next)
			}
			at = gap.To
		}
		for _, r := range records {
			if r.Ordinal != at {
				t.Fatalf("ordinal %d, expected %d", r.Ordinal, at)
			}
			at++
		}
		if c.next < at {
			t.Fatalf("next %d after records up to %d", c.next, at)
		}
	})
}
