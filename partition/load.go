package partition

import (
	"slices"
	"sync"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// How a replica remembers its load. All times are those of entries, so every replica of
// a shard that applied the same entries since it started knows the same.
const (
	// LoadSlice is the resolution of the load in time.
	LoadSlice = 10 * time.Second
	// LoadWindowMax is how far back it is known.
	LoadWindowMax = time.Hour

	loadSliceMillis = int64(LoadSlice / time.Millisecond)
	loadSlices      = int(LoadWindowMax / LoadSlice)

	// A sample is of the records of one period at most, of this one and the one before.
	samplePeriodMillis = 60_000
	samplesMax         = 256 // of one period
	sampleStrideMin    = 4096
	// recordCost is what a record counts in a sample beside its bytes. Small records
	// cost by their number, large ones by their size: one that has this size counts half for each.
	recordCost = 1024
)

// A Rate is a load: what was stored per second, on average.
type Rate struct {
	Bytes   float64 // of batches, as they are stored
	Records float64
}

// A KeySample stands for the records near it in the log: for so many, with so many bytes.
type KeySample struct {
	Key            hashkey.Key
	Bytes, Records float64
}

// loadMeter counts what is stored by slices of time and samples its keys. It is
// allocated with the first record, so that an idle replica costs nothing.
type loadMeter struct {
	mu       sync.Mutex
	slices   []loadCount // ascending; those in which nothing was stored are left out
	now, old keySampler  // of the period of the last entry, and of the one before
	random   uint64
}

type loadCount struct {
	index          int64 // entry time / loadSliceMillis
	bytes, records uint64
}

// keySampler takes about every stride-th unit of cost. What it has stands for equal shares of all that passed.
type keySampler struct {
	period int64
	stride int64
	left   int64 // cost that passes before the next sample
	taken  []takenKey
}

type takenKey struct {
	key  hashkey.Key
	size uint32
}

// add counts an entry: the outcome of its batches, whose stored ones have so many bytes.
func (m *loadMeter) add(batches []record.Batch, o *Outcome, bytes int) {
	ms := o.Time
	m.mu.Lock()
	defer m.mu.Unlock()
	index := ms / loadSliceMillis
	if n := len(m.slices); n == 0 || m.slices[n-1].index != index {
		if n == loadSlices {
			m.slices = slices.Delete(m.slices, 0, 1)
		}
		m.slices = append(m.slices, loadCount{index: index})
	}
	last := &m.slices[len(m.slices)-1]
	last.bytes += uint64(bytes)
	last.records += uint64(o.Count)
	if period := ms / samplePeriodMillis; m.now.stride == 0 || period != m.now.period {
		stride := max(sampleStrideMin, m.now.stride/2)
		m.old = m.now
		m.now = keySampler{period: period, stride: stride, left: m.gap(stride)}
	}
	for i, b := range batches {
		if o.Results[i].Err == nil {
			m.sample(b)
		}
	}
}

// sample takes those records of b that are due.
func (m *loadMeter) sample(b record.Batch) {
	s := &m.now
	if cost := int64(len(b)) + recordCost*int64(b.Count()); cost < s.left {
		s.left -= cost
		return
	}
	for _, r := range b.Records() {
		size := r.Size()
		cost := int64(size) + recordCost
		for ; s.left <= cost; s.left += m.gap(s.stride) {
			if len(s.taken) == samplesMax {
				s.thin()
			}
			s.taken = append(s.taken, takenKey{r.HashKey(), uint32(size)})
		}
		s.left -= cost
	}
}

// thin drops every other sample; each that stays stands for twice as much.
func (s *keySampler) thin() {
	kept := s.taken[:0]
	for i := 0; i < len(s.taken); i += 2 {
		kept = append(kept, s.taken[i])
	}
	s.taken, s.stride = kept, 2*s.stride
}

// gap is 1 to 2*stride-1 at random: with equal steps, keys that come in turn would be
// missed for ever. The generator is Marsaglia's xorshift64 (2003).
func (m *loadMeter) gap(stride int64) int64 {
	if m.random == 0 {
		m.random = 0x9e3779b97f4a7c15
	}
	m.random ^= m.random << 13
	m.random ^= m.random >> 7
	m.random ^= m.random << 17
	return 1 + int64(m.random%uint64(2*stride-1))
}

// rate is the mean over the whole slices of the window that end before ms.
func (m *loadMeter) rate(ms int64, window time.Duration) (rate Rate) {
	end := ms / loadSliceMillis
	start := end - max(1, int64(window/LoadSlice))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.slices {
		if s.index >= start && s.index < end {
			rate.Bytes += float64(s.bytes)
			rate.Records += float64(s.records)
		}
	}
	seconds := float64(end-start) * LoadSlice.Seconds()
	return Rate{rate.Bytes / seconds, rate.Records / seconds}
}

// samples returns what was taken in the period of ms and the one before, each weighted by what it stands for.
func (m *loadMeter) samples(ms int64) []KeySample {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []KeySample
	for _, s := range []*keySampler{&m.old, &m.now} {
		if ms/samplePeriodMillis-s.period > 1 {
			continue
		}
		for _, t := range s.taken {
			share := float64(s.stride) / (float64(t.size) + recordCost)
			out = append(out, KeySample{Key: t.key, Bytes: share * float64(t.size), Records: share})
		}
	}
	return out
}

// measure adds an entry that was applied to the replica's load.
func (r *Replica) measure(batches []record.Batch, o *Outcome, bytes int) {
	m := r.load.Load()
	if m == nil {
		m = &loadMeter{}
		r.load.Store(m)
	}
	m.add(batches, o, bytes)
}

// Load returns the mean load over a window that ends at ms (Unix), the last LoadSlice
// boundary before it to be exact. The window is rounded down to whole slices, at least one; LoadWindowMax
// is as far as it goes. What was stored before LoadKnownSince is missing.
func (r *Replica) Load(ms int64, window time.Duration) Rate {
	if m := r.load.Load(); m != nil {
		return m.rate(ms, min(window, LoadWindowMax))
	}
	return Rate{}
}

// LoadKnownSince returns since when (ms since the Unix epoch) the replica has counted.
func (r *Replica) LoadKnownSince() int64 { return r.made }

// KeySamples returns up to 512 records of the last minute or two before ms, chosen at random
// with a chance in proportion to what they cost, and nil if there were none.
func (r *Replica) KeySamples(ms int64) []KeySample {
	if m := r.load.Load(); m != nil {
		return m.samples(ms)
	}
	return nil
}
