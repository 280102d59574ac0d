package journal

import (
	"fmt"
	"math"
	"path"
	"slices"
)

// relocateAlways is how much a group may hold in the oldest segment and have it
// moved before it is asked to snapshot.
const relocateAlways = 64 << 10

// runRequests asks groups for snapshots, apart from the writer so that an answer that takes long delays no round.
func (j *Journal) runRequests() {
	for {
		select {
		case <-j.quit:
			return
		case id := <-j.ask:
			j.options.RequestSnapshot(id)
		}
	}
}

// recycleFree frees the oldest segments that hold nothing live.
func (j *Journal) recycleFree() error {
	for {
		j.mu.RLock()
		oldest := j.segments[0]
		free := len(j.segments) > 1 && oldest.liveBytes == 0
		unwritten := len(j.dirty)
		j.mu.RUnlock()
		if !free {
			return nil
		}
		if unwritten > 0 {
			// Without these a replay would look for entries that are gone.
			if err := j.writeRound(nil); err != nil {
				return err
			}
			if j.segments[0] != oldest {
				continue // the round started a segment, and that freed this one
			}
		}
		if err := j.recycle(oldest); err != nil {
			return err
		}
	}
}

// recycle gives the file of the oldest segment back. Nothing refers to it any more and that is durable.
func (j *Journal) recycle(oldest *segment) error {
	j.mu.Lock()
	j.segments = slices.Delete(j.segments, 0, 1)
	j.mu.Unlock()
	oldest.use.Lock() // wait for the readers that were there before
	defer oldest.use.Unlock()
	if err := oldest.file.Close(); err != nil {
		return fmt.Errorf("recycle segment %d: %w", oldest.sequence, err)
	}
	if err := j.spares.giveBack(path.Base(oldest.path), oldest.size); err != nil {
		return fmt.Errorf("recycle segment %d: %w", oldest.sequence, err)
	}
	j.recycled.Add(1)
	return nil
}

// reclaim works against the growth of the journal; it runs when a segment was started. Above half of
// MaxBytes the groups that hold much of the oldest segment are asked for snapshots; above three
// quarters what others hold there is moved; above MaxBytes everything is. At most half a segment is
// moved each time: even if all is live, moving costs no more than half of what is written.
func (j *Journal) reclaim() error {
	budget := j.spares.size / 2
	for {
		if err := j.recycleFree(); err != nil {
			return err
		}
		j.mu.Lock()
		oldest := j.segments[0]
		used := int64(len(j.segments)) * j.spares.size
		if oldest == j.head || used <= j.options.MaxBytes/2 {
			j.mu.Unlock()
			return nil
		}
		j.askFor(oldest)
		j.mu.Unlock()
		moved := int64(0)
		var err error
		switch {
		case used > j.options.MaxBytes:
			moved, err = j.relocate(oldest, math.MaxInt64, budget)
		case used > j.options.MaxBytes/4*3:
			moved, err = j.relocate(oldest, relocateAlways, budget)
		}
		if err != nil {
			return err
		}
		budget -= moved
		if moved == 0 || budget <= 0 {
			return j.recycleFree()
		}
	}
}

// askFor asks the groups that hold much of a segment for snapshots, once. Needs mu.
func (j *Journal) askFor(s *segment) {
	if s.asked || j.options.RequestSnapshot == nil {
		return
	}
	s.asked = true
	for id, bytes := range s.live {
		if bytes <= relocateAlways {
			continue
		}
		select {
		case j.ask <- id:
		default: // the goroutine has enough to do; the next segment asks again
			s.asked = false
			return
		}
	}
}

// moving is an entry on its way to the head.
type moving struct {
	group uint64
	index uint64
	from  location
}

// relocate writes live entries of a segment again at the head: of groups that hold up to
// limit bytes there, about budget bytes in all. It returns how many bytes it moved.
func (j *Journal) relocate(s *segment, limit, budget int64) (int64, error) {
	j.mu.RLock()
	ids := make([]uint64, 0, len(s.live))
	for id, bytes := range s.live {
		if bytes <= limit {
			ids = append(ids, id)
		}
	}
	j.mu.RUnlock()
	slices.Sort(ids) // for the same bytes from the same history
	total := int64(0)
	for len(ids) > 0 && total < budget {
		var round []moving
		var bytes int64
		round, ids, bytes = j.gatherMoving(s, ids, min(budget-total, j.roundMax))
		if err := j.writeMoving(s, round); err != nil {
			return total, err
		}
		total += bytes
		j.relocated.Add(bytes)
	}
	return total, nil
}

// gatherMoving lists entries for one round, up to limit bytes but one at least, and the groups that are not done.
func (j *Journal) gatherMoving(s *segment, ids []uint64, limit int64) (round []moving, rest []uint64, bytes int64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for i, id := range ids {
		g := j.state.groups[id]
		if g == nil || s.live[id] == 0 {
			continue
		}
		for n, at := range g.locations {
			if at.segment != s {
				continue
			}
			if len(round) > 0 && bytes+int64(at.length) > limit {
				return round, ids[i:], bytes
			}
			bytes += int64(at.length)
			round = append(round, moving{group: id, index: g.first + uint64(n), from: at})
		}
	}
	return round, nil, bytes
}

// writeMoving reads the entries, writes them at the head and changes their places.
func (j *Journal) writeMoving(s *segment, round []moving) error {
	need := int64(roundHeaderSize)
	entries := make([]Entry, len(round))
	for i, m := range round {
		need += int64(m.from.length) + recordHeaderSize
		r, err := s.readRecord(m.from)
		if err != nil {
			return err
		}
		if r.group != m.group || r.entry.Index != m.index {
			return &CorruptError{Path: s.path, Offset: int64(m.from.offset), Reason: "another entry is here"}
		}
		entries[i] = r.entry
	}
	if j.head.end+pad(need) > j.head.size {
		if err := j.roll(); err != nil {
			return err
		}
	}
	j.encoder.start(need, !j.head.direct)
	offsets := j.encodeMoving(round, entries)
	start, err := j.writeEncoded()
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, m := range round {
		if offsets[i] != 0 {
			j.state.move(m.group, m.index, location{segment: j.head, offset: uint32(start) + uint32(offsets[i]), length: m.from.length})
		}
	}
	return nil
}

// encodeMoving adds the entries to the round, after a record with the bounds of each group, and returns
// their offsets: 0 for those that a prefix removal took meanwhile, which are left out, because a
// replay that has seen these bounds would not know them.
func (j *Journal) encodeMoving(round []moving, entries []Entry) []int {
	j.mu.RLock()
	defer j.mu.RUnlock()
	offsets := make([]int, len(round))
	for i, m := range round {
		g := j.state.groups[m.group]
		if g == nil || m.index < g.first {
			continue
		}
		if i == 0 || round[i-1].group != m.group || offsets[i-1] == 0 {
			j.encoder.control(kindRelocate, m.group, g.first, g.last, g.commit)
		}
		offsets[i] = j.encoder.entry(kindRelocated, m.group, &entries[i])
	}
	return offsets
}
