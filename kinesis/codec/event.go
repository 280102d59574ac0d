package codec

import (
	"encoding/binary"
	"hash/crc32"
)

// Header is one header of an event. Both are short: names to 255 bytes, values to 65,535.
type Header struct{ Name, Value string }

// textHeader is the type of a header whose value is a string.
const textHeader = 7

// AppendEvent appends one message of an event stream, of the media type application/vnd.amazon.eventstream:
//
//	offset  bytes
//	0       4      length of the whole message, big-endian as all numbers are
//	4       4      length of the headers
//	8       4      CRC32 (IEEE) of the 8 bytes before
//	12      ..     headers: length of the name (1), name, type 7 (1), length of the value (2), value
//	..      ..     payload
//	..      4      CRC32 of everything before
func AppendEvent(dst []byte, headers []Header, payload []byte) []byte {
	start, size := len(dst), 0
	for _, h := range headers {
		size += 1 + len(h.Name) + 1 + 2 + len(h.Value)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(12+size+len(payload)+4))
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
	for _, h := range headers {
		dst = append(append(dst, byte(len(h.Name))), h.Name...)
		dst = binary.BigEndian.AppendUint16(append(dst, textHeader), uint16(len(h.Value)))
		dst = append(dst, h.Value...)
	}
	dst = append(dst, payload...)
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
}
