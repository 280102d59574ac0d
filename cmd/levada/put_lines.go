package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// lineBytesMax is the longest line, without its end.
const lineBytesMax = 10 << 20

// errLongLine reports a line beyond lineBytesMax; the next one can be read.
var errLongLine = fmt.Errorf("line is longer than %d bytes, the largest record", lineBytesMax)

// lineReader cuts a stream into lines. Lines end with "\n", which is not part
// of them, and so need not the last one; nothing else is changed.
type lineReader struct {
	in  *bufio.Reader
	buf []byte // holds a line longer than in's buffer
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 1<<20)}
}

// next returns the next line, valid until the next call, or errLongLine, io.EOF
// after the last line, or the reader's error.
func (l *lineReader) next() ([]byte, error) {
	part, err := l.in.ReadSlice('\n')
	if err == nil {
		return part[:len(part)-1], nil
	}
	l.buf = l.buf[:0]
	long := false
	for errors.Is(err, bufio.ErrBufferFull) {
		if long = long || len(l.buf)+len(part) > lineBytesMax; !long {
			l.buf = append(l.buf, part...)
		}
		part, err = l.in.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	ended := err == nil
	if ended {
		part = part[:len(part)-1]
	}
	switch {
	case long || len(l.buf)+len(part) > lineBytesMax:
		return nil, errLongLine
	case !ended && len(l.buf)+len(part) == 0:
		return nil, io.EOF
	}
	l.buf = append(l.buf, part...)
	return l.buf, nil
}
