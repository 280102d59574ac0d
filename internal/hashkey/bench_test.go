package hashkey

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkFromPartitionKey hashes a key as usual, and the longest there is.
func BenchmarkFromPartitionKey(b *testing.B) {
	for _, size := range []int{13, 256} {
		b.Run(fmt.Sprintf("key=%dB", size), func(b *testing.B) {
			key := bytes.Repeat([]byte("k"), size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				FromPartitionKey(key)
			}
		})
	}
}

// BenchmarkContains asks of one of 16 ranges, as a leader does for each record.
func BenchmarkContains(b *testing.B) {
	r := SplitEven(16)[7]
	k := r.Start
	b.ReportAllocs()
	for b.Loop() {
		if !r.Contains(k) {
			b.Fatal("not in its own range")
		}
	}
}
