package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// tree reads any value into what encoding/json with UseNumber makes of it.
func tree(r Reader) any {
	switch r.Kind() {
	case Null:
		r.Skip()
		return nil
	case Bool:
		return r.Bool()
	case Number:
		return r.Int()
	case Text:
		return string(r.Text())
	case Bytes:
		return bytes.Clone(r.Blob())
	case Array:
		all := []any{}
		for r.Open(Array); r.More(); {
			all = append(all, tree(r))
		}
		return all
	case Object:
		all := map[string]any{}
		for r.Open(Object); r.More(); {
			name := string(r.Name())
			all[name] = tree(r)
		}
		return all
	}
	r.Skip() // notes what is wrong
	return nil
}

func TestJSONReadsAsTheStandardLibraryDoes(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `12`, `-7`, `""`, `"a"`, ` { "a" : [ 1 , 2 ] , "b" : { } } `, "\t[\r\n1\n]",
		`"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\u20ac"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00"`, `"\ud83d\u0041"`, `"é€😀"`, `[[[[[[]]]]]]`, `{"a":{"b":{"c":[true,false,null]}}}`,
		`{"a":1,"a":2}`, `"a\\"`, `"\\\""`,
	} {
		checkJSON(t, []byte(text))
	}
}

// checkJSON holds the reader against encoding/json.
func checkJSON(t *testing.T, text []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var want any
	wantErr := d.Decode(&want)
	if wantErr == nil && d.More() {
		wantErr = errors.New("more follows")
	}
	r := NewJSON(bytes.Clone(text))
	got := tree(r)
	r.End()
	if r.Err() != nil {
		// We refuse more: what is not UTF-8, and what nests deeper.
		if wantErr == nil && json.Valid(text) && !bytes.Contains(text, []byte{0xff}) && depth(text) <= depthMax && validUTF8(text) {
			t.Errorf("%q was refused: %v", text, r.Err())
		}
		return
	}
	if wantErr != nil {
		t.Errorf("%q was read as %v; it is no JSON: %v", text, got, wantErr)
		return
	}
	if !same(got, want) {
		t.Errorf("%q was read as %#v, want %#v", text, got, want)
	}
}

func validUTF8(b []byte) bool { return strings.ToValidUTF8(string(b), "") == string(b) }

func depth(text []byte) (deepest int) {
	now := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			now++
		case ']', '}':
			now--
		}
		deepest = max(deepest, now)
	}
	return deepest
}

// same compares a tree with what encoding/json made, numbers as whole ones.
func same(got, want any) bool {
	switch w := want.(type) {
	case json.Number:
		f, _ := w.Float64()
		n, ok := got.(int64)
		if whole, err := w.Int64(); err == nil {
			return ok && n == whole
		}
		return ok && n == clamp(f)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(g[i], w[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for name := range w {
			if !same(g[name], w[name]) {
				return false
			}
		}
		return true
	}
	return got == want
}

func TestJSONRefuses(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{`, `[`, `"`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `[1,]`, `[,1]`, `[1 2]`, `{1:2}`, `{"a" 1}`, `{"a":1 "b":2}`, `tru`, `nul`, `fals`, `truex`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`,
		`"\x"`, `"\u12"`, `"\u12g4"`, "\"a\nb\"", "\"\xff\"", "\"\\n\xff\"", `[1]]`, `{} {}`, `'a'`, `{"a":1}x`, "\x00", `]`, `}`,
		strings.Repeat("[", depthMax+1) + strings.Repeat("]", depthMax+1), strings.Repeat("[", 1<<20),
	} {
		r := NewJSON([]byte(text))
		tree(r)
		r.End()
		var syntax *SyntaxError
		if !errors.As(r.Err(), &syntax) {
			t.Errorf("%.40q: error %v, want a syntax error", text, r.Err())
		}
	}
}

func TestJSONNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "9223372036854775807": math.MaxInt64, "9223372036854775808": math.MaxInt64, "-9223372036854775809": math.MinInt64,
		"1e400": math.MaxInt64, "-1e400": math.MinInt64, "2.9": 2, "-2.9": -2, "1E3": 1000, "1e-9": 0,
	} {
		r := NewJSON([]byte(text))
		if got := r.Int(); got != want || r.Err() != nil {
			t.Errorf("%s was read as %d (%v), want %d", text, got, r.Err(), want)
		}
	}
	for text, want := range map[string]int64{"1700000000": 1700000000000, "1700000000.123": 1700000000123, "1.7E9": 1700000000000, "0.0005": 1, "-1": -1000} {
		r := NewJSON([]byte(text))
		if got := r.Time(); got != want || r.Err() != nil {
			t.Errorf("the time %s was read as %d (%v), want %d", text, got, r.Err(), want)
		}
	}
}

func TestJSONBlobs(t *testing.T) {
	for text, want := range map[string]string{`""`: "", `"YQ=="`: "a", `"YWI="`: "ab", `"YWJj"`: "abc", `"YWJjZA=="`: "abcd", `"\/\/\/\/"`: "\xff\xff\xff", `"++++"`: "\xfb\xef\xbe"} {
		r := NewJSON([]byte(text))
		if got := r.Blob(); string(got) != want || r.Err() != nil {
			t.Errorf("%s was read as %q (%v), want %q", text, got, r.Err(), want)
		}
	}
	for _, text := range []string{`"Y"`, `"YQ="`, `"YQ"`, `"Y Q="`, `"YQ==YQ=="`, `"Y\nQ\n=\n="`, `"\n\n\n\n"`, `"-___"`, `"===="`, `"é"`} {
		r := NewJSON([]byte(text))
		got := r.Blob()
		var misfit *TypeError
		if !errors.As(r.Err(), &misfit) {
			t.Errorf("%s was read as %q, error %v", text, got, r.Err())
		}
	}
	// What is decoded lies where the text was; the rest of the body stays.
	r := NewJSON([]byte(`["YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=","YQ==","eno="]`))
	r.Open(Array)
	var all []string
	var kept [][]byte
	for r.More() {
		kept = append(kept, r.Blob())
	}
	for _, b := range kept {
		all = append(all, string(b))
	}
	if got := strings.Join(all, ","); got != "abcdefghijklmnopqrstuvwxyz,a,zz" || r.Err() != nil {
		t.Errorf("got %q, %v", got, r.Err())
	}
}

func TestMismatchesAreWordedAsTheServiceDoes(t *testing.T) {
	for _, c := range []struct {
		text string
		read func(Reader)
		want string
	}{
		{`true`, func(r Reader) { r.Text() }, "class java.lang.Boolean can not be converted to an String"},
		{`12`, func(r Reader) { r.Text() }, "class java.lang.Integer can not be converted to an String"},
		{`123456789012`, func(r Reader) { r.Text() }, "class java.lang.Long can not be converted to an String"},
		{`1.5`, func(r Reader) { r.Text() }, "class java.lang.Double can not be converted to an String"},
		{`"a"`, func(r Reader) { r.Int() }, "class java.lang.String can not be converted to an Integer"},
		{`"a"`, func(r Reader) { r.Bool() }, "class java.lang.String can not be converted to an Boolean"},
		{`[]`, func(r Reader) { r.Text() }, "Start of list found where not expected"},
		{`{}`, func(r Reader) { r.Text() }, "Start of structure or map found where not expected."},
		{`"a"`, func(r Reader) { r.Open(Array) }, "Unexpected field type"},
		{`1`, func(r Reader) { r.Open(Object) }, "Unexpected field type"},
		{`true`, func(r Reader) { r.Blob() }, "class java.lang.Boolean can not be converted to a Blob"},
		{`"abc"`, func(r Reader) { r.Blob() }, "'abc' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
	} {
		r := NewJSON([]byte(c.text))
		c.read(r)
		if r.Err() == nil || r.Err().Error() != c.want {
			t.Errorf("%s: %v, want %q", c.text, r.Err(), c.want)
		}
	}
}

func TestErrorsStick(t *testing.T) {
	for name, r := range map[string]Reader{"JSON": NewJSON([]byte(`{"a":x,"b":1}`)), "CBOR": NewCBOR([]byte("\xa2\x61a\x1c\x61b\x01"))} {
		r.Open(Object)
		r.More()
		r.Text()
		first := r.Err()
		if first == nil {
			t.Fatalf("%s: no error", name)
		}
		if r.More() || r.Kind() != None || r.Text() != nil || r.Blob() != nil || r.Int() != 0 || r.Bool() || r.Time() != 0 {
			t.Errorf("%s: something was read after an error", name)
		}
		r.Open(Array)
		r.Skip()
		r.End()
		r.Fail(errors.New("later"))
		if r.Err() != first {
			t.Errorf("%s: the error is %v, was %v", name, r.Err(), first)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",null,true,{"b":"YQ=="}]}`, `"\ud83d\ude00"`, `-1.5e3`, `{"StreamName":"a","Records":[{"Data":"YQ==","PartitionKey":"k"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkJSON(t, text) })
}

// TestTextsAreChecked puts one byte of each kind at each place of texts of several lengths.
func TestTextsAreChecked(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := bytes.Repeat([]byte{'a'}, length)
				text[at] = byte(c)
				r := &jsonReader{}
				if want := c >= ' ' && c < utf8.RuneSelf; r.checkText(text) != want {
					t.Fatalf("%q: %v", text, !want)
				}
			}
			if at+1 < length {
				text := bytes.Repeat([]byte{'a'}, length)
				copy(text[at:], "é")
				if !(&jsonReader{}).checkText(text) {
					t.Fatalf("%q is refused", text)
				}
				text[(at+2)%length] = '\n' // may cut the two bytes
				if (&jsonReader{}).checkText(text) {
					t.Fatalf("%q is taken", text)
				}
			}
		}
	}
}
