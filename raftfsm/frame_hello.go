package raftfsm

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// wireVersion is the version of the whole protocol; peers with another one are refused.
const wireVersion = 2

// helloMagic begins every connection, in both directions.
const helloMagic = "LVRAFT"

const (
	helloFixedSize = 20
	helloTextMax   = 255
)

// lane says what a connection is for.
type lane uint8

const (
	laneControl  lane = 0 // heartbeats and votes
	laneBulk     lane = 1 // entries
	laneCalls    lane = 2 // the node's internal calls
	laneSnapshot lane = 3 // one snapshot
	lanesShared       = 3 // lanes kept open for each pair of nodes
)

// refusal says why a handshake was turned down.
type refusal uint8

const (
	welcome refusal = iota
	refusedCluster
	refusedNode
	refusedVersion
	refusedCrowded
)

// String returns a text for an error message.
func (r refusal) String() string {
	switch r {
	case welcome:
		return "welcome"
	case refusedCluster:
		return "the peer belongs to another cluster"
	case refusedNode:
		return "another node answers at that address"
	case refusedVersion:
		return "the peer speaks another protocol version"
	case refusedCrowded:
		return "the peer has too many connections"
	}
	return fmt.Sprintf("refusal %d", uint8(r))
}

// hello is the first message on a connection, from each side.
type hello struct {
	version uint16
	lane    lane
	refusal refusal // answers only
	cluster string  // "" if not known yet
	node    string  // the sender
	target  string  // whom the sender wants; in an answer, whom it answers
}

// encodeHello returns a hello's bytes: fixed part, texts, checksum.
func encodeHello(h hello) []byte {
	b := make([]byte, 0, helloFixedSize+len(h.cluster)+len(h.node)+len(h.target)+4)
	b = append(b, helloMagic...)
	b = binary.LittleEndian.AppendUint16(b, h.version)
	b = append(b, byte(h.lane), byte(h.refusal), byte(len(h.cluster)), byte(len(h.node)), byte(len(h.target)))
	b = append(b, make([]byte, helloFixedSize-len(b))...)
	b = append(b, h.cluster...)
	b = append(b, h.node...)
	b = append(b, h.target...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readHello reads one hello, reading no byte beyond it.
func readHello(r io.Reader) (hello, error) {
	fixed := make([]byte, helloFixedSize, helloFixedSize+3*helloTextMax+4)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	if string(fixed[:6]) != helloMagic {
		return hello{}, fmt.Errorf("%w: not this protocol", ErrFrame)
	}
	h := hello{version: binary.LittleEndian.Uint16(fixed[6:]), lane: lane(fixed[8]), refusal: refusal(fixed[9])}
	lc, ln, lt := int(fixed[10]), int(fixed[11]), int(fixed[12])
	all := fixed[:helloFixedSize+lc+ln+lt+4]
	if _, err := io.ReadFull(r, all[helloFixedSize:]); err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	end := len(all) - 4
	if crc32.Checksum(all[:end], castagnoli) != binary.LittleEndian.Uint32(all[end:]) {
		return hello{}, fmt.Errorf("%w: hello checksum", ErrFrame)
	}
	text := string(all[helloFixedSize:end])
	h.cluster, h.node, h.target = text[:lc], text[lc:lc+ln], text[lc+ln:]
	if h.lane > laneSnapshot || h.node == "" {
		return hello{}, fmt.Errorf("%w: hello of node %q for lane %d", ErrFrame, h.node, h.lane)
	}
	return h, nil
}
