package journal

import "sync"

// request is a change that waits to be written. The writer answers each exactly once.
type request struct {
	kind    recordKind // kindEntry for an append
	group   uint64
	entries []Entry
	commit  uint64
	from    uint64      // kindSuffix
	bytes   int64       // at most what it takes in a round
	done    chan error  // gets the answer, unless then does
	then    func(error) // may be nil; called by the writer, so it must not block

	offsets []int // of the entries in the round; owned by the writer
	reject  error // why it is not part of the round; owned by the writer
}

func newRequest(kind recordKind, group uint64) *request {
	return &request{kind: kind, group: group, bytes: recordHeaderSize, done: make(chan error, 1)}
}

// answer tells the caller how the request ended.
func (r *request) answer(err error) {
	if r.then != nil {
		r.then(err)
		return
	}
	r.done <- err
}

// queue hands requests from many callers to the writer. It is bounded by its
// callers: each waits for its answer, or bounds what it has under way.
type queue struct {
	signal chan struct{} // capacity 1: one wake is enough

	mu      sync.Mutex
	waiting []*request
	refuse  error // what new requests are answered with; nil while open
	nudged  bool  // the writer has something to do beside requests
}

func newQueue() *queue { return &queue{signal: make(chan struct{}, 1)} }

func (q *queue) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// put queues a request, or returns why it is refused.
func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		return q.refuse
	}
	q.waiting = append(q.waiting, r)
	q.wake()
	return nil
}

// nudge makes the writer look around although no request waits.
func (q *queue) nudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nudged = true
	q.wake()
}

// close refuses further requests with err, unless they are refused already.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse == nil {
		q.refuse = err
	}
	q.wake()
}

// drain returns everything that waits.
func (q *queue) drain() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting = nil
	return all
}

// take waits for requests and moves up to limit bytes of them to into, one at least.
// It returns none when it was nudged, and open=false when the queue is closed and empty.
func (q *queue) take(into []*request, limit int64) (batch []*request, open bool) {
	for {
		q.mu.Lock()
		batch = into[:0]
		var bytes int64
		for _, r := range q.waiting {
			if len(batch) > 0 && bytes+r.bytes > limit {
				break
			}
			bytes += r.bytes
			batch = append(batch, r)
		}
		n := copy(q.waiting, q.waiting[len(batch):])
		clear(q.waiting[n:])
		q.waiting = q.waiting[:n]
		nudged, closed := q.nudged, q.refuse != nil
		q.nudged = false
		q.mu.Unlock()
		switch {
		case len(batch) > 0 || nudged:
			return batch, true
		case closed:
			return nil, false
		}
		<-q.signal
	}
}
