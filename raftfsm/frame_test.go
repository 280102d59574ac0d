package raftfsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/fault"
)

var peerID = []byte("peer")

// sampleAppend is an append with every type of entry.
func sampleAppend() *raft.AppendEntriesRequest {
	c := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}})
	return &raft.AppendEntriesRequest{
		RPCHeader: rpcHeader(peerID), Term: 7, PrevLogEntry: 41, PrevLogTerm: 6, LeaderCommitIndex: 40,
		Entries: []*raft.Log{
			{Index: 42, Term: 7, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: time.Unix(0, 123456789)},
			{Index: 43, Term: 7, Type: raft.LogNoop},
			{Index: 44, Term: 7, Type: raft.LogConfiguration, Data: c},
			{Index: 45, Term: 7, Type: raft.LogBarrier},
		},
	}
}

func joined(fixed []byte, data [][]byte) []byte { return append(fixed, bytes.Join(data, nil)...) }

func TestFrameGolden(t *testing.T) {
	small := &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 5, PrevLogTerm: 1, LeaderCommitIndex: 4, Entries: []*raft.Log{
		{Index: 6, Term: 2, Type: raft.LogCommand, Data: []byte("hi"), Extensions: []byte("x"), AppendedAt: time.Unix(0, 3)},
	}}
	install, err := encodeInstall(nil, &raft.InstallSnapshotRequest{
		SnapshotVersion: 1, Term: 3, LastLogIndex: 9, LastLogTerm: 2, ConfigurationIndex: 1, Size: 5,
		Configuration: raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "bc", Suffrage: raft.Nonvoter}}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := fault.New(fault.NotLeader, "no")
	f.LeaderNode, f.Successors, f.Limit = "n2", []uint32{9}, 1
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"header", appendHeader(nil, header{kind: kindAppend, service: 0, group: 5, request: 6, length: 40, bodyCRC: 0x01020304}), "28000000020000000500000000000000060000000000000004030201c181c686"},
		{"append", joined(encodeAppend(nil, small)), "0200000000000000050000000000000001000000000000000400000000000000010000000000000006000000000000000200000000000000030000000000000000000000010000000200000000000000686978"},
		{"append reply", encodeAppendReply(nil, &raft.AppendEntriesResponse{Term: 1, LastLog: 2, Success: true}), "010000000000000002000000000000000100000000000000"},
		{"vote", encodeVote(nil, 1, 2, 3, true), "0100000000000000020000000000000003000000000000000100000000000000"},
		{"vote reply", encodeTermReply(nil, 4, true), "04000000000000000100000000000000"},
		{"install", install, "0300000000000000090000000000000002000000000000000100000000000000050000000000000001000000000000000200000000000000000000000000000000016101026263"},
		{"error", encodeFault(nil, f), "0600000002000000020000000100000001000000000000000000000000000000" + "6e6f6e3209000000"},
		{"hello", encodeHello(hello{version: 1, lane: laneBulk, cluster: "c", node: "n1", target: "n2"}), "4c5652414654010001000102020000000000000063" + "6e316e32" + "5a77e80b"},
	}
	for _, test := range tests {
		if got := hex.EncodeToString(test.got); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestAppendRoundTrip(t *testing.T) {
	want := sampleAppend()
	body := joined(encodeAppend(nil, want))
	got, err := decodeAppend(body, peerID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if &got.Entries[0].Data[0] != &body[appendFixedSize+4*appendEntrySize] {
		t.Error("entry data was copied")
	}
}

// TestAppendChecksum: whether the checksums of entries are known or not, the frame's is that of its bytes, and
// what the receiver remembers are those of the entries.
func TestAppendChecksum(t *testing.T) {
	r := sampleAppend()
	for i, e := range r.Entries {
		e.Data = bytes.Repeat([]byte{byte(i + 1)}, sumMin-1+i) // one below the limit, the others not
		e.Extensions = []byte("head")[:i%5]
	}
	fixed, data := encodeAppend(nil, r)
	body := joined(fixed, data)
	var known sums
	want := bodyChecksum(body, nil)
	for range 2 {
		if got := appendChecksum(fixed, r.Entries, &known); got != want {
			t.Fatalf("checksum %x, want %x", got, want)
		}
	}
	learnt := map[int]uint32{}
	if err := checkAppend(header{bodyCRC: want}, body, func(i int, sum uint32) { learnt[i] = sum }); err != nil {
		t.Fatal(err)
	}
	for i, e := range r.Entries {
		sum, there := learnt[i]
		if there != (len(e.Data) >= sumMin) || there && sum != crc32.Checksum(e.Data, castagnoli) {
			t.Errorf("entry %d: learnt %t, %x", i, there, sum)
		}
	}
	for at := 0; at < len(body); at += 1 + at/16 {
		body[at] ^= 4
		if checkAppend(header{bodyCRC: want}, body, func(int, uint32) {}) == nil {
			t.Errorf("a flipped bit in byte %d passes", at)
		}
		body[at] ^= 4
	}
}

func TestSumsForgetOtherEntries(t *testing.T) {
	var s sums
	data := make([]byte, sumMin)
	large := func(index, term uint64) *raft.Log { return &raft.Log{Index: index, Term: term, Data: data} }
	s.put(large(7, 2), 11)
	s.put(&raft.Log{Index: 8, Term: 2, Data: data[:sumMin-1]}, 12)
	if sum, ok := s.get(large(7, 2)); !ok || sum != 11 {
		t.Errorf("entry 7 of term 2: %d, %t", sum, ok)
	}
	for _, l := range []*raft.Log{large(7, 3), large(7+sumSlots, 2), {Index: 7, Term: 2, Data: make([]byte, sumMin)}, large(8, 2)} {
		if _, ok := s.get(l); ok {
			t.Errorf("entry %d of term %d with %d bytes is known", l.Index, l.Term, len(l.Data))
		}
	}
}

// TestSecondFrameKeepsTheFirstsChecksum: a frame with the same index, term and size and other content comes while
// the entry of the first waits to be stored.
func TestSecondFrameKeepsTheFirstsChecksum(t *testing.T) {
	var known sums
	g := &groupTransport{}
	g.sums.Store(&known)
	s := &session{k: newLink(nil, "peer", laneBulk, false, 1<<20, DefaultCoalesce)}
	receive := func(first byte) *raft.Log {
		data := make([]byte, sumMin)
		data[0] = first
		body := joined(encodeAppend(nil, &raft.AppendEntriesRequest{Term: 3, Entries: []*raft.Log{{Index: 1, Term: 3, Data: data}}}))
		r, err := s.decode(g, header{kind: kindAppend, bodyCRC: bodyChecksum(body, nil)}, body)
		if err != nil {
			t.Fatal(err)
		}
		return r.(*raft.AppendEntriesRequest).Entries[0]
	}
	one, two := receive('a'), receive('b')
	for _, l := range []*raft.Log{one, two} {
		if got := known.of(l); got != crc32.Checksum(l.Data, castagnoli) {
			t.Errorf("entry beginning with %q has the other's checksum", l.Data[0])
		}
	}
}

func TestBadAppendsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(r *raft.AppendEntriesRequest){
		"gap":                 func(r *raft.AppendEntriesRequest) { r.Entries[1].Index = 50 },
		"not after previous":  func(r *raft.AppendEntriesRequest) { r.PrevLogEntry = 3 },
		"unknown type":        func(r *raft.AppendEntriesRequest) { r.Entries[0].Type = 77 },
		"deprecated type":     func(r *raft.AppendEntriesRequest) { r.Entries[0].Type = raft.LogAddPeerDeprecated },
		"broken configration": func(r *raft.AppendEntriesRequest) { r.Entries[2].Data = []byte{0xff, 1} },
	} {
		r := sampleAppend()
		spoil(r)
		if _, err := decodeAppend(joined(encodeAppend(nil, r)), peerID); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplitAppend(t *testing.T) {
	r := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 10, PrevLogTerm: 1, LeaderCommitIndex: 9}
	for i := range 10 {
		r.Entries = append(r.Entries, &raft.Log{Index: uint64(11 + i), Term: uint64(2 + i/5), Data: make([]byte, 100*(i%4))})
	}
	for _, target := range []int{1, 150, 400, 1000, 1 << 20} {
		index, term := r.PrevLogEntry, r.PrevLogTerm
		for part := range splitAppend(r, target) {
			if part.PrevLogEntry != index || part.PrevLogTerm != term || part.Term != 3 || part.LeaderCommitIndex != 9 {
				t.Fatalf("target %d: part %+v after entry %d of term %d", target, part, index, term)
			}
			if len(part.Entries) > 1 && appendSize(part) > target+appendFixedSize {
				t.Errorf("target %d: part of %d bytes", target, appendSize(part))
			}
			for _, e := range part.Entries {
				if e.Index != index+1 {
					t.Fatalf("target %d: entry %d after %d", target, e.Index, index)
				}
				index, term = e.Index, e.Term
			}
		}
		if index != 20 {
			t.Errorf("target %d ends at %d", target, index)
		}
	}
}

func TestFaultSurvivesTheWire(t *testing.T) {
	want := &fault.Error{
		Kind: fault.ShardClosed, Message: "m", Field: "f", Limit: 7, LeaderNode: "n", LeaderAddr: "a",
		Successors: []uint32{1, 2}, RetryAfter: time.Second,
	}
	got, err := decodeFault(encodeFault(nil, want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(fault.Error{})); d != "" {
		t.Error(d)
	}
	for k := fault.Kind(1); k <= fault.LimitReached; k++ {
		if got, err := decodeFault(encodeFault(nil, fault.New(k, "x"))); err != nil || got.Kind != k {
			t.Errorf("kind %s arrives as %v, %v", k, got, err)
		}
	}
	long := fault.New(fault.Invalid, "%s", string(make([]byte, 1<<20)))
	if b := encodeFault(nil, long); len(b) > errorBodyMax {
		t.Errorf("error of %d bytes", len(b))
	}
}

// FuzzFrame decodes a frame of any kind, and re-encodes what decodes.
func FuzzFrame(f *testing.F) {
	body := joined(encodeAppend(nil, sampleAppend()))
	f.Add(appendHeader(nil, header{kind: kindAppend, length: uint32(len(body)), bodyCRC: bodyChecksum(body, nil)}), body)
	for _, k := range []frameKind{kindHeartbeat, kindVote, kindPreVote, kindTimeoutNow, kindInstallSnapshot, kindErrorReply, kindAppendReply, kindVoteReply} {
		f.Add(appendHeader(nil, header{kind: k}), make([]byte, 64))
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		if h, err := parseHeader(head, 1<<20); err == nil && !bytes.Equal(appendHeader(nil, h), head[:headerSize]) {
			t.Errorf("header %x re-encodes differently", head[:headerSize])
		}
		if r, err := decodeAppend(body, peerID); err == nil && !bytes.Equal(joined(encodeAppend(nil, r)), body) {
			t.Error("append re-encodes differently")
		}
		if err := checkAppend(header{bodyCRC: bodyChecksum(body, nil)}, body, func(int, uint32) {}); err != nil {
			t.Error("the checksum of an append depends on what it holds")
		}
		if r, err := decodeInstall(body, peerID); err == nil {
			again, err := encodeInstall(nil, r)
			if err != nil || !bytes.Equal(again, body) {
				t.Errorf("install re-encodes differently: %v", err)
			}
		}
		for k := range frameKind(80) {
			if low, high := bodyBounds(k, 1<<20); high >= 0 && len(body) >= low && len(body) <= high {
				_, _ = decodeRequest(header{kind: k}, body, peerID)
				for _, into := range []any{new(raft.AppendEntriesResponse), new(raft.RequestVoteResponse), new(raft.InstallSnapshotResponse)} {
					_ = decodeReply(header{kind: k}, body, peerID, into)
				}
			}
		}
	})
}

// FuzzFault decodes an error.
func FuzzFault(f *testing.F) {
	f.Add(encodeFault(nil, fault.New(fault.NotFound, "no")))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeFault(b)
		if err != nil {
			return
		}
		again, err := decodeFault(encodeFault(nil, e))
		if err != nil {
			t.Fatal(err)
		}
		e.Message, e.Field, e.LeaderNode, e.LeaderAddr = clip(e.Message), clip(e.Field), clip(e.LeaderNode), clip(e.LeaderAddr)
		if d := cmp.Diff(e, again, cmp.AllowUnexported(fault.Error{})); d != "" {
			t.Error(d)
		}
	})
}

// FuzzHello reads the first bytes of a connection.
func FuzzHello(f *testing.F) {
	f.Add(encodeHello(hello{version: 1, cluster: "c", node: "n", target: "t"}))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := readHello(r)
		if err != nil {
			return
		}
		again, err := readHello(bytes.NewReader(encodeHello(h)))
		if err != nil || again != h {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}
