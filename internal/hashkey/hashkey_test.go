package hashkey

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestFromPartitionKeyMatchesMD5(t *testing.T) {
	// MD5("abc") = 900150983cd24fb0d6963f7d28e17f72 (RFC 1321, appendix A.5).
	got := FromPartitionKey([]byte("abc"))
	if want := (Key{0x900150983cd24fb0, 0xd6963f7d28e17f72}); got != want {
		t.Fatalf("got %x, want %x", got, want)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in string
		ok bool
	}{
		{"0", true},
		{"340282366920938463463374607431768211455", true},
		{"340282366920938463463374607431768211456", false},
		{"999999999999999999999999999999999999999", false},
		{"", false},
		{"01", false},
		{"-1", false},
		{"1x", false},
		{"3402823669209384634633746074317682114550", false},
	} {
		k, err := Parse(c.in)
		if (err == nil) != c.ok {
			t.Errorf("Parse(%q) error = %v, want ok=%v", c.in, err, c.ok)
		}
		if c.ok && k.String() != c.in {
			t.Errorf("Parse(%q).String() = %q", c.in, k)
		}
	}
}

func TestParseAgreesWithBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		back, err := Parse(k.String())
		if err != nil || back != k {
			t.Fatalf("Parse(%s) = %v, %v", k, back, err)
		}
		o := Key{rapid.Uint64().Draw(t, "hi2"), rapid.Uint64().Draw(t, "lo2")}
		if k.Compare(o) != k.big().Cmp(o.big()) {
			t.Fatalf("Compare(%s, %s) disagrees with big.Int", k, o)
		}
	})
}

func TestSplitEvenTiles(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 16, 1000, 10_000} {
		ranges := SplitEven(n)
		if ranges[0].Start != (Key{}) || ranges[n-1].End != Max {
			t.Fatalf("n=%d: space not covered", n)
		}
		var least, most *big.Int
		for i, r := range ranges {
			if i > 0 && ranges[i-1].End != r.Start.Prev() {
				t.Fatalf("n=%d: gap or overlap before range %d", n, i)
			}
			w := new(big.Int).Sub(r.End.big(), r.Start.big())
			if least == nil || w.Cmp(least) < 0 {
				least = w
			}
			if most == nil || w.Cmp(most) > 0 {
				most = w
			}
		}
		if d := new(big.Int).Sub(most, least); d.Cmp(big.NewInt(1)) > 0 {
			t.Fatalf("n=%d: widths differ by %s", n, d)
		}
	}
}
