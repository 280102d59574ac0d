package record

import "hash/crc32"

// PayloadChecksum returns the CRC32C of whole batches back to back. It reads the
// checksums that they carry and not their bytes: bytes that changed since these
// were computed do not match it, as they should not.
func PayloadChecksum(batches [][]byte) uint32 {
	sum := uint32(0)
	for _, b := range batches {
		sum = join(sum, crc32.Checksum(b[:offFlags], castagnoli), offFlags)
		sum = join(sum, Batch(b).Checksum(), len(b)-offFlags)
	}
	return sum
}

// join returns the checksum of bytes with checksum a, followed by n bytes with checksum b.
//
// A CRC is the remainder of its input as a polynomial over GF(2). Behind n more
// bytes the first part counts for its remainder times x^(8n), and the two parts
// add up. (Mark Adler describes this for zlib's crc32_combine.)
func join(a, b uint32, n int) uint32 {
	for k, bits := 0, 8*n; bits > 0 && k < len(squares); k, bits = k+1, bits>>1 {
		if bits&1 != 0 {
			a = times(a, squares[k])
		}
	}
	return a ^ b
}

// squares holds x^(2^k) modulo the polynomial: 27 bits count the bits of the largest batch.
var squares = func() (all [28]uint32) {
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
