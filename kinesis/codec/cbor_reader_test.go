package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples are those of RFC 8949, appendix A, that have a meaning here.
func TestCBORReadsTheExamplesOfItsStandard(t *testing.T) {
	for text, want := range map[string]any{
		"00": int64(0), "01": int64(1), "0a": int64(10), "17": int64(23), "1818": int64(24), "1903e8": int64(1000), "1a000f4240": int64(1000000),
		"1b000000e8d4a51000": int64(1000000000000), "1bffffffffffffffff": int64(math.MaxInt64), "20": int64(-1), "3903e7": int64(-1000), "3bffffffffffffffff": int64(math.MinInt64),
		"f90000": int64(0), "f93c00": int64(1), "f97bff": int64(65504), "fa47c35000": int64(100000), "fb7e37e43c8800759c": int64(math.MaxInt64), "f90001": int64(0), "f9c400": int64(-4),
		"f97c00": int64(math.MaxInt64), "f97e00": int64(0), "f9fc00": int64(math.MinInt64), "f4": false, "f5": true, "f6": nil, "f7": nil,
		"c11a514b67b0": int64(1363896240), "40": []byte{}, "4401020304": []byte{1, 2, 3, 4}, "60": "", "6161": "a", "6449455446": "IETF", "62c3bc": "ü",
		"80": []any{}, "83010203": []any{int64(1), int64(2), int64(3)}, "8301820203820405": []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}},
		"a0": map[string]any{}, "a26161016162820203": map[string]any{"a": int64(1), "b": []any{int64(2), int64(3)}}, "826161a161626163": []any{"a", map[string]any{"b": "c"}},
		"5f42010243030405ff": []byte{1, 2, 3, 4, 5}, "7f657374726561646d696e67ff": "streaming", "9fff": []any{}, "9f018202039f0405ffff": []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}},
		"bf61610161629f0203ffff": map[string]any{"a": int64(1), "b": []any{int64(2), int64(3)}}, "bf6346756ef563416d7421ff": map[string]any{"Fun": true, "Amt": int64(-2)},
		"d818456449455446": []byte("dIETF"), "c1c1c101": int64(1), "5fff": []byte(nil), "7fff": "",
	} {
		r := NewCBOR(unhex(t, text))
		got := tree(r)
		r.End()
		if diff := cmp.Diff(want, got); diff != "" || r.Err() != nil {
			t.Errorf("%s (%v):\n%s", text, r.Err(), diff)
		}
	}
}

func TestCBORRefuses(t *testing.T) {
	for _, text := range []string{
		"", "18", "19 03", "1b 00", "1c", "1d", "1e", "1f", "3f", "5c", "41", "43 01 02", "5b ff ff ff ff ff ff ff ff", "5f", "5f 41", "5f 41 01", "5f 61 61 ff", "5f 5f 41 01 ff ff", "61", "61 ff", "7f 61",
		"7f 41 01 ff", "81", "82 01", "9f", "9f 01", "9b ff ff ff ff ff ff ff ff", "a1", "a1 61 61", "a1 01 02", "bf", "bf 61 61", "bf 61 61 ff", "bf 01 02 ff", "bb 7f ff ff ff ff ff ff ff",
		"c1", "c1 c1", "df", "f8", "f8 20", "fc", "ff", "00 00", "a0 00", "81 ff", "fb 00", strings.Repeat("81", depthMax+1) + "00", strings.Repeat("9f", 1<<16), strings.Repeat("c1", 1<<16),
	} {
		r := NewCBOR(unhex(t, text))
		tree(r)
		r.End()
		var syntax *SyntaxError
		var misfit *TypeError
		if !errors.As(r.Err(), &syntax) && !errors.As(r.Err(), &misfit) {
			t.Errorf("%.40s: error %v", text, r.Err())
		}
	}
}

func TestCBORTimes(t *testing.T) {
	for text, want := range map[string]int64{"c1 1b 00 00 01 8b cf e5 68 7b": 1700000000123, "c1 fb 41 d9 54 fc 40 07 df 3b": 1700000000123, "1b 00 00 01 8b cf e5 68 7b": 1700000000123} {
		r := NewCBOR(unhex(t, text))
		if got := r.Time(); got != want || r.Err() != nil {
			t.Errorf("%s was read as %d (%v), want %d", text, got, r.Err(), want)
		}
	}
}

// FuzzCBOR reads what another implementation accepts, and sees the same in it.
func FuzzCBOR(f *testing.F) {
	for _, s := range []string{"a26161016162820203", "bf61619f0203ffff", "5f42010243030405ff", "c11a514b67b0", "fb3ff199999999999a", "d818456449455446"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := NewCBOR(bytes.Clone(text))
		got := tree(r)
		if r.Err() != nil {
			// The other one makes room for whatever length it is told, and goes as deep as it is led.
			if len(text) > 64 || slices.ContainsFunc(text, func(b byte) bool { return b&0x1f > 24 && b&0x1f < 28 }) {
				return
			}
			ours := strings.Contains(r.Err().Error(), "not UTF-8") || strings.Contains(r.Err().Error(), "nest too deep") // which it does not mind
			if other, err := cbor.Decode(text); err == nil && !ours {
				t.Errorf("%x was refused: %v; it is %v", text, r.Err(), other)
			}
			return
		}
		if r.End(); r.Err() != nil {
			return
		}
		other, err := cbor.Decode(text)
		if err != nil {
			return // it knows fewer simple values, and no text of another form
		}
		if want, ok := fromSmithy(other); ok && !reflect.DeepEqual(want, got) { // cmp takes twice as long for each level of lists
			t.Errorf("%x was read as %#v, want %#v", text, got, want)
		}
	})
}

// fromSmithy turns a value of the other implementation into one of tree. It reports false for what is read differently on purpose.
func fromSmithy(v cbor.Value) (any, bool) {
	switch v := v.(type) {
	case cbor.Uint:
		return int64(min(uint64(v), math.MaxInt64)), true
	case cbor.NegInt:
		return int64(-1) - int64(min(uint64(v)-1, math.MaxInt64)), uint64(v) != 0 // the whole range's end wraps there
	case cbor.Slice:
		return []byte(v), len(v) > 0
	case cbor.String:
		return string(v), true
	case cbor.Bool:
		return bool(v), true
	case *cbor.Nil, *cbor.Undefined:
		return nil, true
	case *cbor.Tag:
		return fromSmithy(v.Value)
	case cbor.Float32:
		return clamp(float64(v)), true
	case cbor.Float64:
		return clamp(float64(v)), true
	case cbor.List:
		all := []any{}
		for _, e := range v {
			one, ok := fromSmithy(e)
			if !ok {
				return nil, false
			}
			all = append(all, one)
		}
		return all, true
	case cbor.Map:
		all := map[string]any{}
		for name, e := range v {
			one, ok := fromSmithy(e)
			if !ok {
				return nil, false
			}
			all[name] = one
		}
		return all, true
	}
	return nil, false
}
