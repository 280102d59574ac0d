package crc32c

import (
	"fmt"
	"hash/crc32"
	"testing"
)

// BenchmarkJoin joins two checksums. The lengths have many bits set, which is the slow case.
func BenchmarkJoin(b *testing.B) {
	for _, kib := range []int{4, 64, 256} {
		b.Run(fmt.Sprintf("size=%dKiB", kib), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Join(1, 2, kib<<10-1)
			}
		})
	}
}

// BenchmarkChecksum is what joining saves: bytes read once more.
func BenchmarkChecksum(b *testing.B) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for _, kib := range []int{4, 64, 256} {
		b.Run(fmt.Sprintf("size=%dKiB", kib), func(b *testing.B) {
			data := make([]byte, kib<<10)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				crc32.Checksum(data, table)
			}
		})
	}
}
