package record

import (
	"hash/crc32"

	"github.com/levada-stream/levada/internal/crc32c"
)

// PayloadChecksum returns the CRC32C of whole batches back to back. It reads the
// checksums that they carry and not their bytes: bytes that changed since these
// were computed do not match it, as they should not.
func PayloadChecksum(batches [][]byte) uint32 {
	sum := uint32(0)
	for _, b := range batches {
		sum = crc32c.Join(sum, crc32.Checksum(b[:offFlags], castagnoli), offFlags)
		sum = crc32c.Join(sum, Batch(b).Checksum(), len(b)-offFlags)
	}
	return sum
}
