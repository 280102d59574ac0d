package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/levada-stream/levada/internal/vfs"
)

// ErrSnapshotCorrupt is wrapped when a snapshot file fails its check.
var ErrSnapshotCorrupt = errors.New("snapshot corrupt")

// errSnapshotStale refuses to replace a snapshot by an older one.
var errSnapshotStale = errors.New("a newer snapshot exists")

const (
	snapshotMagic      = "LVSNAP\x01\x00"
	snapshotHeaderSize = 64
	snapshotFile       = "snapshot"
	snapshotTemp       = "snapshot.tmp"
)

// groupsDir is where the groups' directories are, below a host's.
const groupsDir = "groups"

func groupDir(dir string, group uint64) string {
	return path.Join(dir, groupsDir, strconv.FormatUint(group, 10))
}

// snapshotStore keeps the newest snapshot of one group in one file: the library's
// raft.SnapshotStore. A new one replaces it atomically and durably.
type snapshotStore struct {
	fs  vfs.FS
	dir string
	// check refuses content that the state machine would not take; nil if it cannot tell.
	check func(io.Reader) error

	mu     sync.Mutex // also orders replacements
	newest *raft.SnapshotMeta
}

var _ raft.SnapshotStore = (*snapshotStore)(nil)

// openSnapshots reads which snapshot a group has. A corrupt one is an error: the group must not
// start as if it had none.
func openSnapshots(fsys vfs.FS, dir string) (*snapshotStore, error) {
	s := &snapshotStore{fs: fsys, dir: dir}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, snapshotTemp) { // a crash left it; nothing waits for its removal
			if err := fsys.Remove(path.Join(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	f, err := fsys.Open(path.Join(dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if s.newest, err = readSnapshot(f, io.Discard); err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(dir, snapshotFile), err)
	}
	return s, nil
}

// position returns index and term of the newest snapshot, 0 if there is none.
func (s *snapshotStore) position() (index, term uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return 0, 0
	}
	return s.newest.Index, s.newest.Term
}

// List implements raft.SnapshotStore.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil, nil
	}
	m := *s.newest
	return []*raft.SnapshotMeta{&m}, nil
}

// Open implements raft.SnapshotStore. It returns the newest snapshot even if an older one was
// listed; the library goes by what the metadata says. The content is checked as it is opened.
func (s *snapshotStore) Open(string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	f, err := s.fs.Open(path.Join(s.dir, snapshotFile))
	if err != nil {
		return nil, nil, err
	}
	m, err := readSnapshot(f, io.Discard)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path.Join(s.dir, snapshotFile), err), f.Close())
	}
	size, err := f.Size()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return m, &snapshotReader{Reader: io.NewSectionReader(f, size-m.Size, m.Size), Closer: f}, nil
}

// snapshotReader reads a snapshot's content.
type snapshotReader struct {
	io.Reader
	io.Closer
}

// Create implements raft.SnapshotStore.
func (s *snapshotStore) Create(_ raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	m := &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: snapshotID(term, index), Index: index, Term: term,
		Configuration: c.Clone(), ConfigurationIndex: configIndex,
	}
	// The name is unique among the sinks of this store: the library takes snapshots and installs them at the same time.
	name := path.Join(s.dir, snapshotTemp+"."+m.ID)
	f, err := s.fs.Create(name)
	if err != nil {
		return nil, err
	}
	k := &snapshotSink{store: s, meta: m, file: f, name: name}
	k.offset = int64(len(encodeSnapshotHeader(m, 0)))
	return k, nil
}

func snapshotID(term, index uint64) string {
	return strconv.FormatUint(term, 10) + "-" + strconv.FormatUint(index, 10)
}

// snapshotSink writes one snapshot.
type snapshotSink struct {
	store  *snapshotStore
	meta   *raft.SnapshotMeta
	file   vfs.File
	name   string
	offset int64
	crc    uint32
	err    error
	closed bool
}

// ID implements raft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.meta.ID }

// Write implements io.Writer.
func (k *snapshotSink) Write(b []byte) (int, error) {
	if k.err != nil {
		return 0, k.err
	}
	n, err := k.file.WriteAt(b, k.offset)
	k.err = err
	k.offset += int64(n)
	k.meta.Size += int64(n)
	k.crc = crc32.Update(k.crc, castagnoli, b[:n])
	return n, err
}

// Cancel implements raft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	return errors.Join(k.file.Close(), k.store.fs.Remove(k.name))
}

// Close implements raft.SnapshotSink: on success the snapshot is the group's newest, durably.
func (k *snapshotSink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	err := k.err
	if err == nil {
		_, err = k.file.WriteAt(encodeSnapshotHeader(k.meta, k.crc), 0)
	}
	if err == nil {
		err = k.file.Sync()
	}
	if err == nil && k.store.check != nil {
		err = k.store.check(io.NewSectionReader(k.file, k.offset-k.meta.Size, k.meta.Size))
	}
	err = errors.Join(err, k.file.Close())
	if err == nil {
		err = k.store.replace(k)
	}
	if err != nil {
		return errors.Join(err, k.store.fs.Remove(k.name))
	}
	return nil
}

// replace makes a finished file the newest snapshot.
func (s *snapshotStore) replace(k *snapshotSink) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest != nil && s.newest.Index > k.meta.Index {
		return errSnapshotStale
	}
	if err := s.fs.Rename(k.name, path.Join(s.dir, snapshotFile)); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	s.newest = k.meta
	return nil
}

// encodeSnapshotHeader returns everything before a snapshot's content.
func encodeSnapshotHeader(m *raft.SnapshotMeta, contentCRC uint32) []byte {
	servers := appendServers(nil, m.Configuration.Servers)
	le := binary.LittleEndian
	b := append(make([]byte, 0, snapshotHeaderSize+len(servers)), snapshotMagic...)
	b = le.AppendUint64(b, m.Index)
	b = le.AppendUint64(b, m.Term)
	b = le.AppendUint64(b, m.ConfigurationIndex)
	b = le.AppendUint64(b, uint64(m.Size))
	b = le.AppendUint32(b, uint32(len(servers)))
	b = le.AppendUint32(b, uint32(len(m.Configuration.Servers)))
	b = le.AppendUint32(b, contentCRC)
	b = append(b, 0, 0, 0, 0)
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, servers)
	b = le.AppendUint32(b, sum)
	b = append(b, 0, 0, 0, 0)
	return append(b, servers...)
}

// readSnapshot checks a snapshot file and copies its content to w.
func readSnapshot(f vfs.File, w io.Writer) (*raft.SnapshotMeta, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	head := make([]byte, snapshotHeaderSize)
	if size < snapshotHeaderSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrSnapshotCorrupt, size)
	}
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	lengthServers := int64(le.Uint32(head[40:]))
	if string(head[:8]) != snapshotMagic || lengthServers > serversMax*(2+helloTextMax) || snapshotHeaderSize+lengthServers > size {
		return nil, fmt.Errorf("%w: header", ErrSnapshotCorrupt)
	}
	servers := make([]byte, lengthServers)
	if _, err := f.ReadAt(servers, snapshotHeaderSize); err != nil && lengthServers > 0 {
		return nil, err
	}
	sum := crc32.Update(crc32.Checksum(head[:56], castagnoli), castagnoli, servers)
	m := &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, Index: le.Uint64(head[8:]), Term: le.Uint64(head[16:]),
		ConfigurationIndex: le.Uint64(head[24:]), Size: int64(le.Uint64(head[32:])),
	}
	if sum != le.Uint32(head[56:]) || m.Size != size-snapshotHeaderSize-lengthServers {
		return nil, fmt.Errorf("%w: header checksum or length", ErrSnapshotCorrupt)
	}
	if m.Configuration.Servers, err = decodeServers(servers, uint64(le.Uint32(head[44:]))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshotCorrupt, err)
	}
	m.ID = snapshotID(m.Term, m.Index)
	content := crc32.New(castagnoli)
	if _, err := io.Copy(io.MultiWriter(content, w), io.NewSectionReader(f, size-m.Size, m.Size)); err != nil {
		return nil, err
	}
	if content.Sum32() != le.Uint32(head[48:]) {
		return nil, fmt.Errorf("%w: content checksum", ErrSnapshotCorrupt)
	}
	return m, nil
}
