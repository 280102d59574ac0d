package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrFrame is wrapped by every failure to decode what a peer sent.
var ErrFrame = errors.New("bad frame")

// headerSize is the length of the header before every frame's body.
const headerSize = 32

// frameKind says what a frame's body holds. Requests are below 64, responses from 64.
type frameKind uint8

const (
	kindHeartbeat       frameKind = 1
	kindAppend          frameKind = 2
	kindVote            frameKind = 3
	kindPreVote         frameKind = 4
	kindTimeoutNow      frameKind = 5
	kindInstallSnapshot frameKind = 6
	kindSnapshotChunk   frameKind = 7
	kindCall            frameKind = 8
	kindCallCancel      frameKind = 9

	kindAppendReply   frameKind = 64
	kindVoteReply     frameKind = 65
	kindPreVoteReply  frameKind = 66
	kindTimeoutReply  frameKind = 67
	kindInstallReply  frameKind = 68
	kindInstallAlive  frameKind = 69 // the receiver of a snapshot is still at work
	kindCallReply     frameKind = 70
	kindErrorReply    frameKind = 71
	firstResponseKind           = kindAppendReply
)

// header is the fixed part of a frame.
type header struct {
	kind    frameKind
	service uint8 // calls only
	group   uint64
	request uint64 // chosen by the requester, repeated by the response
	length  uint32 // of the body
	bodyCRC uint32
	summed  bool // bodyCRC is set already; not on the wire
}

// checksums are CRC32C throughout.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHeader appends h's 32 bytes to dst.
func appendHeader(dst []byte, h header) []byte {
	n := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, h.length)
	dst = append(dst, byte(h.kind), h.service, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.group)
	dst = binary.LittleEndian.AppendUint64(dst, h.request)
	dst = binary.LittleEndian.AppendUint32(dst, h.bodyCRC)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[n:n+28], castagnoli))
}

// parseHeader decodes and checks a header. maxFrame bounds the body of the kinds that have no smaller bound.
func parseHeader(b []byte, maxFrame int) (header, error) {
	if len(b) < headerSize {
		return header{}, fmt.Errorf("%w: header of %d bytes", ErrFrame, len(b))
	}
	if crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
		return header{}, fmt.Errorf("%w: header checksum", ErrFrame)
	}
	h := header{
		length: binary.LittleEndian.Uint32(b), kind: frameKind(b[4]), service: b[5],
		group: binary.LittleEndian.Uint64(b[8:]), request: binary.LittleEndian.Uint64(b[16:]),
		bodyCRC: binary.LittleEndian.Uint32(b[24:]),
	}
	if b[6] != 0 || b[7] != 0 {
		return header{}, fmt.Errorf("%w: reserved bytes are not zero", ErrFrame)
	}
	low, high := bodyBounds(h.kind, maxFrame)
	if high < 0 {
		return header{}, fmt.Errorf("%w: unknown kind %d", ErrFrame, h.kind)
	}
	if int64(h.length) < int64(low) || int64(h.length) > int64(high) {
		return header{}, fmt.Errorf("%w: kind %d with a body of %d bytes, limits are %d to %d", ErrFrame, h.kind, h.length, low, high)
	}
	return h, nil
}

// bodyBounds returns the least and the greatest body length of a kind, -1 for an unknown kind.
func bodyBounds(k frameKind, maxFrame int) (low, high int) {
	switch k {
	case kindHeartbeat:
		return heartbeatBodySize, heartbeatBodySize
	case kindAppend:
		return appendFixedSize, maxFrame
	case kindVote, kindPreVote:
		return voteBodySize, voteBodySize
	case kindTimeoutNow, kindTimeoutReply, kindCallCancel, kindInstallAlive:
		return 0, 0
	case kindInstallSnapshot:
		return installFixedSize, 1 << 20
	case kindSnapshotChunk:
		return 1, snapshotChunkBytes
	case kindCall:
		return callFixedSize, maxFrame
	case kindCallReply:
		return 0, maxFrame
	case kindAppendReply:
		return appendReplySize, appendReplySize
	case kindVoteReply, kindPreVoteReply, kindInstallReply:
		return voteReplySize, voteReplySize
	case kindErrorReply:
		return errorFixedSize, errorBodyMax
	}
	return 0, -1
}

// checkBody verifies a body against its header.
func checkBody(h header, body []byte) error {
	if crc32.Checksum(body, castagnoli) != h.bodyCRC {
		return fmt.Errorf("%w: body checksum, kind %d", ErrFrame, h.kind)
	}
	return nil
}

// bodyChecksum returns the checksum of a body in parts.
func bodyChecksum(fixed []byte, data [][]byte) uint32 {
	sum := crc32.Checksum(fixed, castagnoli)
	for _, d := range data {
		sum = crc32.Update(sum, castagnoli, d)
	}
	return sum
}
