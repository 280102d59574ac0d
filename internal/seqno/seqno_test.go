package seqno

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGolden(t *testing.T) {
	n := New(1_700_000_000_000, 42, 3)
	if got, want := n.String(), "108393413556138139429305064022430318595"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if n.Hi != 0x518bcfe568000000 || n.Lo != 0x00000000002a0003 {
		t.Fatalf("bits %016x %016x", n.Hi, n.Lo)
	}
}

func TestFieldsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, MaxTime).Draw(t, "ms")
		ord := rapid.Uint64().Draw(t, "ordinal")
		shard := rapid.Uint32().Draw(t, "shard")
		n := New(ms, ord, shard)
		if n.Millis() != ms || n.Ordinal() != ord || n.Shard() != uint16(shard) {
			t.Fatalf("New(%d, %d, %d) reads back %d, %d, %d", ms, ord, shard, n.Millis(), n.Ordinal(), n.Shard())
		}
		if len(n.String()) != 39 {
			t.Fatalf("%s has %d digits, want 39", n, len(n.String()))
		}
		back, err := Parse(n.String())
		if err != nil || back != n {
			t.Fatalf("Parse(%s) = %v, %v", n, back, err)
		}
		if ord < ^uint64(0) && n.Compare(New(ms, ord+1, shard)) >= 0 {
			t.Fatal("next ordinal does not sort after")
		}
		if ms < MaxTime && n.Compare(New(ms+1, 0, 0)) >= 0 {
			t.Fatal("later time does not sort after")
		}
	})
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "0", "x", "1", strings.Repeat("9", 39), strings.Repeat("1", 56), "-5", "49590338271490256608559692538361571095921575989136588898"} {
		if _, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) accepted", s)
		}
	}
}
