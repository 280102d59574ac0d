package kinesis

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// bodies reads the bodies of requests into memory that all of them together may take so much of. Small ones have room of their own: a few
// uploads that come slowly must not keep every other request waiting.
type bodies struct {
	small, large *semaphore.Weighted
	largeMax     int64
	pool         sync.Pool // of *[]byte
}

// body is one that was read.
type body struct {
	bytes []byte
	held  int64
	room  *semaphore.Weighted
	from  *[]byte
}

func newBodies(most int64) *bodies {
	return &bodies{
		small: semaphore.NewWeighted(max(most/4, smallBody)), large: semaphore.NewWeighted(most - most/4), largeMax: most - most/4,
		pool: sync.Pool{New: func() any { return new([]byte) }},
	}
}

const (
	// smallBody is what a body has at most that is small. One whose length is not told beforehand gets as much at first.
	smallBody = 64 << 10
	// pooledMax bounds the memory that is kept for later bodies.
	pooledMax = 16 << 20
	// roomPatience is how long a body, or an answer, waits for others to make room.
	roomPatience = 5 * time.Second
	// bodyGrace is how long a body may take however small it is, and bodyRate how many bytes more have to arrive in each second after that.
	bodyGrace = 5 * time.Second
	bodyRate  = 512 << 10
)

// reserve waits for room for a body of so many bytes.
func (b *bodies) reserve(ctx context.Context, size int64) (*body, error) {
	out := &body{room: b.small, held: size}
	if size > smallBody {
		out.room, out.held = b.large, min(size, b.largeMax)
	}
	if err := acquire(ctx, out.room, out.held); err != nil {
		return nil, err
	}
	return out, nil
}

// acquire waits for so many bytes of a room. Clients try again later what finds none.
func acquire(ctx context.Context, room *semaphore.Weighted, bytes int64) error {
	limited, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	err := room.Acquire(limited, bytes)
	if err != nil && ctx.Err() == nil {
		return unavailable("The node has no memory for more requests now.")
	}
	return err
}

// buffer returns memory for a body of so many bytes: kept memory, unless that is so much more that what all bodies hold would say little of what they take.
func (b *bodies) buffer(size int64) *[]byte {
	from := b.pool.Get().(*[]byte)
	if int64(cap(*from)) > 2*size+smallBody {
		b.pool.Put(from)
		return new([]byte)
	}
	return from
}

// read reads the body of r, of at most limit bytes. What it returns is to be released.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int) (*body, error) {
	tooLarge := &apiError{code: "RequestEntityTooLargeException", status: http.StatusRequestEntityTooLarge, message: "The request's body is larger than this operation may have."}
	if r.ContentLength > int64(limit) {
		return nil, tooLarge
	}
	// A body without a length holds what it might have, so that many cannot take more than there is.
	size := r.ContentLength
	if size < 0 {
		size = int64(limit)
	}
	out, err := b.reserve(r.Context(), size)
	if err != nil {
		return nil, err
	}
	out.from = b.buffer(size)
	deadline := http.NewResponseController(w)
	data, err := readUpTo(&paced{from: r.Body, deadline: deadline, began: time.Now()}, (*out.from)[:0], r.ContentLength, limit)
	*out.from = data[:0]
	if err != nil {
		b.release(out)
		switch {
		case errors.Is(err, errTooLong):
			return nil, tooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &apiError{code: "RequestTimeoutException", status: http.StatusRequestTimeout, message: "The request's body arrived too slowly."}
		}
		return nil, &apiError{code: codeSerialization, status: http.StatusBadRequest, message: "The request's body did not arrive whole."}
	}
	_ = deadline.SetReadDeadline(time.Time{})            // a writer that cannot is a test's
	if spare := out.held - int64(len(data)); spare > 0 { // a subscription keeps its body for minutes
		out.room.Release(spare)
		out.held -= spare
	}
	out.bytes = data
	return out, nil
}

// paced reads a body that has to arrive at a rate. Whoever stops in the middle of one would hold room that others wait for.
type paced struct {
	from     io.Reader
	deadline *http.ResponseController
	began    time.Time
	got      int
	due      int // how many bytes have to be there for the deadline to move
}

func (p *paced) Read(b []byte) (int, error) {
	if p.got >= p.due {
		_ = p.deadline.SetReadDeadline(p.began.Add(min(bodyTimeout, bodyGrace+time.Duration(p.got)*time.Second/bodyRate))) // a writer that cannot is a test's
		p.due = p.got + smallBody
	}
	n, err := p.from.Read(b)
	p.got += n
	return n, err
}

var errTooLong = errors.New("the body is too long")

// readUpTo appends what from has, which is told to be size bytes, to buf.
func readUpTo(from io.Reader, buf []byte, size int64, limit int) ([]byte, error) {
	start := smallBody
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
	body.room.Release(body.held)
}
