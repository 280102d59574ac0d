package journal

import (
	"fmt"
	"path"

	"github.com/levada-stream/levada/internal/vfs"
)

// staged is what a group will look like after the requests of the round so far.
type staged struct {
	exists              bool
	first, last, commit uint64
}

// run is the writer goroutine: the only one that writes to segments.
func (j *Journal) run() {
	var batch []*request
	open := true
	for {
		batch, open = j.queue.take(batch, j.roundMax)
		if !open {
			break
		}
		err := j.Failed()
		if err == nil {
			err = j.serve(batch)
		}
		for _, r := range batch {
			r.answer(firstError(err, r.reject))
		}
		clear(batch)
	}
	if j.Failed() == nil {
		// A last empty round proves that the one before was durable, so that damage to it is not taken for a torn tail.
		if err := j.writeRound(nil); err != nil {
			j.fail(err)
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// serve writes one round and then recycles what became free. An error of it stops the journal.
func (j *Journal) serve(batch []*request) error {
	if len(batch) > 0 {
		if err := j.writeRound(batch); err != nil {
			return j.fail(err)
		}
	}
	if err := j.recycleFree(); err != nil {
		// The batch is durable: it is the next caller that must hear of this.
		_ = j.fail(err)
	}
	return nil
}

// fail stops the journal for ever and returns the error that everyone gets from now on.
func (j *Journal) fail(cause error) error {
	j.mu.Lock()
	if j.failed != nil {
		defer j.mu.Unlock()
		return j.failed
	}
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	j.failed = err
	j.mu.Unlock()
	j.queue.close(err)
	j.log.Error("journal stopped; the node's shards stop with it", "dir", j.dir, "error", cause)
	for _, r := range j.queue.drain() {
		r.answer(err)
	}
	if j.options.OnFailure != nil {
		j.group.Go(func() { j.options.OnFailure(err) }) // it may wait for calls that are not answered yet
	}
	return err
}

// takeDirty returns the groups whose prefix removals no round holds yet. Needs mu.
func (j *Journal) takeDirty() []bounds {
	rows := make([]bounds, 0, len(j.dirty))
	for id := range j.dirty {
		row := bounds{group: id}
		if g := j.state.groups[id]; g != nil {
			row.first = g.first
		}
		rows = append(rows, row)
	}
	clear(j.dirty)
	return rows
}

// writeRound makes a batch durable and then visible.
func (j *Journal) writeRound(batch []*request) error {
	need := int64(roundHeaderSize)
	for _, r := range batch {
		need += r.bytes
	}
	if err := j.makeRoom(need); err != nil {
		return err
	}
	dirty, overlay := j.stage(batch)
	need += int64(len(dirty)) * recordHeaderSize
	if j.head.end+pad(need) > j.head.size { // so many removals just now: the table of the next segment holds them
		need -= int64(len(dirty)) * recordHeaderSize
		dirty = nil
		if err := j.roll(); err != nil {
			return err
		}
	}
	j.encoder.start(need, !j.head.direct)
	for _, row := range dirty {
		j.encoder.control(kindPrefix, row.group, row.first, 0, 0)
	}
	for _, r := range batch {
		j.encode(r, overlay[r.group])
	}
	start, err := j.writeEncoded()
	if err != nil {
		return err
	}
	j.publish(batch, start)
	return nil
}

// makeRoom starts a new segment if the round does not fit into this one.
func (j *Journal) makeRoom(need int64) error {
	j.mu.RLock()
	need += int64(len(j.dirty)) * recordHeaderSize
	j.mu.RUnlock()
	if j.head.end+pad(need) <= j.head.size {
		return nil
	}
	if err := j.roll(); err != nil {
		return err
	}
	if err := j.reclaim(); err != nil {
		return err
	}
	if j.head.end+pad(need) > j.head.size { // what was moved took the room
		if err := j.roll(); err != nil {
			return err
		}
	}
	if j.head.end+pad(need) > j.head.size {
		return fmt.Errorf("round of %d bytes does not fit into an empty segment of %d", need, j.head.size)
	}
	return nil
}

// stage returns the prefix removals to write and what the groups of a batch look like,
// both of one moment: a removal seen by one alone would make a replay differ.
func (j *Journal) stage(batch []*request) (dirty []bounds, overlay map[uint64]*staged) {
	overlay = make(map[uint64]*staged, len(batch))
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range batch {
		if overlay[r.group] != nil {
			continue
		}
		s := &staged{}
		if g := j.state.groups[r.group]; g != nil {
			*s = staged{exists: true, first: g.first, last: g.last, commit: g.commit}
		}
		overlay[r.group] = s
	}
	return j.takeDirty(), overlay
}

// encode adds a request to the round, or sets why not.
func (j *Journal) encode(r *request, g *staged) {
	switch r.kind {
	case kindEntry:
		if n := len(r.entries); n > 0 {
			if g.exists && r.entries[0].Index != g.last+1 {
				r.reject = fmt.Errorf("%w: entry %d of group %d, the last is %d", ErrGap, r.entries[0].Index, r.group, g.last)
				return
			}
			if !g.exists {
				*g = staged{exists: true, first: r.entries[0].Index}
			}
			r.offsets = make([]int, n)
			for i := range r.entries {
				r.offsets[i] = j.encoder.entry(kindEntry, r.group, &r.entries[i])
			}
			g.last = r.entries[n-1].Index
		}
		if !g.exists {
			return
		}
		// Written even if it is the old one: a group that loses its old entries
		// while this round is on its way must look the same here and in a replay.
		r.commit = max(g.commit, min(r.commit, g.last))
		g.commit = r.commit
		j.encoder.control(kindCommit, r.group, r.commit, 0, 0)
	case kindSuffix:
		j.encoder.control(kindSuffix, r.group, r.from, 0, 0)
		if r.from <= g.first {
			*g = staged{}
		} else {
			g.last = min(g.last, r.from-1)
			g.commit = min(g.commit, g.last)
		}
	case kindDelete:
		j.encoder.control(kindDelete, r.group, 0, 0, 0)
		*g = staged{}
	}
}

// writeEncoded writes the encoded round at the head and syncs. It returns where the round starts.
func (j *Journal) writeEncoded() (int64, error) {
	start := j.head.end
	length := pad(int64(j.encoder.length))
	if start+length > j.head.size {
		return 0, fmt.Errorf("round of %d bytes does not fit at %d of %d", length, start, j.head.size)
	}
	chunks := j.encoder.finish(roundHeader{
		sequence:    j.head.sequence,
		number:      j.nextRound,
		incarnation: j.head.incarnation,
		page:        uint32(start / pageSize),
	})
	if _, err := j.head.file.WritevAt(chunks, start); err != nil {
		return 0, fmt.Errorf("write round %d: %w", j.nextRound, err)
	}
	if err := j.head.file.Sync(); err != nil {
		return 0, fmt.Errorf("sync round %d: %w", j.nextRound, err)
	}
	// The point of no return: the round is durable and nothing may be answered as if it were not.
	j.head.end += length
	j.nextRound++
	j.rounds.Add(1)
	j.written.Add(length)
	return start, nil
}

// publish makes the requests of a durable round visible.
func (j *Journal) publish(batch []*request, start int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range batch {
		if r.reject != nil {
			continue
		}
		switch r.kind {
		case kindEntry:
			for i := range r.entries {
				e := &r.entries[i]
				at := location{
					segment: j.head,
					offset:  uint32(start) + uint32(r.offsets[i]),
					length:  uint32(entrySize(e)),
					cached:  j.state.cache.add(r.group, e),
				}
				if err := j.state.append(r.group, e.Index, at); err != nil {
					panic("journal: a checked entry does not fit: " + err.Error()) // the record is durable: no way back
				}
			}
			j.state.commit(r.group, r.commit)
		case kindSuffix:
			j.state.truncateSuffix(r.group, r.from)
		case kindDelete:
			j.state.remove(r.group)
		}
	}
	j.state.trim()
}

// roll starts a new segment, whose table holds every group as it is now.
func (j *Journal) roll() error {
	sequence, previousEnd := uint64(1), int64(0)
	if j.head != nil {
		sequence, previousEnd = j.head.sequence+1, j.head.end
	}
	spare, err := j.spares.take()
	if err != nil {
		return err
	}
	name := path.Join(j.dir, segmentName(sequence))
	if err := j.fs.Rename(path.Join(j.dir, spare), name); err != nil {
		return fmt.Errorf("start segment %d: %w", sequence, err)
	}
	if err := j.fs.SyncDir(j.dir); err != nil {
		return fmt.Errorf("start segment %d: %w", sequence, err)
	}
	file, direct, err := j.fs.OpenDirect(name)
	if err != nil {
		return fmt.Errorf("start segment %d: %w", sequence, err)
	}
	next := &segment{
		sequence: sequence, incarnation: j.newIncarnation(), path: name, size: j.spares.size,
		file: file, direct: direct, live: make(map[uint64]int64),
	}
	if err := j.writeSegmentHeader(next, previousEnd); err != nil {
		_ = file.Close() // nothing in it counts: the error of the write is the one to report
		return err
	}
	j.mu.Lock()
	j.segments = append(j.segments, next)
	j.mu.Unlock()
	j.head = next
	return nil
}

func (j *Journal) writeSegmentHeader(s *segment, previousEnd int64) error {
	j.mu.Lock()
	clear(j.dirty) // the table tells
	table := j.state.table()
	j.mu.Unlock()
	h := segmentHeader{
		sequence: s.sequence, incarnation: s.incarnation, firstRound: j.nextRound,
		size: uint64(s.size), previousEnd: uint32(previousEnd), table: table,
	}
	length := segmentHeaderBytes(len(table))
	if length >= s.size {
		return fmt.Errorf("table of %d groups does not fit into a segment of %d bytes", len(table), s.size)
	}
	b := vfs.AlignedBuffer(int(length))
	h.encode(b)
	if _, err := s.file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("start segment %d: %w", s.sequence, err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("start segment %d: %w", s.sequence, err)
	}
	s.end = length
	return nil
}
