package client

import (
	"testing"
	"time"

	"github.com/levada-stream/levada/wal/record"
)

// TestLaneTake tells when an open batch leaves, by what is on the way.
func TestLaneTake(t *testing.T) {
	now := time.Unix(1_000, 0)
	for name, tc := range map[string]struct {
		bytes    int
		age      time.Duration
		linger   time.Duration
		inFlight int
		urgent   bool
		leaves   bool
		waits    time.Duration // if it does not leave
	}{
		"nothing on the way":                           {bytes: 100, linger: time.Millisecond, leaves: true},
		"small, one on the way":                        {bytes: 100, age: time.Hour, linger: time.Millisecond, inFlight: 1},
		"small, one on the way, flushed":               {bytes: 100, linger: time.Millisecond, inFlight: 1, urgent: true, leaves: true},
		"small, one on the way, never wait":            {bytes: 100, linger: -1, inFlight: 1, leaves: true},
		"64 KiB, one on the way":                       {bytes: smallBytes, linger: time.Millisecond, inFlight: 1, waits: time.Millisecond},
		"64 KiB, one on the way, has waited":           {bytes: smallBytes, age: time.Millisecond, linger: time.Millisecond, inFlight: 1, leaves: true},
		"64 KiB, one on the way, has waited in part":   {bytes: smallBytes, age: 3 * time.Millisecond, linger: 5 * time.Millisecond, inFlight: 1, waits: 2 * time.Millisecond},
		"a byte less than 64 KiB, many on the way":     {bytes: smallBytes - 1, age: time.Hour, linger: time.Millisecond, inFlight: inFlightMax - 1},
		"64 KiB, many on the way, flushed, very young": {bytes: smallBytes, linger: time.Hour, inFlight: inFlightMax - 1, urgent: true, leaves: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &batch{builder: record.NewBuilder(tc.bytes), born: now.Add(-tc.age), count: 1}
			rec := record.Record{Key: []byte("k"), Data: make([]byte, max(0, tc.bytes-100))}
			for b.builder.Len() < tc.bytes { // the length of the data takes a byte or more of its own
				rec.Data = append(rec.Data, 0)
				b.builder = record.NewBuilder(tc.bytes)
				if err := b.builder.Add(rec); err != nil {
					t.Fatal(err)
				}
			}
			if b.builder.Len() != tc.bytes {
				t.Fatalf("the batch has %d bytes, not %d", b.builder.Len(), tc.bytes)
			}
			l := &lane{p: &Producer{opts: ProducerOptions{Linger: tc.linger, BatchBytes: 256 << 10}}, open: b, urgent: tc.urgent}
			got, left := l.take(now, tc.inFlight)
			if (got == b) != tc.leaves || left != tc.waits {
				t.Errorf("left: %v, waits %v; want %v, %v", got == b, left, tc.leaves, tc.waits)
			}
			if got == nil && l.open != b {
				t.Error("the batch is gone though it did not leave")
			}
		})
	}
}
