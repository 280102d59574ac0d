package main

import (
	"fmt"
	"sync"
	"time"
)

// progressInterval is how often a terminal is told how far a put is, and how
// often acknowledgements are written out.
const progressInterval = 250 * time.Millisecond

// startProgress keeps the acknowledgement file current and, on a terminal,
// shows a line of counters. The function returned ends it.
func startProgress(s *session, t *tally, start time.Time) (stop func()) {
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				if s.terminal {
					fmt.Fprint(s.err, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				t.flushAcked()
				if s.terminal {
					fmt.Fprint(s.err, "\r\x1b[K"+progressLine(t, time.Since(start)))
				}
			}
		}
	})
	return func() {
		close(done)
		work.Wait()
	}
}

func progressLine(t *tally, elapsed time.Duration) string {
	read, _, counts := t.snapshot()
	return fmt.Sprintf("%s lines read, %s acknowledged, %s failed, %.1f MB/s",
		grouped(read), grouped(counts.acknowledged), grouped(counts.failed), megabytesPerSecond(counts.ackedBytes, elapsed))
}
