package client

import (
	"slices"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/wal/record"
)

// window is the producer's side of de-duplication for one shard: the numbered
// batches that have no result yet, and what is known of each. It decides; it
// starts nothing, sends nothing and reads no clock. One goroutine owns it.
//
// The service takes a batch of a producer only if its sequence is the next one
// after the highest it took (1 for a producer that it does not know), answers
// a batch that it has taken with the original positions, and refuses anything
// else as stale. All decisions here follow from that rule:
//
//   - Sending the same bytes again is always safe while the service remembers
//     the producer, so everything without a result is sent again, in order,
//     after any failure.
//   - If the first batch without result is certain never to be taken (each
//     attempt was answered by a refusal), then no later batch of the session
//     can ever be taken either, sent or not: the gap is a wall. Only then may
//     later batches be numbered anew in a new session.
//   - If the outcome of one attempt is unknown, the batch may be taken now or
//     later. It is never numbered anew; when it must be given up, its error
//     says that it may have been written, and so do those of the batches after
//     it that were sent.
//   - A batch of unknown outcome is not sent again once half of the
//     de-duplication window has passed since it was first sent: by then the
//     service might have forgotten the producer and take the batch twice.
//   - A session that has been idle for so long is replaced by a new one. That
//     is safe because it has nothing without result.
//
// Without a producer id (idempotent false) nothing is de-duplicated: batches
// are sent again on the chance of storing them twice.
type window struct {
	// Immutable.
	limit      int // batches without result, at most
	idempotent bool
	pinned     bool
	retryFor   time.Duration
	newID      func() record.ProducerID

	dedup time.Duration // the stream's de-duplication window

	id       record.ProducerID
	next     uint64    // sequence number of the next record; >= 1
	requests uint64    // request ids handed out
	batches  []*batch  // 0 <= len <= limit; sequences are contiguous and end at next
	sent     int       // batches[:sent] went out on the present call; 0 <= sent <= len(batches)
	used     time.Time // last time the session was sent to or heard of
}

// failure is a batch to settle with an error.
type failure struct {
	b   *batch
	err *Error
}

func (w *window) empty() bool { return len(w.batches) == 0 }

func (w *window) room() bool { return len(w.batches) < w.limit }

// admit numbers and encodes a batch and puts it at the end. There must be room.
func (w *window) admit(b *batch, now time.Time) error {
	if w.next == 0 || (w.empty() && elapsed(now, w.used) > w.dedup/2) {
		if err := w.restart(); err != nil {
			return err
		}
	}
	w.used, b.tried = now, now
	return w.number(b)
}

func (w *window) number(b *batch) error {
	if err := b.encode(w.id, w.next, w.pinned); err != nil {
		return err
	}
	w.requests++
	b.id, b.uncertain, b.firstSent = w.requests, false, time.Time{}
	w.next += uint64(b.count)
	w.batches = append(w.batches, b)
	return nil
}

// restart begins a new session and numbers what is left anew. The caller has
// made sure that no copy of what is left can be taken in the old one.
func (w *window) restart() error {
	w.sent = 0
	if !w.idempotent {
		w.next = 1 // no numbers to give: what is left stays as it is, and as uncertain
		return nil
	}
	left := w.batches
	w.id, w.next, w.batches = w.newID(), 1, make([]*batch, 0, w.limit)
	for _, b := range left {
		if err := w.number(b); err != nil {
			return err
		}
	}
	return nil
}

// unsent returns the next batch to send on the present call, nil if all are out.
func (w *window) unsent() *batch {
	if w.sent == len(w.batches) {
		return nil
	}
	return w.batches[w.sent]
}

// sending notes that unsent's batch is handed to the call; whether it gets
// through is not known from here on.
func (w *window) sending(now time.Time) {
	b := w.batches[w.sent]
	if b.firstSent.IsZero() {
		b.firstSent = now
	}
	w.sent++
	w.used = now
}

// accept takes an acknowledgement off the window. ok is false if it is not the
// one that must come next: the call is then of no more use.
func (w *window) accept(r *levadav1.AppendResponse, now time.Time) (b *batch, ok bool) {
	if w.sent == 0 || w.batches[0].id != r.GetId() || !covers(r.GetRanges(), w.batches[0].count) {
		return nil, false
	}
	b = w.batches[0]
	w.batches[0] = nil
	w.batches = w.batches[1:]
	w.sent--
	w.used = now
	return b, true
}

// uncertain reports whether a batch may be stored, or may still be.
func (w *window) uncertain() bool {
	return slices.ContainsFunc(w.batches, func(b *batch) bool { return b.uncertain })
}

// broken notes that the call ended: nobody knows about what was on it.
func (w *window) broken() {
	for _, b := range w.batches[:w.sent] {
		b.uncertain = true
	}
	w.sent = 0
}

// answered notes that the call ended with an answer about its first batch that
// says that this attempt did nothing.
func (w *window) answered() {
	if w.sent > 1 {
		for _, b := range w.batches[1:w.sent] {
			b.uncertain = true
		}
	}
	w.sent = 0
}

// refused gives up the first batch, which the service refused for good, and
// whatever cannot be told from written without it. Call answered first.
func (w *window) refused(err *Error) ([]failure, error) { return w.giveUp(1, err) }

// stale decides after the service did not know the session, or expected
// another sequence. Call answered first.
func (w *window) stale(err *Error) ([]failure, error) {
	if !w.batches[0].uncertain || !w.idempotent {
		return nil, w.restart()
	}
	return w.giveUp(1, err)
}

// expire gives up what has been tried for too long. There is no call.
func (w *window) expire(now time.Time, err *Error) ([]failure, error) {
	n := 0
	for n < len(w.batches) && w.overdue(w.batches[n], now) {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return w.giveUp(n, err)
}

func (w *window) overdue(b *batch, now time.Time) bool {
	return now.Sub(b.tried) >= w.retryFor || (w.idempotent && b.uncertain && elapsed(now, b.firstSent) > w.dedup/2)
}

// deadline returns when expire will find something.
func (w *window) deadline() time.Time {
	b := w.batches[0]
	d := b.tried.Add(w.retryFor)
	if w.idempotent && !b.firstSent.IsZero() {
		if forget := b.firstSent.Add(w.dedup/2 + time.Millisecond); forget.Before(d) {
			d = forget
		}
	}
	return d
}

// giveUp fails the first n batches, and after one of unknown outcome all that
// are unknown as well; the rest starts a new session.
func (w *window) giveUp(n int, err *Error) ([]failure, error) {
	var failed []failure
	wall := false // the session can take nothing any more
	for len(w.batches) > 0 {
		b := w.batches[0]
		wall = wall || (w.idempotent && !b.uncertain)
		maybe := b.uncertain && !wall
		if len(failed) >= n && (!maybe || !w.idempotent) {
			break
		}
		e := err
		if maybe {
			e = err.maybeWritten()
		}
		failed = append(failed, failure{b, e})
		w.batches = w.batches[1:]
	}
	return failed, w.restart()
}

// elapsed returns the time from then to now by the clock that says more: the
// monotonic one stands still while the machine sleeps, the service's does not.
func elapsed(now, then time.Time) time.Duration {
	return max(now.Sub(then), now.Round(0).Sub(then.Round(0)))
}
