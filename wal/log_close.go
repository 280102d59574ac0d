package wal

import "errors"

// Close writes and syncs everything, marks the end of what is durable, and
// closes the log. It returns ErrFailed if the log had failed. A second call does nothing.
func (l *Log) Close() error { return l.shut(true) }

// Abandon closes the log without writing what is in memory. A second call does nothing.
func (l *Log) Abandon() error { return l.shut(false) }

func (l *Log) shut(flush bool) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	err := l.failed
	l.mu.Unlock()

	l.ioMu.Lock()
	defer l.ioMu.Unlock()
	if flush && err == nil {
		if err = l.finish(); err != nil && !errors.Is(err, ErrFailed) {
			err = l.fail(err)
		}
	}
	err = errors.Join(err, l.closeTail())
	l.mu.Lock()
	freed := l.dropMemory()
	segs := l.segs
	l.notify()
	l.mu.Unlock()
	l.w.forget(l)
	l.w.release(freed)
	for _, s := range segs {
		err = errors.Join(err, l.w.files.drop(s))
	}
	return err
}

// finish writes and syncs everything, then a page that promises it: after a
// clean stop all damage is told from a torn tail. The page itself need not survive.
func (l *Log) finish() error {
	if err := l.drain(); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	t := l.tail
	if t == nil || t.seg.empty() || t.promised >= t.data {
		return nil
	}
	if err := l.openTail(t.seg.start.Next); err != nil {
		return err
	}
	return l.write(nil)
}
