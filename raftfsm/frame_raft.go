package raftfsm

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/crc32c"
)

// Sizes of the fixed parts of bodies.
const (
	heartbeatBodySize = 8
	appendFixedSize   = 40
	appendEntrySize   = 40
	appendReplySize   = 24
	voteBodySize      = 32
	voteReplySize     = 16
	installFixedSize  = 64
)

// entriesPerFrameMax bounds the entries of one frame: hashicorp/raft takes up to 1024 (MaxAppendEntries).
const entriesPerFrameMax = 1024

// serversMax bounds the servers of a configuration in a frame.
const serversMax = 256

// rpcHeader is the header that hashicorp/raft wants in each request. The identity of the
// sender is the connection's, never the frame's.
func rpcHeader(id []byte) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: id, Addr: id}
}

// isHeartbeat reports whether a request is the library's heartbeat: nothing but a term.
func isHeartbeat(r *raft.AppendEntriesRequest) bool {
	return r.Term != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

// encodeAppend returns the small part of an append body, built in dst, and the entries' own
// bytes, which are not copied.
func encodeAppend(dst []byte, r *raft.AppendEntriesRequest) (fixed []byte, data [][]byte) {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, r.Term)
	dst = le.AppendUint64(dst, r.PrevLogEntry)
	dst = le.AppendUint64(dst, r.PrevLogTerm)
	dst = le.AppendUint64(dst, r.LeaderCommitIndex)
	dst = le.AppendUint64(dst, uint64(len(r.Entries)))
	if len(r.Entries) > 0 {
		data = make([][]byte, 0, len(r.Entries))
	}
	for _, e := range r.Entries {
		var at int64
		if !e.AppendedAt.IsZero() {
			at = e.AppendedAt.UnixNano()
		}
		dst = le.AppendUint64(dst, e.Index)
		dst = le.AppendUint64(dst, e.Term)
		dst = le.AppendUint64(dst, uint64(at))
		dst = append(dst, byte(e.Type), 0, 0, 0)
		dst = le.AppendUint32(dst, uint32(len(e.Extensions)))
		dst = le.AppendUint64(dst, uint64(len(e.Data)))
		if len(e.Data) > 0 {
			data = append(data, e.Data)
		}
		if len(e.Extensions) > 0 {
			data = append(data, e.Extensions)
		}
	}
	return dst, data
}

// appendChecksum returns the checksum of an append body whose small part is fixed.
func appendChecksum(fixed []byte, entries []*raft.Log, known *sums) uint32 {
	sum := crc32.Checksum(fixed, castagnoli)
	for _, e := range entries {
		if len(e.Data) >= sumMin {
			sum = crc32c.Join(sum, known.of(e), len(e.Data))
		} else {
			sum = crc32.Update(sum, castagnoli, e.Data)
		}
		sum = crc32.Update(sum, castagnoli, e.Extensions)
	}
	return sum
}

// checkAppend verifies the body of an append against its header, before anything in it is believed but
// where its entries lie. learn is told the checksums of large entries, by their place.
func checkAppend(h header, body []byte, learn func(i int, sum uint32)) error {
	le := binary.LittleEndian
	count, fixed := uint64(0), uint64(len(body))
	if len(body) >= appendFixedSize {
		if count = le.Uint64(body[32:]); count <= entriesPerFrameMax && appendFixedSize+count*appendEntrySize <= fixed {
			fixed = appendFixedSize + count*appendEntrySize
		} else {
			count = 0 // the whole is summed as it is
		}
	}
	sum, rest := crc32.Checksum(body[:fixed], castagnoli), body[fixed:]
	for i := range count {
		meta := body[appendFixedSize+i*appendEntrySize:]
		extensions, data := uint64(le.Uint32(meta[28:])), le.Uint64(meta[32:])
		if data > uint64(len(rest)) || extensions > uint64(len(rest))-data {
			break
		}
		if data >= sumMin {
			own := crc32.Checksum(rest[:data], castagnoli)
			sum = crc32c.Join(sum, own, int(data))
			learn(int(i), own)
		} else {
			sum = crc32.Update(sum, castagnoli, rest[:data])
		}
		sum = crc32.Update(sum, castagnoli, rest[data:data+extensions])
		rest = rest[data+extensions:]
	}
	if crc32.Update(sum, castagnoli, rest) != h.bodyCRC {
		return fmt.Errorf("%w: body checksum, kind %d", ErrFrame, h.kind)
	}
	return nil
}

// decodeAppend decodes an append body. The entries' Data and Extensions alias body.
// It refuses whatever would make the library panic or break the journal's contiguity.
func decodeAppend(body, from []byte) (*raft.AppendEntriesRequest, error) {
	le := binary.LittleEndian
	if len(body) < appendFixedSize {
		return nil, fmt.Errorf("%w: append of %d bytes", ErrFrame, len(body))
	}
	r := &raft.AppendEntriesRequest{
		RPCHeader: rpcHeader(from),
		Term:      le.Uint64(body), PrevLogEntry: le.Uint64(body[8:]), PrevLogTerm: le.Uint64(body[16:]),
		LeaderCommitIndex: le.Uint64(body[24:]),
	}
	count := le.Uint64(body[32:])
	rest := body[appendFixedSize:]
	if count > entriesPerFrameMax || uint64(len(rest)) < count*appendEntrySize {
		return nil, fmt.Errorf("%w: append of %d entries in %d bytes", ErrFrame, count, len(body))
	}
	metas, payload := rest[:count*appendEntrySize], rest[count*appendEntrySize:]
	if count == 0 {
		if len(payload) != 0 {
			return nil, fmt.Errorf("%w: %d bytes after an empty append", ErrFrame, len(payload))
		}
		return r, nil
	}
	logs := make([]raft.Log, count)
	r.Entries = make([]*raft.Log, count)
	for i := range logs {
		var err error
		if payload, err = decodeEntry(&logs[i], metas[i*appendEntrySize:], payload); err != nil {
			return nil, err
		}
		if logs[i].Index != r.PrevLogEntry+1+uint64(i) {
			return nil, fmt.Errorf("%w: entry %d follows entry %d", ErrFrame, logs[i].Index, r.PrevLogEntry+uint64(i))
		}
		r.Entries[i] = &logs[i]
	}
	if len(payload) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last entry", ErrFrame, len(payload))
	}
	return r, nil
}

// decodeEntry decodes one entry from its 40 bytes and the payload, and returns the rest of the payload.
func decodeEntry(l *raft.Log, meta, payload []byte) ([]byte, error) {
	le := binary.LittleEndian
	l.Index, l.Term = le.Uint64(meta), le.Uint64(meta[8:])
	if at := int64(le.Uint64(meta[16:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	l.Type = raft.LogType(meta[24])
	extensions, data := uint64(le.Uint32(meta[28:])), le.Uint64(meta[32:])
	if data > uint64(len(payload)) || extensions > uint64(len(payload))-data {
		return nil, fmt.Errorf("%w: entry %d longer than its frame", ErrFrame, l.Index)
	}
	if meta[25] != 0 || meta[26] != 0 || meta[27] != 0 {
		return nil, fmt.Errorf("%w: reserved bytes of entry %d", ErrFrame, l.Index)
	}
	if data > 0 {
		l.Data = payload[:data:data]
	}
	if extensions > 0 {
		l.Extensions = payload[data : data+extensions : data+extensions]
	}
	switch l.Type {
	case raft.LogCommand, raft.LogNoop, raft.LogBarrier:
	case raft.LogConfiguration:
		if _, err := decodeConfiguration(l.Data); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %v", ErrFrame, l.Index, err)
		}
	default:
		return nil, fmt.Errorf("%w: entry %d has unknown type %d", ErrFrame, l.Index, l.Type)
	}
	return payload[data+extensions:], nil
}

// decodeConfiguration decodes the library's own encoding of a configuration, for which the
// library offers only a function that panics.
func decodeConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("configuration does not decode: %v", p)
		}
	}()
	return raft.DecodeConfiguration(b), nil
}

func encodeAppendReply(dst []byte, r *raft.AppendEntriesResponse) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, r.Term)
	dst = binary.LittleEndian.AppendUint64(dst, r.LastLog)
	return append(dst, boolByte(r.Success), boolByte(r.NoRetryBackoff), 0, 0, 0, 0, 0, 0)
}

func decodeAppendReply(body, from []byte, r *raft.AppendEntriesResponse) error {
	if len(body) != appendReplySize {
		return fmt.Errorf("%w: append reply of %d bytes", ErrFrame, len(body))
	}
	r.RPCHeader = rpcHeader(from)
	r.Term, r.LastLog = binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:])
	r.Success, r.NoRetryBackoff = body[16] != 0, body[17] != 0
	return nil
}

// encodeVote encodes a vote or pre-vote request: term, last index, last term, transfer flag.
func encodeVote(dst []byte, term, lastIndex, lastTerm uint64, transfer bool) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, term)
	dst = binary.LittleEndian.AppendUint64(dst, lastIndex)
	dst = binary.LittleEndian.AppendUint64(dst, lastTerm)
	return append(dst, boolByte(transfer), 0, 0, 0, 0, 0, 0, 0)
}

func decodeVote(body, from []byte) (*raft.RequestVoteRequest, error) {
	if len(body) != voteBodySize {
		return nil, fmt.Errorf("%w: vote of %d bytes", ErrFrame, len(body))
	}
	return &raft.RequestVoteRequest{
		RPCHeader: rpcHeader(from), Term: binary.LittleEndian.Uint64(body),
		LastLogIndex: binary.LittleEndian.Uint64(body[8:]), LastLogTerm: binary.LittleEndian.Uint64(body[16:]),
		LeadershipTransfer: body[24] != 0,
	}, nil
}

// encodeTermReply encodes the answers that are a term and a yes or no: votes, pre-votes, snapshots.
func encodeTermReply(dst []byte, term uint64, yes bool) []byte {
	return append(binary.LittleEndian.AppendUint64(dst, term), boolByte(yes), 0, 0, 0, 0, 0, 0, 0)
}

func decodeTermReply(body []byte) (term uint64, yes bool, err error) {
	if len(body) != voteReplySize {
		return 0, false, fmt.Errorf("%w: reply of %d bytes", ErrFrame, len(body))
	}
	return binary.LittleEndian.Uint64(body), body[8] != 0, nil
}

// encodeInstall encodes the request before a snapshot's bytes: fixed part, then the servers of its configuration.
func encodeInstall(dst []byte, r *raft.InstallSnapshotRequest) ([]byte, error) {
	c, err := decodeConfiguration(r.Configuration)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, r.Term)
	dst = le.AppendUint64(dst, r.LastLogIndex)
	dst = le.AppendUint64(dst, r.LastLogTerm)
	dst = le.AppendUint64(dst, r.ConfigurationIndex)
	dst = le.AppendUint64(dst, uint64(r.Size))
	dst = le.AppendUint64(dst, uint64(r.SnapshotVersion))
	dst = le.AppendUint64(dst, uint64(len(c.Servers)))
	dst = le.AppendUint64(dst, 0)
	return appendServers(dst, c.Servers), nil
}

func appendServers(dst []byte, servers []raft.Server) []byte {
	for _, s := range servers {
		dst = append(dst, byte(s.Suffrage), byte(len(s.ID)))
		dst = append(dst, s.ID...)
	}
	return dst
}

func decodeInstall(body, from []byte) (*raft.InstallSnapshotRequest, error) {
	if len(body) < installFixedSize {
		return nil, fmt.Errorf("%w: snapshot request of %d bytes", ErrFrame, len(body))
	}
	le := binary.LittleEndian
	r := &raft.InstallSnapshotRequest{
		RPCHeader: rpcHeader(from), Term: le.Uint64(body),
		LastLogIndex: le.Uint64(body[8:]), LastLogTerm: le.Uint64(body[16:]),
		ConfigurationIndex: le.Uint64(body[24:]), Size: int64(le.Uint64(body[32:])),
	}
	version, count := le.Uint64(body[40:]), le.Uint64(body[48:])
	if version != uint64(raft.SnapshotVersionMax) {
		return nil, fmt.Errorf("%w: snapshot version %d", ErrFrame, version)
	}
	r.SnapshotVersion = raft.SnapshotVersionMax
	if r.Size < 0 || r.LastLogIndex == 0 || le.Uint64(body[56:]) != 0 {
		return nil, fmt.Errorf("%w: snapshot of %d bytes at index %d", ErrFrame, r.Size, r.LastLogIndex)
	}
	servers, err := decodeServers(body[installFixedSize:], count)
	if err != nil {
		return nil, err
	}
	r.Configuration = raft.EncodeConfiguration(raft.Configuration{Servers: servers})
	return r, nil
}

func decodeServers(b []byte, count uint64) ([]raft.Server, error) {
	if count > serversMax {
		return nil, fmt.Errorf("%w: configuration of %d servers", ErrFrame, count)
	}
	servers := make([]raft.Server, 0, count)
	for range count {
		if len(b) < 2 || len(b) < 2+int(b[1]) || b[1] == 0 || raft.ServerSuffrage(b[0]) > raft.Staging {
			return nil, fmt.Errorf("%w: server %d of a configuration", ErrFrame, len(servers))
		}
		id := string(b[2 : 2+int(b[1])])
		servers = append(servers, raft.Server{Suffrage: raft.ServerSuffrage(b[0]), ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		b = b[2+int(b[1]):]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: %d bytes after a configuration", ErrFrame, len(b))
	}
	return servers, nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// decodeHeartbeat decodes a body whose length parseHeader checked.
func decodeHeartbeat(body, from []byte) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: rpcHeader(from), Term: binary.LittleEndian.Uint64(body)}
}
