package history_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/levada-stream/levada/tests/internal/history"
)

func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := history.Value{
			Producer: rapid.Uint32Min(1).Draw(t, "producer"),
			Key:      rapid.Uint32().Draw(t, "key"),
			Counter:  rapid.Uint64().Draw(t, "counter"),
		}
		size := rapid.IntRange(0, 5000).Draw(t, "size")
		payload := history.Encode(v, size)
		if len(payload) < size {
			t.Fatalf("%d bytes, want at least %d", len(payload), size)
		}
		if got, err := history.Decode(payload); err != nil || got != v {
			t.Fatalf("decoded as %v, %v; want %v", got, err, v)
		}
		payload[rapid.IntRange(0, len(payload)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := history.Decode(payload); err == nil {
			t.Fatalf("a changed payload decoded as %v", got)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(history.Encode(history.Value{Producer: 1, Key: 2, Counter: 3}, 100))
	f.Add([]byte("00000000 1 2 3 "))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if v, err := history.Decode(payload); err == nil && v.Producer == 0 {
			t.Fatalf("decoded as %v", v)
		}
	})
}
