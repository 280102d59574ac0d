package record

import (
	"bytes"
	"hash/crc32"
	"testing"
)

func TestPayloadChecksum(t *testing.T) {
	var batches [][]byte
	var joined []byte
	for _, size := range []int{0, 1, 1000, MaxDataBytes} {
		b := NewBuilder(0)
		if err := b.Add(Record{Key: []byte("k"), Data: bytes.Repeat([]byte{7}, size)}); err != nil {
			t.Fatal(err)
		}
		batches = append(batches, b.Finish(ProducerID{1}, 1, false))
		joined = append(joined, batches[len(batches)-1]...)
		if got, want := PayloadChecksum(batches), crc32.Checksum(joined, castagnoli); got != want {
			t.Fatalf("%d batches: %#x, want %#x", len(batches), got, want)
		}
	}
	changed := bytes.Clone(batches[2])
	changed[100] ^= 1
	if got := PayloadChecksum([][]byte{changed}); got == crc32.Checksum(changed, castagnoli) {
		t.Error("a changed batch matches its checksum")
	}
}

func BenchmarkPayloadChecksum(b *testing.B) {
	builder := NewBuilder(0)
	if err := builder.Add(Record{Key: []byte("k"), Data: make([]byte, 256<<10)}); err != nil {
		b.Fatal(err)
	}
	batch := builder.Finish(ProducerID{1}, 1, false)
	b.Run("sum=carried", func(b *testing.B) {
		b.SetBytes(int64(len(batch)))
		for b.Loop() {
			PayloadChecksum([][]byte{batch})
		}
	})
	b.Run("sum=computed", func(b *testing.B) {
		b.SetBytes(int64(len(batch)))
		for b.Loop() {
			crc32.Checksum(batch, castagnoli)
		}
	})
}
