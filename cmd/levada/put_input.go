package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// inputChunk is how much of the input is read at once.
const inputChunk = 128 << 10

// errInputLeft ends a promptReader whose input may have more.
var errInputLeft = errors.New("the input was left before its end")

// promptReader reads from a terminal or pipe that may be silent for ever, and
// ends at once all the same when it is told to.
type promptReader struct {
	done   <-chan struct{}
	chunks chan inputPart // without capacity: see fill
	rest   []byte         // of the last part
	err    error          // after rest
}

// inputPart is what one read of the input gave.
type inputPart struct {
	data []byte
	err  error
}

// newPromptReader returns a reader of in that ends when done is closed.
func newPromptReader(done <-chan struct{}, in io.Reader) *promptReader {
	r := &promptReader{done: done, chunks: make(chan inputPart)}
	// Not waited for: a read of standard input cannot be called off. It ends with the process at the latest.
	go r.fill(in)
	return r
}

// fill reads ahead by one part. Two buffers do, because a part is taken only when
// the one before is used up.
func (r *promptReader) fill(in io.Reader) {
	buffers := [2][]byte{make([]byte, inputChunk), make([]byte, inputChunk)}
	for i := 0; ; i = 1 - i {
		n, err := in.Read(buffers[i])
		select {
		case r.chunks <- inputPart{buffers[i][:n], err}:
		case <-r.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (r *promptReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		select {
		case part := <-r.chunks:
			r.rest, r.err = part.data, part.err
		case <-r.done:
			return 0, errInputLeft
		}
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		return n, r.err
	}
	return n, nil
}

func openInput(ctx context.Context, s *session, name string) (io.ReadCloser, error) {
	if name == "" || name == "-" {
		return io.NopCloser(s.in), nil
	}
	f, err := openFile(ctx, name)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, usageError{err}
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, usagef("FILE: %s is a directory; name a file, or - for standard input", name)
	}
	return f, nil
}

// openFile is os.Open that ends with ctx: a named pipe opens only when it has a writer.
func openFile(ctx context.Context, name string) (*os.File, error) {
	var f *os.File
	var err error
	opened := make(chan struct{})
	go func() { // ends with the process at the latest, as fill does
		f, err = os.Open(name)
		close(opened)
	}()
	select {
	case <-opened:
		return f, err
	case <-ctx.Done():
		return nil, fmt.Errorf("interrupted before %s could be opened: %w", name, ctx.Err())
	}
}
