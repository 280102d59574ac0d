package kinesis

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// bodies reads the bodies of requests into memory that all of them together may take so much of.
type bodies struct {
	room *semaphore.Weighted
	most int64
	pool sync.Pool // of *[]byte
}

// body is one that was read.
type body struct {
	bytes []byte
	held  int64
	from  *[]byte
}

func newBodies(most int64) *bodies {
	return &bodies{room: semaphore.NewWeighted(most), most: most, pool: sync.Pool{New: func() any { return new([]byte) }}}
}

const (
	// unsizedStart is what a body whose length is not told beforehand gets at first.
	unsizedStart = 64 << 10
	// pooledMax bounds the memory that is kept for later bodies.
	pooledMax = 16 << 20
)

// read reads the body of r, of at most limit bytes. What it returns is to be released.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int) (*body, error) {
	tooLarge := &apiError{code: "RequestEntityTooLargeException", status: http.StatusRequestEntityTooLarge, message: "The request's body is larger than this operation may have."}
	if r.ContentLength > int64(limit) {
		return nil, tooLarge
	}
	// A body without a length holds what it might have, so that many cannot take more than there is.
	held := r.ContentLength
	if held < 0 {
		held = int64(limit)
	}
	held = min(held, b.most)
	if err := b.room.Acquire(r.Context(), held); err != nil {
		return nil, err
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer that cannot is a test's
	from := b.pool.Get().(*[]byte)
	out := &body{held: held, from: from}
	data, err := readUpTo(r.Body, (*from)[:0], r.ContentLength, limit)
	*from = data[:0]
	if err != nil {
		b.release(out)
		if errors.Is(err, errTooLong) {
			return nil, tooLarge
		}
		return nil, &apiError{code: codeSerialization, status: http.StatusBadRequest, message: "The request's body did not arrive whole."}
	}
	_ = deadline.SetReadDeadline(time.Time{})
	if spare := held - int64(len(data)); spare > 0 { // a subscription keeps its body for minutes
		b.room.Release(spare)
		out.held -= spare
	}
	out.bytes = data
	return out, nil
}

var errTooLong = errors.New("the body is too long")

// readUpTo appends what from has, which is told to be size bytes, to buf.
func readUpTo(from io.Reader, buf []byte, size int64, limit int) ([]byte, error) {
	start := unsizedStart
	if size >= 0 {
		start = int(size) + 1 // one more, so that the end is seen without growing
	}
	if cap(buf) < start {
		buf = make([]byte, 0, start)
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf, errTooLong
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// release gives back what a body took. Its bytes must not be used after.
func (b *bodies) release(body *body) {
	if cap(*body.from) <= pooledMax {
		b.pool.Put(body.from)
	}
	b.room.Release(body.held)
}
