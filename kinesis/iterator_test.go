package kinesis

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestIteratorRoundTrip(t *testing.T) {
	for _, want := range []iterator{
		{stream: "a", issued: time.Unix(0, 1)},
		{ordinal: math.MaxUint64, issued: time.Unix(1_700_000_000, 999_999_999), streamID: math.MaxUint64, shard: math.MaxUint32, stream: strings.Repeat("n", 128)},
	} {
		text := want.String()
		if len(text) > 512 {
			t.Errorf("%d characters", len(text))
		}
		for _, given := range []string{text, `"` + text + `"`} {
			got, err := parseIterator(given)
			if err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
	}
}

// TestIteratorGolden holds the format: iterators are given to one node and used at another, perhaps of another release.
func TestIteratorGolden(t *testing.T) {
	it := iterator{ordinal: 0x0102030405060708, issued: time.Unix(0, 0x1112131415161718), streamID: 0x2122232425262728, shard: 0x31323334, stream: "orders"}
	const want = "AQECAwQFBgcIERITFBUWFxghIiMkJSYnKDEyMzRvcmRlcnP6MeMe"
	if got := it.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIteratorRefuses(t *testing.T) {
	sound := iterator{ordinal: 7, issued: time.Unix(1, 0), stream: "a"}.String()
	texts := []string{"", `"`, `""`, "nonsense", "AAAA", sound + "A", sound[1:], strings.Repeat("A", 512), sound + "="}
	for i := range sound {
		flipped := []byte(sound)
		if flipped[i]++; flipped[i] == '[' || flipped[i] == '{' || flipped[i] == ':' || flipped[i] == '.' || flipped[i] == '`' {
			flipped[i] = 'A'
		}
		texts = append(texts, string(flipped))
	}
	for _, text := range texts {
		if it, err := parseIterator(text); err == nil {
			t.Errorf("%q was read as %+v", text, it)
		}
	}
}

func TestIteratorsExpire(t *testing.T) {
	issued := time.Unix(1_700_000_000, 0)
	it := iterator{issued: issued, stream: "a"}
	if err := it.checkAge(issued.Add(iteratorLife)); err != nil {
		t.Error(err)
	}
	err := it.checkAge(issued.Add(iteratorLife + time.Millisecond))
	var e *apiError
	if !errors.As(err, &e) || e.code != codeExpiredIterator || !strings.Contains(e.message, "300000 milliseconds") {
		t.Errorf("got %v", err)
	}
}

func TestTokens(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	want := nextToken{Of: "ListShards", Stream: "a", ID: 3, After: "17", Filter: "AT_LATEST", At: 5, Issued: now.UnixMilli()}
	got, err := parseToken(want.String(), "ListShards", now.Add(tokenLife))
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, c := range map[string]struct {
		text, of string
		at       time.Time
		code     string
	}{
		"another operation": {want.String(), "ListStreams", now, codeInvalidArgument},
		"nonsense":          {"x", "ListShards", now, codeInvalidArgument},
		"empty":             {"", "ListShards", now, codeInvalidArgument},
		"old":               {want.String(), "ListShards", now.Add(tokenLife + time.Second), codeExpiredToken},
	} {
		_, err := parseToken(c.text, c.of, c.at)
		var e *apiError
		if !errors.As(err, &e) || e.code != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

func FuzzParseIterator(f *testing.F) {
	f.Add(iterator{ordinal: 1, issued: time.Unix(1, 2), streamID: 3, shard: 4, stream: "a"}.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		it, err := parseIterator(text)
		if err != nil {
			return
		}
		if again, err := parseIterator(it.String()); err != nil || again != it {
			t.Errorf("%q: %+v, then %+v, %v", text, it, again, err)
		}
	})
}
