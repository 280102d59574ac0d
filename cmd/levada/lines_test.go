package main

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func readLines(t interface{ Fatal(...any) }, r io.Reader) (lines []string, long int) {
	in := newLineReader(r)
	for {
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return lines, long
		case errors.Is(err, errLongLine):
			long++
		case err != nil:
			t.Fatal(err)
		default:
			lines = append(lines, string(line))
		}
	}
}

func TestLinesAgreeWithSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\n\r")), 0, 200, -1).Draw(t, "text")
		want := strings.Split(text, "\n")
		if last := len(want) - 1; want[last] == "" {
			want = want[:last]
		}
		got, _ := readLines(t, iotest.OneByteReader(strings.NewReader(text)))
		if diff := cmp.Diff(want, got, cmpEmpty()); diff != "" {
			t.Fatalf("lines of %q:\n%s", text, diff)
		}
	})
}

func cmpEmpty() cmp.Option {
	return cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
}

func TestLongLines(t *testing.T) {
	largest := strings.Repeat("x", lineBytesMax)
	for _, end := range []string{"", "\n", "\nnext", "\nnext\n"} {
		got, long := readLines(t, strings.NewReader("first\n"+largest+end))
		if len(got) < 2 || long != 0 || got[1] != largest {
			t.Errorf("a line of the largest size before %q: %d lines, %d too long", end, len(got), long)
		}
		got, long = readLines(t, strings.NewReader("first\n"+largest+"y"+end))
		want := 1
		if strings.Contains(end, "next") {
			want = 2
		}
		if len(got) != want || long != 1 {
			t.Errorf("a line beyond the largest size before %q: %d lines, %d too long", end, len(got), long)
		}
	}
}

func TestLineReaderReportsErrors(t *testing.T) {
	broken := errors.New("broken")
	in := newLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if line, err := in.next(); string(line) != "a" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := in.next(); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestJSONPath(t *testing.T) {
	const document = `{"a":{"b":[10,{"c":"deep"},true,null]},"k e":"spaced","n":1.50,"s":"ü","a.b":"dotted","skip":[1,[2],{"x":3}],"last":"z"}`
	for _, tc := range []struct{ path, want string }{
		{"$.n", "1.50"},
		{"n", "1.50"},
		{"$.s", "ü"},
		{"$.a.b[0]", "10"},
		{"$.a.b[1].c", "deep"},
		{"$.a.b[2]", "true"},
		{`$["k e"]`, "spaced"},
		{`$["a.b"]`, "dotted"},
		{"$.last", "z"},
	} {
		path, err := parseJSONPath(tc.path)
		if err != nil {
			t.Errorf("%s: %v", tc.path, err)
			continue
		}
		if got, err := path.find([]byte(document)); got != tc.want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", tc.path, got, err, tc.want)
		}
	}
	for _, text := range []string{"$.a", "$.a.b", "$.a.b[3]", "$.a.b[9]", "$.x", "$.n.x", "$[0]", "$.a.b.c"} {
		path, err := parseJSONPath(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := path.find([]byte(document)); err == nil {
			t.Errorf("%s: finds %q", text, got)
		}
	}
	for _, text := range []string{"", "$", "$.", "$..a", "$.a[", "$.a[x]", "$.a[-1]", `$["a`, `$["a"`, "$.a[1]b"} {
		if path, err := parseJSONPath(text); err == nil {
			t.Errorf("%q is taken for %+v", text, path)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	f.Add("$.a.b[0]", []byte(`{"a":{"b":["x"]}}`))
	f.Add(`$["a\"b"]`, []byte(`{"a\"b":1}`))
	f.Add("a", []byte(`{"a":`))
	f.Fuzz(func(t *testing.T, text string, document []byte) {
		path, err := parseJSONPath(text)
		if err != nil {
			return
		}
		if len(path) == 0 {
			t.Fatalf("%q gives a path without steps", text)
		}
		value, err := path.find(document)
		if err == nil && len(value) > 0 && bytes.IndexByte(document, '{') < 0 && bytes.IndexByte(document, '[') < 0 {
			t.Fatalf("%q finds %q in %q, which has no members", text, value, document)
		}
	})
}

// given is a flag's value, nil if it is not given.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func TestKeyFieldTakesTextOnly(t *testing.T) {
	path, err := parseJSONPath("$.u")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ line, want, says string }{
		{`{"u":"\ud83d\ude00"}`, "😀", ""},
		{`{"u":"\uD83D\uDE00x\u00fc"}`, "😀xü", ""},
		{`{"u":"\\ud800"}`, `\ud800`, ""},
		{`{"u":"a\"\\\u0041"}`, `a"\A`, ""},
		{`{"u":"\ufffd�"}`, "��", ""},
		{`{"v":"\ud800","u":"a"}`, "a", ""},
		{` {"u" : "a"} ` + "\r", "a", ""},
		{`{"u":"\ud800"}`, "", "surrogate"},
		{`{"u":"\ud800\ud800"}`, "", "surrogate"},
		{`{"u":"\ude00\ud83d"}`, "", "surrogate"},
		{`{"u":"\ud83dx"}`, "", "surrogate"},
		{`{"u":"\ud83d\n"}`, "", "surrogate"},
		{"{\"u\":\"\xff\"}", "", "UTF-8"},
		{`{"u":"a"} x`, "", "after top-level value"},
		{`{"u":"a"}{}`, "", "after top-level value"},
		{`{"u":"a"`, "", "not JSON"},
		{`{"u":"a",}`, "", "not JSON"},
		{``, "", "not JSON"},
	} {
		got, err := path.find([]byte(tc.line))
		if got != tc.want || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %q, %v; want %q, an error about %q", tc.line, got, err, tc.want, tc.says)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, tc := range []struct {
		name, field, expression, constant, line, want string
	}{
		{"field", "$.u", "", "", `{"u":"ada"}`, "ada"},
		{"group", "", `^(\w+) (\w+)`, "", "ada lovelace", "ada"},
		{"whole match", "", `\d+`, "", "id 42 x", "42"},
		{"constant", "", "", "k", "anything", "k"},
		{"256 characters", "", ".*", "", strings.Repeat("ü", 256), strings.Repeat("ü", 256)},
		{"257 characters", "", ".*", "", strings.Repeat("ü", 257), ""},
		{"empty key", "", "x*", "", "abc", ""},
		{"no match", "", `\d+`, "", "abc", ""},
		{"not text", "", ".*", "", "\xff\xfe", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			keys, err := newKeyer(given(tc.field), given(tc.expression), given(tc.constant))
			if err != nil {
				t.Fatal(err)
			}
			got, err := keys([]byte(tc.line))
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
	for _, flags := range [][3]string{{"a", "b", ""}, {"", "(", ""}, {"$..", "", ""}, {"", "", strings.Repeat("x", 257)}, {"", "", "\xff"}} {
		if _, err := newKeyer(given(flags[0]), given(flags[1]), given(flags[2])); exitCode(err) != exitUsage {
			t.Errorf("%q: error %v is no usage error", flags, err)
		}
	}
	nothing := ""
	for flag, flags := range map[string][3]*string{"--key-field": {&nothing, nil, nil}, "--key-regex": {nil, &nothing, nil}, "--key": {nil, nil, &nothing}} {
		_, err := newKeyer(flags[0], flags[1], flags[2])
		if exitCode(err) != exitUsage || !strings.HasPrefix(err.Error(), flag+":") {
			t.Errorf("%s given as nothing: error %v", flag, err)
		}
	}
	keys, err := newKeyer(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 100 {
		key, err := keys([]byte("same"))
		if err != nil || !regexp.MustCompile(`^[0-9a-z]{1,13}$`).MatchString(key) {
			t.Fatalf("random key %q, %v", key, err)
		}
		seen[key] = true
	}
	if len(seen) != 100 {
		t.Errorf("only %d different keys in 100", len(seen))
	}
}
