package codec

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/google/go-cmp/cmp"
)

// FuzzEvents writes events and has the SDK, which checks lengths and sums, read them.
func FuzzEvents(f *testing.F) {
	f.Add(":message-type", "event", ":event-type", "SubscribeToShardEvent", []byte(`{"Records":[]}`), []byte("before"))
	f.Add(":message-type", "exception", ":exception-type", "ResourceInUseException", []byte{}, []byte{})
	f.Add("n", "", strings.Repeat("n", 255), strings.Repeat("v", 65535), bytes.Repeat([]byte{0}, 300), []byte{0xff})
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, payload, before []byte) {
		headers := []Header{{name1, value1}, {name2, value2}}
		for _, h := range headers {
			if len(h.Name) == 0 || len(h.Name) > 255 || len(h.Value) > 65535 || name1 == name2 {
				return // no caller has such a header, and none has one twice
			}
		}
		b := AppendEvent(bytes.Clone(before), headers, payload)
		b = AppendEvent(b, headers[:1], nil)
		from, decoder := bytes.NewReader(bytes.TrimPrefix(b, before)), eventstream.NewDecoder()
		for _, want := range []struct {
			headers []Header
			payload []byte
		}{{headers, payload}, {headers[:1], nil}} {
			m, err := decoder.Decode(from, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.Payload, want.payload) || len(m.Headers) != len(want.headers) {
				t.Fatalf("%d bytes with %d headers, want %d with %d", len(m.Payload), len(m.Headers), len(want.payload), len(want.headers))
			}
			for i, h := range want.headers {
				if got := m.Headers[i]; got.Name != h.Name || got.Value.String() != h.Value {
					t.Errorf("header %+v, want %+v", got, h)
				}
			}
		}
		if from.Len() != 0 {
			t.Errorf("%d bytes are left", from.Len())
		}
	})
}

// everything has every kind of field that an operation's structs may have.
type everything struct {
	Text  *string
	Plain string
	Data  []byte
	Count *int64
	Flag  *bool
	At    *Time
	Tags  map[string]string
	List  []string
	Inner *nested
	Many  []nested
}

type nested struct {
	Text  *string
	Count int64
}

// FuzzDecode reads a struct from JSON or CBOR, writes it in both formats, and wants to read the same from either. Other implementations read
// what was written, too.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"Text":"a","Plain":"é","Data":"YmxvYg==","Count":-5,"Flag":true,"At":1700000000.123,"Tags":{"a":"b","":""},"List":["x",null],"Inner":{"Text":"\ud83d\ude00","Count":1.5},"Many":[{"Count":1},{},null]}`,
		`{"Text":null,"Unknown":[{"x":1}],"Data":"","List":[],"Many":[],"Tags":{}}`, `{"Count":9223372036854775808,"At":-0.001}`, `{"At":1e300}`, `{"Text":"\u0000\"\\"}`, `{}`,
	} {
		f.Add([]byte(s), false)
	}
	for _, s := range []string{"bf6454657874616164446174614401020304654361756e7401ff", "a2645465787462c3bc624174c11b0000018bcfe5687b", "a1644c69737482616160", "bf645461677361a0ff"} {
		f.Add(unhex(f, s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, inCBOR bool) {
		r := NewJSON(bytes.Clone(body))
		if inCBOR {
			r = NewCBOR(bytes.Clone(body))
		}
		var want everything
		if Decode(r, &want) != nil {
			return
		}
		if want.At != nil && (*want.At > 1<<50 || *want.At < -1<<50) {
			want.At = nil // JSON has times in seconds, which a float holds to the ms for 35,000 years
		}
		inJSON, binary := NewJSONWriter(nil), NewCBORWriter(nil)
		Encode(inJSON, &want)
		Encode(binary, &want)
		if !json.Valid(inJSON.Bytes()) {
			t.Fatalf("%q is no JSON", inJSON.Bytes())
		}
		if _, err := cbor.Decode(binary.Bytes()); err != nil {
			t.Fatalf("%x is no CBOR: %v", binary.Bytes(), err)
		}
		for name, r := range map[string]Reader{"JSON": NewJSON(inJSON.Bytes()), "CBOR": NewCBOR(binary.Bytes())} {
			var got everything
			if err := Decode(r, &got); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %q:\n%s", name, body, diff)
			}
		}
	})
}

// FuzzWriters writes values of all kinds and has other implementations read them.
func FuzzWriters(f *testing.F) {
	f.Add("text", []byte("blob"), int64(1), 1.5, int64(1700000000123), true)
	f.Add("\x00\x1f\"\\\n\r\t\u2028é😀\xff\xc3", []byte{}, int64(math.MinInt64), math.Copysign(0, -1), int64(-1), false)
	f.Add(strings.Repeat("é", 300), bytes.Repeat([]byte{0xff}, 70000), int64(math.MaxInt64), math.MaxFloat64, int64(math.MinInt64), true)
	f.Fuzz(func(t *testing.T, text string, blob []byte, n int64, x float64, ms int64, flag bool) {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return // JSON has none, and no member is one
		}
		write := func(w Writer) []byte {
			w.Begin(Object)
			w.Name(text)
			w.Begin(Array)
			w.Text(text)
			w.Blob(blob)
			w.Int(n)
			w.Float(x)
			w.Time(ms)
			w.Bool(flag)
			w.End(Array)
			w.End(Object)
			return w.Bytes()
		}
		// Both formats have the same text, in which what is not UTF-8 was replaced.
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var clean string
		if err := json.Unmarshal(quoted, &clean); err != nil {
			t.Fatal(err)
		}
		body := write(NewJSONWriter([]byte("before")))
		if !bytes.HasPrefix(body, []byte("before")) {
			t.Fatalf("what was there is now %.20q", body)
		}
		checkWrittenJSON(t, body[len("before"):], clean, blob, n, x, ms, flag)
		value, err := cbor.Decode(write(NewCBORWriter(nil)))
		if err != nil {
			t.Fatal(err)
		}
		list, ok := value.(cbor.Map)[clean].(cbor.List)
		if !ok || len(list) != 6 {
			t.Fatalf("got %v", value)
		}
		tag, _ := list[4].(*cbor.Tag)
		if list[0] != cbor.String(clean) || !bytes.Equal(list[1].(cbor.Slice), blob) || list[3] != cbor.Float64(x) || list[5] != cbor.Bool(flag) || tag == nil || tag.ID != 1 {
			t.Errorf("got %.300q", list)
		}
		for i, want := range map[cbor.Value]int64{list[2]: n, tag.Value: ms} {
			if got, ok := fromSmithy(i); ok && got != want {
				t.Errorf("got %v, want %d", got, want)
			}
		}
	})
}

func checkWrittenJSON(t *testing.T, body []byte, text string, blob []byte, n int64, x float64, ms int64, flag bool) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var all map[string][]any
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%.300q: %v", body, err)
	}
	list := all[text]
	if len(list) != 6 {
		t.Fatalf("got %.300q", body)
	}
	var data []byte
	quoted, _ := json.Marshal(list[1])
	if err := json.Unmarshal(quoted, &data); err != nil || !bytes.Equal(data, blob) {
		t.Errorf("the data are %.300q, %v", data, err)
	}
	whole, _ := list[2].(json.Number).Int64()
	fraction, _ := list[3].(json.Number).Float64()
	if list[0] != text || whole != n || fraction != x || list[5] != flag {
		t.Errorf("got %.300q", body)
	}
	if seconds := string(list[4].(json.Number)); millis(t, seconds) != ms || strings.ContainsAny(seconds, "eE") {
		t.Errorf("%d ms are %s seconds", ms, seconds)
	}
}

// millis turns seconds with up to three places into ms without a float.
func millis(t *testing.T, seconds string) int64 {
	t.Helper()
	whole, part, _ := strings.Cut(seconds, ".")
	ms, err := strconv.ParseInt(whole+part+"000"[len(part):], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return ms
}
