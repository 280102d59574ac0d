package codec

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type named struct {
	StreamName *string `is:"len=1:5;match=name"`
}

type inner struct {
	Key   *string `is:"required;len=1:3"`
	Value *int64  `is:"range=1:10"`
}

type sample struct {
	named
	Count   *int64 `is:"required;range=1:100"`
	On      *bool
	At      *Time
	Data    []byte            `is:"required;len=0:4"`
	List    []string          `is:"len=1:2;item=1:3;enum=colour"`
	Inner   *inner            `is:"required"`
	Inners  []inner           `is:"len=0:3"`
	Table   map[string]string `is:"len=0:2;key=1:2;item=0:3"`
	Mode    *string           `is:"enum=colour"`
	Ignored *string
}

func text(s string) *string { return &s }

func number(n int64) *int64 { return &n }

func TestStructsRoundTripInBothFormats(t *testing.T) {
	at, on := Time(1700000000123), true
	want := &sample{
		named: named{text("abc")}, Count: number(7), On: &on, At: &at, Data: []byte{0, 255}, List: []string{"red", "blue"}, Inner: &inner{Key: text("k")},
		Inners: []inner{{Key: text("a"), Value: number(1)}, {}}, Table: map[string]string{"b": "2", "a": "\"\n\x01é\u2028"},
	}
	for name, f := range map[string]struct {
		write func([]byte) Writer
		read  func([]byte) Reader
	}{"JSON": {NewJSONWriter, NewJSON}, "CBOR": {NewCBORWriter, NewCBOR}} {
		// Output structs have no embedded ones, so what is embedded is written as an object of its own and read by hand here.
		w := f.write(nil)
		Encode(w, &struct {
			StreamName *string
			Count      *int64
			On         *bool
			At         *Time
			Data       []byte
			List       []string
			Inner      *inner
			Inners     []inner
			Table      map[string]string
			Mode       *string
		}{want.StreamName, want.Count, want.On, want.At, want.Data, want.List, want.Inner, want.Inners, want.Table, want.Mode})
		body := w.Bytes()
		if name == "JSON" && !json.Valid(body) {
			t.Errorf("no JSON: %s", body)
		}
		got := new(sample)
		if err := Decode(f.read(bytes.Clone(body)), got); err != nil {
			t.Fatalf("%s: %v: %q", name, err, body)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestBodiesAreWrittenByteByByte(t *testing.T) {
	out := &struct {
		A string
		B []int64
		C *Time
		D []byte
		E *string
		F bool
		G struct{ H int64 }
		I float64
		T Time
	}{A: "x", B: []int64{-1, 300}, D: []byte("hi"), F: true, I: 1.5, T: 5}
	w := NewJSONWriter(nil)
	Encode(w, out)
	if got, want := string(w.Bytes()), `{"A":"x","B":[-1,300],"D":"aGk=","F":true,"G":{"H":0},"I":1.5,"T":0.005}`; got != want {
		t.Errorf("JSON\n got %s\nwant %s", got, want)
	}
	w = NewCBORWriter(nil)
	Encode(w, out)
	want := unhex(t, "bf 6141 6178 6142 9f 20 19012c ff 6144 426869 6146 f5 6147 bf 6148 00 ff 6149 fb3ff8000000000000 6154 c105 ff")
	if !bytes.Equal(w.Bytes(), want) {
		t.Errorf("CBOR\n got %x\nwant %x", w.Bytes(), want)
	}
}

func TestNullAndUnknownMembersArePassedOver(t *testing.T) {
	got := new(sample)
	err := Decode(NewJSON([]byte(`{"Count":null,"Nothing":{"a":[1]},"Ignored":"x","List":[null,"a"],"count":5}`)), got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&sample{Ignored: text("x"), List: []string{"", "a"}}, got, cmp.AllowUnexported(sample{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeNeedsAnObjectAndNothingMore(t *testing.T) {
	for _, body := range []string{``, `[]`, `"a"`, `null`, `{}{}`, `{"Count":"a"}`, `{"Inner":[]}`, `{"List":{}}`, `{"Table":{"a":1}}`} {
		if err := Decode(NewJSON([]byte(body)), new(sample)); err == nil {
			t.Errorf("%s was taken", body)
		}
	}
}

func TestConstraintsAreWordedAsTheServiceDoes(t *testing.T) {
	rules := NewRules(map[string]string{"name": `[a-z]+`}, map[string][]string{"colour": {"red", "blue"}})
	sound := func() *sample {
		return &sample{Count: number(1), Data: []byte{}, Inner: &inner{Key: text("k")}}
	}
	if found := rules.Validate(sound()); len(found) != 0 {
		t.Errorf("a sound input: %q", found)
	}
	for _, c := range []struct {
		name   string
		change func(*sample)
		want   []string
	}{
		{"nothing", func(s *sample) { *s = sample{} }, []string{
			"Value null at 'count' failed to satisfy constraint: Member must not be null",
			"Value null at 'data' failed to satisfy constraint: Member must not be null",
			"Value null at 'inner' failed to satisfy constraint: Member must not be null",
		}},
		{"embedded", func(s *sample) { s.StreamName = text("ABCDEF") }, []string{
			"Value 'ABCDEF' at 'streamName' failed to satisfy constraint: Member must have length less than or equal to 5",
			"Value 'ABCDEF' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+",
		}},
		{"partly fitting", func(s *sample) { s.StreamName = text("a b") }, []string{
			"Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+",
		}},
		{"low", func(s *sample) { s.Count = number(0) }, []string{"Value '0' at 'count' failed to satisfy constraint: Member must have value greater than or equal to 1"}},
		{"high", func(s *sample) { s.Count = number(101) }, []string{"Value '101' at 'count' failed to satisfy constraint: Member must have value less than or equal to 100"}},
		{"blob", func(s *sample) { s.Data = make([]byte, 5) }, []string{
			"Value 'java.nio.HeapByteBuffer[pos=0 lim=5 cap=5]' at 'data' failed to satisfy constraint: Member must have length less than or equal to 4",
		}},
		{"list", func(s *sample) { s.List = []string{"red", "green", ""} }, []string{
			"Value '[3 elements]' at 'list' failed to satisfy constraint: Member must have length less than or equal to 2",
			"Value 'green' at 'list.2.member' failed to satisfy constraint: Member must have length less than or equal to 3",
			"Value 'green' at 'list.2.member' failed to satisfy constraint: Member must satisfy enum value set: [red, blue]",
			"Value '' at 'list.3.member' failed to satisfy constraint: Member must have length greater than or equal to 1",
			"Value '' at 'list.3.member' failed to satisfy constraint: Member must satisfy enum value set: [red, blue]",
		}},
		{"inner", func(s *sample) { s.Inner = &inner{Value: number(11)} }, []string{
			"Value null at 'inner.key' failed to satisfy constraint: Member must not be null",
			"Value '11' at 'inner.value' failed to satisfy constraint: Member must have value less than or equal to 10",
		}},
		{"list of structures", func(s *sample) { s.Inners = []inner{{Key: text("a")}, {}} }, []string{
			"Value null at 'inners.2.member.key' failed to satisfy constraint: Member must not be null",
		}},
		{"map", func(s *sample) { s.Table = map[string]string{"abc": "x", "b": "toolong"} }, []string{
			"Value 'abc' at 'table.abc.key' failed to satisfy constraint: Member must have length less than or equal to 2",
			"Value 'toolong' at 'table.b.member' failed to satisfy constraint: Member must have length less than or equal to 3",
		}},
		{"UTF-16", func(s *sample) { s.Inner = &inner{Key: text("😀😀")} }, []string{
			"Value '😀😀' at 'inner.key' failed to satisfy constraint: Member must have length less than or equal to 3",
		}},
	} {
		in := sound()
		c.change(in)
		if diff := cmp.Diff(c.want, rules.Validate(in)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestLongValuesAreCutInMessages(t *testing.T) {
	rules := NewRules(map[string]string{"name": `[a-z]+`}, nil)
	found := rules.Validate(&named{text(strings.Repeat("é", 100_000))})
	for _, f := range found {
		if len(f) > 600 {
			t.Errorf("a message of %d bytes", len(f))
		}
	}
	if len(found) != 2 {
		t.Errorf("%d violations", len(found))
	}
}
