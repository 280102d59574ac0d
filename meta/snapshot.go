package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// SnapshotVersion is the highest version that Encode writes. It writes the lowest that holds everything.
const SnapshotVersion = 5

// SnapshotBytesMax bounds what DecodeState takes.
const SnapshotBytesMax = 1 << 30

// Errors of DecodeState and Restore.
var (
	// ErrNewerSnapshot reports a snapshot of a later format.
	ErrNewerSnapshot = errors.New("meta snapshot of a newer format: upgrade this node")
	// ErrCorruptSnapshot reports a snapshot that is damaged or contradicts itself.
	ErrCorruptSnapshot = errors.New("corrupt meta snapshot")
)

const snapshotMagic = "levada-meta"

// snapshotHeader returns the line before the body. Its form is the same in all
// versions:
//
//	levada-meta SP version SP length-of-body SP crc32c LF
//
// with the version and length in decimal and the checksum in 8 hex digits. The
// checksum covers the line up to itself, then the body.
func snapshotHeader(version int, body []byte) []byte {
	prefix := fmt.Sprintf("%s %d %d ", snapshotMagic, version, len(body))
	return fmt.Appendf(nil, "%s%08x\n", prefix, snapshotSum(prefix, body))
}

func snapshotSum(prefix string, body []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum([]byte(prefix), table), table, body)
}

// cutSnapshot checks the header and the checksum and returns the body.
func cutSnapshot(data []byte) (version int, body []byte, err error) {
	corrupt := func(why string) (int, []byte, error) {
		return 0, nil, fmt.Errorf("%w: %s", ErrCorruptSnapshot, why)
	}
	if len(data) > SnapshotBytesMax {
		return corrupt("too long")
	}
	end := bytes.IndexByte(data[:min(len(data), 128)], '\n')
	if end < 0 {
		return corrupt("no header line")
	}
	line, body := string(data[:end]), data[end+1:]
	fields := strings.Split(line, " ")
	if len(fields) != 4 || fields[0] != snapshotMagic || len(fields[3]) != 8 {
		return corrupt("bad header line")
	}
	version, err = strconv.Atoi(fields[1])
	if err != nil || version < 1 {
		return corrupt("bad version")
	}
	if length, err := strconv.Atoi(fields[2]); err != nil || length != len(body) {
		return corrupt("wrong length")
	}
	sum, err := strconv.ParseUint(fields[3], 16, 32)
	if err != nil || uint32(sum) != snapshotSum(line[:end-8], body) {
		return corrupt("checksum mismatch")
	}
	return version, body, nil
}

// Encode returns the snapshot of the state: a header line, then JSON. Equal
// states give equal bytes.
func (s *State) Encode() ([]byte, error) {
	body, err := json.Marshal(s.toBody())
	if err != nil {
		return nil, fmt.Errorf("encode meta snapshot: %w", err)
	}
	return append(snapshotHeader(s.snapshotVersion(), body), body...), nil
}

var errFieldVersion = errors.New("a field of a later version")

// snapshotVersion returns the lowest version that can hold the state.
func (s *State) snapshotVersion() int {
	switch has, remember := s.hasDocuments(); {
	case remember:
		return 5
	case has:
		return 4
	}
	for st := range s.Streams() {
		if len(st.gone) > 0 || st.goal != nil || st.scaling != nil {
			return 3
		}
	}
	if s.nextReshard > 1 || s.nextScaling > 1 {
		return 3
	}
	limited := slices.ContainsFunc(s.nodes, func(n *Node) bool { return n.ReplicasMax != 0 })
	return versionIf(limited || len(s.forgotten) > 0)
}

// hasDocuments reports whether there are documents, and whether one of them knows who changed it before.
func (s *State) hasDocuments() (has, remember bool) {
	has, remember = len(s.documents) > 0, s.documents.remember()
	for st := range s.Streams() {
		has, remember = has || len(st.documents) > 0, remember || st.documents.remember()
	}
	return has, remember
}

// DecodeState returns the state of a snapshot after checking that it is whole
// and consistent. Errors: ErrCorruptSnapshot, ErrNewerSnapshot.
func DecodeState(data []byte) (*State, error) {
	version, raw, err := cutSnapshot(data)
	if err != nil {
		return nil, err
	}
	if version > SnapshotVersion {
		return nil, fmt.Errorf("%w: version %d, known is %d", ErrNewerSnapshot, version, SnapshotVersion)
	}
	var body snapshotBody
	if err := unmarshalStrict(raw, &body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	s, err := body.toState()
	if err == nil {
		err = s.check()
	}
	if err == nil && version < s.snapshotVersion() {
		err = errFieldVersion
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	return s, nil
}
