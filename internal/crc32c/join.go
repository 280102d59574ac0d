// Package crc32c joins CRC32C checksums, so that bytes that were read once for
// a checksum need not be read again for that of a larger whole.
//
// Everything here is a pure function.
package crc32c

import "hash/crc32"

// Join returns the checksum of bytes with checksum a, followed by n bytes with
// checksum b. n is from 0 to 2^40. It takes about as long as a checksum of a few kilobytes.
//
// A CRC is the remainder of its input as a polynomial over GF(2). Behind n more
// bytes the first part counts for its remainder times x^(8n), and the two parts
// add up. (Mark Adler describes this for zlib's crc32_combine.)
func Join(a, b uint32, n int) uint32 {
	for k, bits := 0, uint64(n)*8; bits > 0; k, bits = k+1, bits>>1 {
		if bits&1 != 0 {
			a = times(a, squares[k])
		}
	}
	return a ^ b
}

// squares holds x^(2^k) modulo the polynomial.
var squares = func() (all [44]uint32) {
	all[0] = 1 << 30 // x; the highest bit is x^0
	for k := 1; k < len(all); k++ {
		all[k] = times(all[k-1], all[k-1])
	}
	return all
}()

// times multiplies two polynomials modulo the checksum's, all with the
// coefficient of x^0 in the highest bit.
func times(a, b uint32) uint32 {
	product := uint32(0)
	for ; a != 0; a <<= 1 {
		if a>>31 != 0 {
			product ^= b
		}
		carry := b & 1
		b = b>>1 ^ crc32.Castagnoli*carry
	}
	return product
}
