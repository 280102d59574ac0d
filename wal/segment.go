package wal

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/levada-stream/levada/internal/vfs"
)

const segmentSuffix = ".seg"

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// parseSegmentName returns the first ordinal in a segment's file name.
func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil
}

// segment is one file of a log. Fields above the line are immutable, those
// below are guarded by Log.mu.
type segment struct {
	path  string
	id    segmentID
	start Position
	// ---
	end       Position // after the last block written
	size      int64    // of the data written, header page included, footer not
	fileSize  int64    // of the file, reserved space and footer included
	firstTime int64    // of the first block; meaningless while empty
	sealed    bool
	// index is append-only, so that readers may keep a slice of it. It is nil
	// for a sealed segment, whose index is in its footer.
	index []indexEntry
}

func (s *segment) empty() bool { return s.start.Next == s.end.Next }

// note records a block written at off.
func (s *segment) note(h *blockHeader, off int64) {
	if s.empty() {
		s.firstTime = h.time
	}
	s.index = appendIndex(s.index, h, off)
	s.end = h.position()
}

func appendIndex(index []indexEntry, h *blockHeader, off int64) []indexEntry {
	if n := len(index); n > 0 && off-index[n-1].offset < indexSpacing {
		return index
	}
	return append(index, indexEntry{ordinal: h.first, time: h.time, offset: off})
}

// SegmentInfo describes a segment for people and for retention.
type SegmentInfo struct {
	Path      string
	First     uint64 // first ordinal
	Next      uint64 // ordinal after the last; First if the segment is empty
	FirstTime int64  // ms since the Unix epoch; 0 if the segment is empty
	LastTime  int64  // of the last block written, of the one before the segment if it is empty
	Bytes     int64  // size of the file
	Sealed    bool
}

func (s *segment) info() SegmentInfo {
	i := SegmentInfo{
		Path: s.path, First: s.start.Next, Next: s.end.Next,
		LastTime: s.end.Time, Bytes: s.fileSize, Sealed: s.sealed,
	}
	if !s.empty() {
		i.FirstTime = s.firstTime
	}
	return i
}

// listSegments returns the first ordinals of a directory's segments, ascending.
func listSegments(fsys vfs.FS, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, name := range names {
		if first, ok := parseSegmentName(name); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// HasSegments reports whether a directory holds segment files. A log that never had a record has none.
func HasSegments(fsys vfs.FS, dir string) (bool, error) {
	firsts, err := listSegments(fsys, dir)
	return len(firsts) > 0, err
}

// readHeader reads a segment's first page and checks it against the file's name.
func readHeader(f vfs.File, path string, first uint64) (segmentHeader, error) {
	size, err := f.Size()
	if err != nil {
		return segmentHeader{}, &readError{err}
	}
	w := window{f: f, end: size}
	page, err := w.at(0, pageSize)
	if err != nil {
		if isReadError(err) {
			return segmentHeader{}, err
		}
		return segmentHeader{}, corrupt(path, 0, "segment header is cut short")
	}
	h, err := decodeSegmentHeader(page)
	if errors.Is(err, ErrVersion) {
		return segmentHeader{}, fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return segmentHeader{}, corrupt(path, 0, "%v", err)
	}
	if h.start.Next != first {
		return segmentHeader{}, corrupt(path, 0, "the header says first ordinal %d", h.start.Next)
	}
	return h, nil
}

// readFooter reads a sealed segment's footer. Bytes that are none are a *CorruptError.
func readFooter(f vfs.File, path string, id segmentID) (footer, int64, error) {
	size, err := f.Size()
	if err != nil {
		return footer{}, 0, &readError{err}
	}
	w := window{f: f, end: size}
	b, err := w.at(size-footerSize, footerSize)
	if err != nil {
		if isReadError(err) {
			return footer{}, 0, err
		}
		return footer{}, 0, corrupt(path, 0, "too short for a footer")
	}
	ft, err := decodeFooter(b, size, id.salt())
	if err != nil {
		return footer{}, 0, corrupt(path, size-footerSize, "%v", err)
	}
	return ft, size, nil
}

// readIndex reads the index that ft describes.
func readIndex(f vfs.File, path string, id segmentID, ft footer) ([]indexEntry, error) {
	n := int(footerLength(int(ft.entries)) - footerSize)
	w := window{f: f, end: ft.dataEnd + int64(n)}
	b, err := w.at(ft.dataEnd, n)
	if err != nil {
		if isReadError(err) {
			return nil, err
		}
		return nil, corrupt(path, ft.dataEnd, "index is cut short")
	}
	if crc := checksumFrom(id.salt(), b); crc != ft.indexCRC {
		return nil, corrupt(path, ft.dataEnd, "index checksum mismatch")
	}
	return decodeIndex(b, int(ft.entries)), nil
}
