package journal

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/levada-stream/levada/internal/vfs"
)

// open is Open with the source of incarnations, which tests fix.
func open(fs vfs.FS, dir string, o Options, incarnation func() uint64) (*Journal, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	lock, err := fs.Lock(path.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := newJournal(fs, dir, o)
	j.lock, j.newIncarnation = lock, incarnation
	if err := j.recover(); err != nil {
		for _, s := range j.segments {
			err = errors.Join(err, s.file.Close())
		}
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), lock.Close())
	}
	j.start()
	return j, nil
}

// recover replays what is on disk and leaves the journal ready to be written.
func (j *Journal) recover() error {
	sequences, err := j.inventory()
	if err != nil {
		return err
	}
	// The process before may have ended between a change of names and its sync.
	if err := j.fs.SyncDir(j.dir); err != nil {
		return err
	}
	headers, err := j.openSegments(sequences)
	if err != nil {
		return err
	}
	if len(headers) == 0 {
		if j.options.MustExist {
			return &CorruptError{Path: j.dir, Reason: "all segments are missing"}
		}
		j.nextRound = 1
		return j.roll()
	}
	if err := j.state.load(headers[0].table); err != nil {
		return &CorruptError{Path: j.segments[0].path, Reason: err.Error()}
	}
	j.nextRound = headers[0].firstRound
	p := replay{j: j}
	for i, s := range j.segments {
		var next *segmentHeader
		if i+1 < len(headers) {
			next = headers[i+1]
		}
		if err := p.segment(s, headers[i], next); err != nil {
			return err
		}
	}
	if err := j.state.missing(); err != nil {
		return &CorruptError{Path: j.dir, Reason: err.Error()}
	}
	return p.settle()
}

// inventory sorts the files of the directory out and returns the sequences of the segments.
func (j *Journal) inventory() ([]uint64, error) {
	names, err := j.fs.List(j.dir)
	if err != nil {
		return nil, err
	}
	var sequences []uint64
	for _, name := range names {
		full := path.Join(j.dir, name)
		if n, ok := segmentSequence(name); ok {
			sequences = append(sequences, n)
			continue
		}
		if digits, ok := strings.CutPrefix(name, sparePrefix); ok {
			n, err := strconv.ParseUint(digits, 10, 64)
			info, statErr := j.fs.Stat(full)
			if err == nil && statErr == nil && info.Size() == j.spares.size {
				j.spares.adopt(name, n)
				continue
			}
		} else if !strings.HasPrefix(name, freshPrefix) {
			continue // not ours
		}
		if err := j.fs.Remove(full); err != nil {
			return nil, err
		}
	}
	slices.Sort(sequences)
	for i, n := range sequences {
		if n != sequences[0]+uint64(i) {
			return nil, &CorruptError{Path: path.Join(j.dir, segmentName(n-1)), Reason: "segment is missing"}
		}
	}
	return sequences, nil
}

// openSegments opens the segment files and reads their headers. A newest one that never got a header is removed.
func (j *Journal) openSegments(sequences []uint64) ([]*segmentHeader, error) {
	var headers []*segmentHeader
	for i, n := range sequences {
		newest := i == len(sequences)-1
		name := path.Join(j.dir, segmentName(n))
		file, direct, err := j.fs.OpenDirect(name)
		if err != nil {
			return nil, err
		}
		s := &segment{sequence: n, path: name, file: file, direct: direct, live: make(map[uint64]int64)}
		j.segments = append(j.segments, s) // closed from there if the open fails
		h, err := s.readHeader()
		switch {
		case err == nil:
			headers = append(headers, h)
			continue
		case !errors.Is(err, errMalformed):
			return nil, err
		case !newest:
			return nil, &CorruptError{Path: name, Reason: err.Error()}
		}
		if err := j.dropUnstarted(s, err); err != nil {
			return nil, err
		}
	}
	return headers, nil
}

// readHeader reads the segment's header and takes over what it says.
func (s *segment) readHeader() (*segmentHeader, error) {
	size, err := s.file.Size()
	if err != nil {
		return nil, err
	}
	s.size = size
	b := make([]byte, min(pageSize, size))
	if err := readFull(s.file, b, 0); err != nil {
		return nil, err
	}
	length, err := segmentHeaderLength(b)
	if err != nil {
		return nil, err
	}
	if int64(length) > size {
		return nil, fmt.Errorf("%w: segment header is longer than the file", errMalformed)
	}
	if length > len(b) {
		b = make([]byte, length)
		if err := readFull(s.file, b, 0); err != nil {
			return nil, err
		}
	}
	h, err := decodeSegmentHeader(b)
	if err != nil {
		return nil, err
	}
	if h.sequence != s.sequence { // what the file was before it was recycled
		return nil, fmt.Errorf("%w: header of segment %d", errMalformed, h.sequence)
	}
	if h.size > uint64(size) || h.size%pageSize != 0 || h.size > segmentBytesMax {
		return nil, &CorruptError{Path: s.path, Reason: fmt.Sprintf("file has %d bytes of %d", size, h.size)}
	}
	s.size, s.incarnation = int64(h.size), h.incarnation
	return h, nil
}

func readFull(f vfs.File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// dropUnstarted removes the newest segment, whose header is bad because of cause. Rounds are written only
// after the header was synced: if there is one, then the header was good once.
func (j *Journal) dropUnstarted(s *segment, cause error) error {
	found, err := s.findRound(0, func(h roundHeader) bool { return h.sequence == s.sequence })
	if err != nil {
		return err
	}
	if found != nil {
		return &CorruptError{
			Path:   s.path,
			Reason: fmt.Sprintf("segment header is damaged (%v) but round %d is there", cause, found.number),
		}
	}
	j.segments = j.segments[:len(j.segments)-1]
	if err := s.file.Close(); err != nil {
		return err
	}
	j.log.Info("journal segment was never started; removed", "path", s.path)
	if err := j.fs.Remove(s.path); err != nil {
		return err
	}
	return j.fs.SyncDir(j.dir)
}

// findRound looks from an offset on for a page that starts a round of this place which match accepts.
func (s *segment) findRound(from int64, match func(roundHeader) bool) (*roundHeader, error) {
	b := make([]byte, 1<<20)
	for off := from; off < s.size; off += int64(len(b)) {
		part := b[:min(int64(len(b)), s.size-off)]
		if err := readFull(s.file, part, off); err != nil {
			return nil, err
		}
		for at := 0; at+roundHeaderSize <= len(part); at += pageSize {
			h, err := decodeRoundHeader(part[at:])
			if err == nil && int64(h.page)*pageSize == off+int64(at) && match(h) {
				return &h, nil
			}
		}
	}
	return nil, nil
}

// replay reads segments one after another.
type replay struct {
	j       *Journal
	buffer  []byte // of the last round that was read, padding included
	lastAt  int64  // where that one is
	inRound bool   // there is a round in the segment at hand
}

// segment replays a segment. next is the header of the following one, nil for the newest.
func (p *replay) segment(s *segment, h, next *segmentHeader) error {
	corrupt := func(at int64, reason error) error {
		return &CorruptError{Path: s.path, Offset: at, Reason: reason.Error()}
	}
	if h.firstRound != p.j.nextRound {
		return corrupt(0, fmt.Errorf("starts with round %d, not %d", h.firstRound, p.j.nextRound))
	}
	if err := p.j.state.agree(h.table); err != nil {
		return corrupt(0, err)
	}
	end := s.size
	if next != nil {
		end = int64(next.previousEnd)
	}
	p.inRound = false
	s.end = segmentHeaderBytes(len(h.table))
	for s.end < end {
		header, payload, err := p.read(s, end)
		if err != nil && !errors.Is(err, errMalformed) {
			return err
		}
		if err != nil {
			if next != nil {
				return corrupt(s.end, err)
			}
			return p.tail(s, err)
		}
		start := s.end
		err = visitRecords(header, payload, func(r record, offset int) error {
			return p.j.state.replay(r, location{segment: s, offset: uint32(start) + uint32(offset), length: uint32(r.length)})
		})
		if err != nil {
			return corrupt(start, fmt.Errorf("round %d: %w", header.number, err))
		}
		p.j.nextRound++
		p.lastAt, p.inRound = start, true
		s.end += pad(int64(header.length))
	}
	if next != nil && s.end != end {
		return corrupt(s.end, fmt.Errorf("rounds end here, not at %d", end))
	}
	return nil
}

// read reads and checks the round at the end of what is replayed.
func (p *replay) read(s *segment, end int64) (h roundHeader, payload []byte, err error) {
	p.fit(pageSize)
	if err := readFull(s.file, p.buffer, s.end); err != nil {
		return h, nil, err
	}
	h, err = decodeRoundHeader(p.buffer)
	if err != nil {
		return h, nil, err
	}
	if h.sequence != s.sequence || h.incarnation != s.incarnation || h.number != p.j.nextRound || int64(h.page)*pageSize != s.end {
		return h, nil, fmt.Errorf("%w: round %d of segment %d is not the one that follows", errMalformed, h.number, h.sequence)
	}
	length := pad(int64(h.length))
	if s.end+length > end {
		return h, nil, fmt.Errorf("%w: round goes beyond the end", errMalformed)
	}
	if length > pageSize {
		p.fit(length)
		if err := readFull(s.file, p.buffer, s.end); err != nil {
			return h, nil, err
		}
	}
	return checkRound(p.buffer)
}

// fit makes the buffer length bytes long.
func (p *replay) fit(length int64) {
	if int64(cap(p.buffer)) < length {
		p.buffer = vfs.AlignedBuffer(int(length))
	}
	p.buffer = p.buffer[:length]
}

// tail decides what the first bad round of the newest segment is. A round is written only after the one
// before it was synced: if a later one is there, this one was durable and is damaged now.
func (p *replay) tail(s *segment, cause error) error {
	found, err := s.findRound(s.end, func(h roundHeader) bool {
		return h.sequence == s.sequence && h.incarnation == s.incarnation && h.number > p.j.nextRound
	})
	if err != nil {
		return err
	}
	if found != nil {
		return &CorruptError{
			Path: s.path, Offset: s.end,
			Reason: fmt.Sprintf("round %d is damaged (%v) but round %d after it is there", p.j.nextRound, cause, found.number),
		}
	}
	p.j.log.Debug("journal ends", "path", s.path, "offset", s.end, "next_round", p.j.nextRound, "reason", cause)
	return nil
}

// settle makes the last round, or the segment header if there is none, durable once more by writing it again:
// the process before may have stopped because its sync failed, and then the kernel may show bytes
// that never reached the disk and that a sync alone would not write.
func (p *replay) settle() error {
	j := p.j
	s := j.segments[len(j.segments)-1]
	j.head = s
	at, length := int64(0), s.end
	if p.inRound {
		at, length = p.lastAt, s.end-p.lastAt
	}
	p.fit(length)
	if err := readFull(s.file, p.buffer, at); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(p.buffer, at); err != nil {
		return err
	}
	return s.file.Sync()
}
