package wal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	// BlockHeaderSize is the length in bytes of a block header.
	BlockHeaderSize = 64

	magicBlock      = 0x4b42564c // "LVBK"
	maxPayloadBytes = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Chain is the cumulative hash of a log up to the end of a block.
type Chain [16]byte

// Position is a place between two blocks. The zero value is the start of an empty log.
type Position struct {
	Next  uint64 // ordinal of the next record
	Index uint64 // Raft index of the last block
	Time  int64  // time of the last block, ms since the Unix epoch
	Chain Chain  // hash of all blocks before
}

// Block is what one Raft entry added to the shard.
type Block struct {
	First uint64 // ordinal of the first record
	Count uint32 // records, at least 1
	Time  int64  // ms since the Unix epoch, never less than the block's before
	Index uint64 // Raft index, never less than the block's before
	Chain Chain  // hash after this block; Append computes it
	// Payload is the encoded batches, back to back; a block that comes from
	// disk has them in one slice. Not to be changed, by either side.
	Payload [][]byte
}

// End returns the ordinal after the block's last record.
func (b *Block) End() uint64 { return b.First + uint64(b.Count) }

// Bytes returns the length of the payload.
func (b *Block) Bytes() int {
	n := 0
	for _, p := range b.Payload {
		n += len(p)
	}
	return n
}

// blockHeader is the decoded form of the 64 bytes before a payload.
type blockHeader struct {
	length uint32 // of the payload
	crc    uint32 // of the payload
	first  uint64
	count  uint32
	time   int64
	index  uint64
	chain  Chain
}

func (h *blockHeader) end() uint64 { return h.first + uint64(h.count) }

func (h *blockHeader) position() Position {
	return Position{Next: h.end(), Index: h.index, Time: h.time, Chain: h.chain}
}

func (h *blockHeader) block(payload ...[]byte) Block {
	return Block{First: h.first, Count: h.count, Time: h.time, Index: h.index, Chain: h.chain, Payload: payload}
}

func (h *blockHeader) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, magicBlock)
	le.PutUint32(b[8:], h.length)
	le.PutUint32(b[12:], h.crc)
	le.PutUint64(b[16:], h.first)
	le.PutUint32(b[24:], h.count)
	le.PutUint32(b[28:], 0) // flags
	le.PutUint64(b[32:], uint64(h.time))
	le.PutUint64(b[40:], h.index)
	copy(b[48:], h.chain[:])
	le.PutUint32(b[4:], crc32.Checksum(b[8:BlockHeaderSize], castagnoli))
}

var (
	errMagic      = errors.New("no block starts here")
	errHeaderCRC  = errors.New("header checksum mismatch")
	errPayloadCRC = errors.New("payload checksum mismatch")
)

// decodeBlockHeader reads the first BlockHeaderSize bytes of b.
func decodeBlockHeader(b []byte) (blockHeader, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < BlockHeaderSize || le.Uint32(b) != magicBlock:
		return blockHeader{}, errMagic
	case le.Uint32(b[4:]) != crc32.Checksum(b[8:BlockHeaderSize], castagnoli):
		return blockHeader{}, errHeaderCRC
	case le.Uint32(b[28:]) != 0:
		return blockHeader{}, fmt.Errorf("unknown block flags %#x", le.Uint32(b[28:]))
	}
	h := blockHeader{
		length: le.Uint32(b[8:]),
		crc:    le.Uint32(b[12:]),
		first:  le.Uint64(b[16:]),
		count:  le.Uint32(b[24:]),
		time:   int64(le.Uint64(b[32:])),
		index:  le.Uint64(b[40:]),
		chain:  Chain(b[48:64]),
	}
	if h.length == 0 || h.length > maxPayloadBytes || h.count == 0 || h.end() < h.first {
		return blockHeader{}, fmt.Errorf("impossible block: %d bytes, %d records", h.length, h.count)
	}
	return h, nil
}

// follows checks that h comes next after p and that its chain hash is right.
func (h *blockHeader) follows(p Position) error {
	switch {
	case h.first != p.Next:
		return fmt.Errorf("first ordinal is %d, expected %d", h.first, p.Next)
	case h.time < p.Time:
		return fmt.Errorf("time %d is before %d", h.time, p.Time)
	case h.index < p.Index:
		return fmt.Errorf("raft index %d is before %d", h.index, p.Index)
	case h.chain != h.chainAfter(p.Chain):
		return errors.New("cumulative hash mismatch")
	}
	return nil
}

// chainAfter returns the hash of the log that ends with h and has prev before it.
func (h *blockHeader) chainAfter(prev Chain) Chain {
	var b [48]byte
	copy(b[:], prev[:])
	le := binary.LittleEndian
	le.PutUint64(b[16:], h.first)
	le.PutUint32(b[24:], h.count)
	le.PutUint64(b[28:], uint64(h.time))
	le.PutUint64(b[36:], h.index)
	le.PutUint32(b[44:], h.crc)
	sum := sha256.Sum256(b[:])
	return Chain(sum[:len(prev)])
}

func checkPayload(h *blockHeader, payload []byte) error {
	if crc32.Checksum(payload, castagnoli) != h.crc {
		return errPayloadCRC
	}
	return nil
}

// newBlockHeader describes b, all but its chain hash.
func newBlockHeader(b *Block) (blockHeader, error) {
	h := blockHeader{first: b.First, count: b.Count, time: b.Time, index: b.Index}
	n := b.Bytes()
	if n == 0 || n > maxPayloadBytes || b.Count == 0 || b.End() < b.First {
		return h, fmt.Errorf("%w: %d bytes, %d records from %d", ErrOrder, n, b.Count, b.First)
	}
	h.length = uint32(n)
	for _, p := range b.Payload {
		h.crc = crc32.Update(h.crc, castagnoli, p)
	}
	return h, nil
}
