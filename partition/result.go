package partition

import (
	"github.com/levada-stream/levada/internal/fault"
)

// UnknownOrdinal is the First of a range of duplicates that are stored, but so
// long ago in their producer's life that their position is no longer remembered.
const UnknownOrdinal = ^uint64(0)

// ResultRange places consecutive records of one batch. The i-th record of the
// range has ordinal First+i and time Time.
type ResultRange struct {
	Count     uint32
	First     uint64 // ordinal of the first record, or UnknownOrdinal
	Time      int64  // ms since the Unix epoch; 0 when First is UnknownOrdinal
	Duplicate bool   // the records were stored by an earlier batch
	Elsewhere bool   // they are in an ancestor of this shard, which is Shard
	Shard     uint32
}

// AppendResult is the answer to one batch. Either Err is set and no record of
// this attempt is stored, or Ranges covers all records of the batch in order.
type AppendResult struct {
	Ranges []ResultRange
	Err    *fault.Error // ShardClosed, StaleProducer, Invalid or Corrupt
}

// addRange appends r, joined to the range before it where that says the same.
func (a *AppendResult) addRange(r ResultRange) {
	if n := len(a.Ranges); n > 0 {
		last := &a.Ranges[n-1]
		unknown := last.First == UnknownOrdinal && r.First == UnknownOrdinal
		follows := last.First != UnknownOrdinal && r.First == last.First+uint64(last.Count)
		if (unknown || follows) && last.Time == r.Time && last.Duplicate == r.Duplicate && last.Elsewhere == r.Elsewhere && last.Shard == r.Shard {
			last.Count += r.Count
			return
		}
	}
	a.Ranges = append(a.Ranges, r)
}

// Outcome is what State decided about one command.
type Outcome struct {
	// Results has one element per batch of an append, nil for other commands.
	Results []AppendResult
	// Payload holds the batches to store as one block, back to back: Count
	// records in all, the first at ordinal First, all with Time. Empty when
	// nothing is to be stored.
	Payload [][]byte
	First   uint64
	Count   uint32
	Time    int64
	// Trimmed says that the trim point moved.
	Trimmed bool
	// Duplicates and Rejected count records, for metrics.
	Duplicates uint64
	Rejected   uint64

	stored, whole int // batches stored; those among them that are stored as they came
}
