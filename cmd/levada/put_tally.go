package main

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/levada-stream/levada/client"
)

// errorsShown is how many failed lines are shown one by one.
const errorsShown = 10

// tally counts what became of each line. Its methods are safe for concurrent use.
type tally struct {
	acked  *bufio.Writer // nil: nobody asked
	warn   func(format string, args ...any)
	halted chan struct{} // closed by the first failure that is not the line's own

	mu        sync.Mutex
	read      uint64
	readBytes uint64
	counts    putCounts
	failure   error // the first that is not the line's own
	ackedErr  error // the first of writing acked
}

// putCounts is the outcome of lines read.
type putCounts struct {
	acknowledged, ackedBytes, duplicates, failed, uncertain uint64
}

func newTally(acked io.Writer, warn func(format string, args ...any)) *tally {
	t := &tally{warn: warn, halted: make(chan struct{})}
	if acked != nil {
		t.acked = bufio.NewWriterSize(acked, 1<<16)
	}
	return t
}

// took counts a line read.
func (t *tally) took(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read++
	t.readBytes += uint64(size)
}

// settle counts the result of a line.
func (t *tally) settle(line uint64, size int, r client.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Err != nil {
		t.fail(line, r.Err)
		return
	}
	t.counts.acknowledged++
	t.counts.ackedBytes += uint64(size)
	if r.Duplicate {
		t.counts.duplicates++
	}
	if t.acked != nil && t.ackedErr == nil {
		_, t.ackedErr = fmt.Fprintf(t.acked, "%d\t%s\t%s\n", line, shardID(r.Shard), r.Sequence)
	}
}

// refuse counts a line that was never sent.
func (t *tally) refuse(line uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail(line, err)
}

func (t *tally) fail(line uint64, err error) {
	t.counts.failed++
	if client.MaybeWritten(err) {
		t.counts.uncertain++
	}
	switch {
	case t.counts.failed <= errorsShown:
		t.warn("line %d: %v", line, err)
	case t.counts.failed == errorsShown+1:
		t.warn("more lines failed; they are counted only")
	}
	if t.failure == nil && !lineIsAtFault(err) {
		t.failure = err
		close(t.halted)
	}
}

// lineIsAtFault tells a bad line, after which the next may be good, from a
// failure that later lines share.
func lineIsAtFault(err error) bool {
	switch client.KindOf(err) {
	case client.Invalid, client.TooLarge:
		return true
	case client.Internal:
		return !isClientError(err) // our own: a line without key, a line too long
	}
	return false
}

// snapshot returns the counters now.
func (t *tally) snapshot() (read, readBytes uint64, counts putCounts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read, t.readBytes, t.counts
}

// finish writes out what was acknowledged and returns the first failure of
// doing so.
func (t *tally) finish() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.acked != nil && t.ackedErr == nil {
		t.ackedErr = t.acked.Flush()
	}
	return t.ackedErr
}

// flushAcked writes out the acknowledgements so far, so that they survive the
// death of this process. An error shows in finish.
func (t *tally) flushAcked() { _ = t.finish() }

// putReport is the outcome of a put.
type putReport struct {
	Lines        uint64  `json:"lines"`
	Bytes        uint64  `json:"bytes"`
	Acknowledged uint64  `json:"acknowledged"`
	Failed       uint64  `json:"failed"`
	Uncertain    uint64  `json:"uncertain"`
	Duplicates   uint64  `json:"duplicates_suppressed"`
	Seconds      float64 `json:"seconds"`
	MBPerSecond  float64 `json:"mb_per_second"`
	Interrupted  bool    `json:"interrupted"`
	Error        string  `json:"error,omitempty"`
}

func (t *tally) report(elapsed time.Duration, interrupted bool) putReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := putReport{
		Lines: t.read, Bytes: t.readBytes, Acknowledged: t.counts.acknowledged, Failed: t.counts.failed,
		Uncertain: t.counts.uncertain, Duplicates: t.counts.duplicates,
		Seconds: elapsed.Seconds(), MBPerSecond: megabytesPerSecond(t.counts.ackedBytes, elapsed), Interrupted: interrupted,
	}
	if t.failure != nil {
		r.Error = t.failure.Error()
	}
	return r
}

func (r putReport) print(w io.Writer) error {
	note := ""
	if r.Uncertain > 0 {
		note = fmt.Sprintf(" (%s of them may have been written)", grouped(r.Uncertain))
	}
	_, err := fmt.Fprintf(w, "%s lines read, %s acknowledged, %s failed%s, %s duplicates suppressed, %.1f MB in %.1f s, %.1f MB/s\n",
		grouped(r.Lines), grouped(r.Acknowledged), grouped(r.Failed), note, grouped(r.Duplicates), float64(r.Bytes)/1e6, r.Seconds, r.MBPerSecond)
	if err == nil && r.Interrupted {
		_, err = fmt.Fprintf(w, "interrupted: exactly %s lines were acknowledged\n", grouped(r.Acknowledged))
	}
	return err
}
