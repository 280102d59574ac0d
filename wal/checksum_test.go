package wal

import (
	"errors"
	"hash/crc32"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal/record"
)

// TestChecksumHandedOn: a block has the checksum that its batches carry, so that bytes which changed in
// memory before they were written are found when they are read.
func TestChecksumHandedOn(t *testing.T) {
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 1<<20)
	l := mustOpen(t, mem, o)
	good := testBlock(0, 3, 5000)
	good.Checksum = record.PayloadChecksum(good.Payload)
	if sum := crc32.Checksum(good.Payload[0], castagnoli); good.Checksum != sum {
		t.Fatalf("checksum %#x, want %#x", good.Checksum, sum)
	}
	bad := testBlock(3, 3, 5000)
	bad.Checksum = record.PayloadChecksum(bad.Payload)
	bad.Payload[0][3000] ^= 4
	for _, b := range []Block{good, bad} {
		if _, err := l.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, l)
	mustClose(t, l)
	if _, err := Open(mem, "log", o); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a log with a block that changed in memory opens with %v", err)
	}
}
