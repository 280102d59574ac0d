package codec

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

func TestEventByteByByte(t *testing.T) {
	got := AppendEvent([]byte("before"), []Header{{":message-type", "event"}}, []byte("{}"))
	want := append([]byte("before"), unhex(t, "00000028 00000016 60470efd 0d 3a6d6573736167652d74797065 07 0005 6576656e74 7b7d b7184afc")...)
	if !bytes.Equal(got, want) {
		t.Fatalf("got %x, want %x", got, want)
	}
}

// TestEventsAreWhatClientsRead reads events with a client's own code, which checks both sums.
func TestEventsAreWhatClientsRead(t *testing.T) {
	var stream []byte
	headers := []Header{{":message-type", "event"}, {":event-type", "SubscribeToShardEvent"}, {"empty", ""}}
	payloads := [][]byte{{}, []byte("{}"), bytes.Repeat([]byte("x"), 1<<20)}
	for _, p := range payloads {
		stream = AppendEvent(stream, headers, p)
	}
	from, decoder := bytes.NewReader(stream), eventstream.NewDecoder()
	for i, p := range payloads {
		m, err := decoder.Decode(from, nil)
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		if !bytes.Equal(m.Payload, p) || len(m.Headers) != len(headers) {
			t.Errorf("event %d: %d bytes, %d headers", i, len(m.Payload), len(m.Headers))
		}
		for _, h := range headers {
			if v := m.Headers.Get(h.Name); v == nil || v.String() != h.Value {
				t.Errorf("event %d: header %s is %v", i, h.Name, v)
			}
		}
	}
	if from.Len() != 0 {
		t.Errorf("%d bytes are left", from.Len())
	}
}
