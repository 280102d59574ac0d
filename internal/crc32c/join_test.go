package crc32c

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func TestJoin(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	rng := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for range 300 {
		whole := data[:rng.IntN(1<<rng.IntN(22)+1)]
		at := rng.IntN(len(whole) + 1)
		a, b := crc32.Checksum(whole[:at], table), crc32.Checksum(whole[at:], table)
		if got, want := Join(a, b, len(whole)-at), crc32.Checksum(whole, table); got != want {
			t.Fatalf("%d bytes cut at %d: %#x, want %#x", len(whole), at, got, want)
		}
	}
}

// TestJoinIsAssociative reaches lengths that no buffer has.
func TestJoinIsAssociative(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		a, b, c := rng.Uint32(), rng.Uint32(), rng.Uint32()
		m, n := rng.IntN(1<<39), rng.IntN(1<<39)
		if left, right := Join(Join(a, b, m), c, n), Join(a, Join(b, c, n), m+n); left != right {
			t.Fatalf("%#x, %#x, %d, %#x, %d: %#x and %#x", a, b, m, c, n, left, right)
		}
	}
}
