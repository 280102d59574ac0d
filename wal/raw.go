package wal

import "fmt"

// ReadRaw returns blocks as they lie in a segment, header and payload back to
// back, from the one that holds the ordinal from, all of them wholly below the
// ordinal to, and the ordinal after them. maxBytes bounds the payloads as in
// Read. The bytes are a copy. They are nil at the end.
func (l *Log) ReadRaw(from, to uint64, maxBytes int) (raw []byte, next uint64, err error) {
	found, err := l.read(from, maxBytes)
	if err != nil {
		return nil, from, err
	}
	n, size := 0, 0
	for n < len(found) && found[n].end() <= to {
		size += BlockHeaderSize + int(found[n].length)
		n++
	}
	if n == 0 {
		return nil, from, nil
	}
	raw = make([]byte, 0, size)
	for _, b := range found[:n] {
		head := len(raw)
		raw = raw[:head+BlockHeaderSize]
		b.encode(raw[head:])
		for _, p := range b.payload {
			raw = append(raw, p...)
		}
		next = b.end()
	}
	return raw, next, nil
}

// AppendRaw appends blocks from another replica's ReadRaw. It checks all of
// them first, checksums and cumulative hashes, and appends none if one is wrong:
// *CorruptError for bad bytes, ErrOrder for blocks that do not follow the log's
// last, ErrDiverged if their history is another one. It keeps raw by reference.
func (l *Log) AppendRaw(raw []byte) (Position, error) {
	pos := l.Position()
	blocks, err := parseRaw(raw, pos)
	if err != nil {
		return Position{}, err
	}
	for _, b := range blocks {
		if pos, err = l.append(b.blockHeader, b.payload, true); err != nil {
			return Position{}, err
		}
	}
	return pos, nil
}

// parseRaw decodes and checks blocks that have to follow pos.
func parseRaw(raw []byte, pos Position) ([]memBlock, error) {
	var blocks []memBlock
	for off := 0; off < len(raw); {
		h, err := decodeBlockHeader(raw[off:])
		if err != nil {
			return nil, corrupt("", int64(off), "%v", err)
		}
		body := raw[off+BlockHeaderSize:]
		if uint64(len(body)) < uint64(h.length) {
			return nil, corrupt("", int64(off), "payload is cut short")
		}
		body = body[:h.length:h.length]
		if err := checkPayload(&h, body); err != nil {
			return nil, corrupt("", int64(off), "%v", err)
		}
		if h.first != pos.Next {
			return nil, fmt.Errorf("%w: block begins at %d, the log ends at %d", ErrOrder, h.first, pos.Next)
		}
		if err := h.follows(pos); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDiverged, err)
		}
		blocks = append(blocks, memBlock{blockHeader: h, payload: [][]byte{body}})
		pos = h.position()
		off += BlockHeaderSize + len(body)
	}
	return blocks, nil
}
